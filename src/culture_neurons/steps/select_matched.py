"""Draw random controls of masks by attribution."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import FileError
from culture_neurons.steps import cli, mask_files


def main(o: argparse.Namespace) -> None:
    """masks/{match}_top{r}.parquet -> masks/{selector}_top{r}.parquet for every r: as many units per site and layer"""
    from culture_neurons import files
    from culture_neurons.selectors import culnig, selection

    mask_files.check_outputs(o.reference, o.out, "reference masks")
    for path, out in zip(o.reference, o.out, strict=True):
        reference, metadata = files.read_table(path, list(selection.COLUMNS))
        widths = metadata.get("neurons")
        if not isinstance(widths, dict):
            raise FileError(f"{path}: no masks at projections; expected those of a selector by attribution")
        mask = culnig.random_control(reference, metadata["cultures"], metadata["layers"], widths, o.seed)
        options = {"match": o.match, "seed": o.seed}
        settings = argparse.Namespace(selector="random-matched", options=options, top_fraction=metadata["top_fraction"])
        made_by = cli.provenance("select_matched", settings, ["culture_neurons.selectors.culnig"], metadata)
        made_by |= {key: metadata[key] for key in ("model", "revision")} | {"budget": None}
        made_by |= mask_files.describe_masks(
            metadata["cultures"], metadata["layers"], widths, "random-matched", options, metadata["top_fraction"]
        )
        files.write_table(out, mask, made_by)
        cli.log.info("top %s: %d units of %d cultures", metadata["top_fraction"], len(mask), len(metadata["cultures"]))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--reference", type=Path, nargs="+", required=True, help="mask files by attribution")
    parser.add_argument("--match", required=True, help="the selector that they are of")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="a mask file per reference")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
