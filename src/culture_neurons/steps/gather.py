"""Put the answers of all shards together: one table, or one per mask file, of all of them or of a few that follow each
other."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from culture_neurons.errors import FileError
from culture_neurons.steps import cli

#: What tells rows apart, where the file has it; the order of the rows, too.
KEY = ("mask_file", "permutation", "mask_culture", "sample_id")
#: Metadata of a shard that its table keeps.
KEPT = ("model", "revision", "dtype", "open_reasoning")


def main(o: argparse.Namespace) -> None:
    """shards of infer or ablate -> predictions.parquet, or one file of outcomes per mask file, from --before on"""
    from culture_neurons import files

    table, made = read(o.parts)
    masks = made.get("masks", [None])
    mine = masks[o.before : o.before + len(o.out)]
    if len(mine) != len(o.out):
        raise FileError(
            f"{o.parts[0]}: holds answers for {len(masks)} files; expected at least {o.before} + {len(o.out)}"
        )
    settings = argparse.Namespace(**made["settings"])
    for number, (path, mask) in enumerate(zip(o.out, mine, strict=True), o.before):
        rows = table if mask is None else table[table["mask_file"] == number].drop(columns="mask_file")
        if "permutation" in rows and "permutations" not in mask:
            rows = rows.drop(columns="permutation")
        more = {key: made[key] for key in KEPT if key in made} | ({} if mask is None else {"mask": mask})
        files.write_table(path, rows.reset_index(drop=True), cli.provenance("gather", settings, after=made, **more))
        masked = [column for column in KEY[:-1] if column in rows]
        what = f" under {len(rows[masked].drop_duplicates())} masks" if masked else ""
        right, formed = 100 * rows["correct"].mean(), 100 * rows["well_formed"].mean()
        cli.log.info("%s: %d answers%s, %.1f %% right, %.1f %% well formed", path.name, len(rows), what, right, formed)
        if mask is None and formed < 50:
            cli.log.warning("warning: %s: less than half of %s's answers are well formed: mostly it answers with "
                            "something else than the letter of an option", path.name, made["model"])  # fmt: skip


def read(parts: list[Path]) -> tuple[Any, dict[str, Any]]:
    """All rows, sorted, and the metadata that the shards have in common.

    Raises FileError when shards were made in different ways, or don't make a whole.
    """
    import pandas as pd

    from culture_neurons import files

    tables, made, hardware = [], None, set()
    for path in parts:
        table, metadata = files.read_table(path, ["sample_id", "correct", "well_formed"])
        # Jobs may run on machines of several kinds.
        hardware.update(metadata.pop("hardware", ()))
        made = made or metadata
        differing = [key for key in sorted({*made, *metadata}) if made.get(key) != metadata.get(key)]
        if differing:
            raise FileError(
                f"{path}: made with another {differing[0]} than {parts[0]}\n"
                f"delete both (rm -r {path.parent}) and run again"
            )
        tables.append(table)
    whole = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    key = [name for name in KEY if name in whole]
    twice = whole[whole.duplicated(key)]
    if len(twice) or len(whole) != made["rows"]:
        found = f"sample {twice['sample_id'].iloc[0]!r} twice" if len(twice) else f"{len(whole)} rows"
        raise FileError(
            f"{parts[0].parent}: the shards hold {found}, expected {made['rows']} rows, each once\n"
            f"delete them (rm -r {parts[0].parent}) and run again"
        )
    return whole.sort_values(key, ignore_index=True), {**made, "hardware": sorted(hardware)}


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--parts", type=Path, nargs="+", required=True, help="files that infer or ablate wrote")
    parser.add_argument("--before", type=int, default=0, help="mask files of the shards that others write")
    parser.add_argument(
        "--out", type=Path, nargs="+", required=True, help="predictions.parquet, or a file per mask file"
    )
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
