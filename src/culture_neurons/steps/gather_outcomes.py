"""Put the answers under masks of all shards together, for one mask file."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import FileError
from culture_neurons.steps import cli, shards


def main(o: argparse.Namespace) -> None:
    """shards of ablate -> the outcomes of one of their mask files"""
    from culture_neurons import files

    table, metadata = shards.read(o.shards)
    if o.mask_file not in range(len(metadata["masks"])):
        raise FileError(
            f"{o.shards[0]}: holds answers for {len(metadata['masks'])} mask files, from 0; not for --mask-file "
            f"{o.mask_file}"
        )
    mask = metadata["masks"][o.mask_file]
    rows = table[table["mask_file"] == o.mask_file].drop(columns="mask_file")
    if "permutation" in rows and "permutations" not in mask:
        rows = rows.drop(columns="permutation")
    kept = {key: metadata[key] for key in shards.KEPT if key in metadata}
    settings = argparse.Namespace(**metadata["settings"])
    made_by = cli.provenance("gather_outcomes", settings, after=metadata, **kept, mask=mask)
    files.write_table(o.out, rows.reset_index(drop=True), made_by)
    key = [column for column in shards.KEY[:-1] if column in rows]
    right, formed = 100 * rows["correct"].mean(), 100 * rows["well_formed"].mean()
    cli.log.info(
        "%s: %d answers under %d masks, %.1f %% right, %.1f %% well formed", o.out.name, len(rows),
        len(rows[key].drop_duplicates()), right, formed,
    )  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="files that ablate wrote")
    parser.add_argument("--mask-file", type=int, default=0, help="which of the mask files of ablate, from 0; a file "
                        "counts once for each factor, and permuted masks come last")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="parquet file of the outcomes")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
