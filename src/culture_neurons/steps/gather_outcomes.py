"""Put the answers under masks of all shards together, a table per mask file."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import FileError
from culture_neurons.steps import cli, shards


def main(o: argparse.Namespace) -> None:
    """shards of ablate -> a file of outcomes per mask file, from the mask file --skip on"""
    from culture_neurons import files

    table, metadata = shards.read(o.shards)
    masks = metadata["masks"][o.skip : o.skip + len(o.out)]
    if len(masks) != len(o.out):
        raise FileError(
            f"{o.shards[0]}: holds answers for {len(metadata['masks'])} files; "
            f"expected at least {o.skip} + {len(o.out)}"
        )
    kept = {key: metadata[key] for key in shards.KEPT if key in metadata}
    settings = argparse.Namespace(**metadata["settings"])
    for number, (path, mask) in enumerate(zip(o.out, masks, strict=True), o.skip):
        rows = table[table["mask_file"] == number].drop(columns="mask_file")
        if "permutation" in rows and "permutations" not in mask:
            rows = rows.drop(columns="permutation")
        made_by = cli.provenance("gather_outcomes", settings, after=metadata, **kept, mask=mask)
        files.write_table(path, rows.reset_index(drop=True), made_by)
        key = [column for column in shards.KEY[:-1] if column in rows]
        right, formed = 100 * rows["correct"].mean(), 100 * rows["well_formed"].mean()
        cli.log.info(
            "%s: %d answers under %d masks, %.1f %% right, %.1f %% well formed", path.name, len(rows),
            len(rows[key].drop_duplicates()), right, formed,
        )  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="files that ablate wrote")
    parser.add_argument("--skip", type=int, default=0, help="mask files of the shards that others gather")
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="a file per mask file")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
