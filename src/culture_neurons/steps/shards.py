"""The answers of all shards as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from culture_neurons.errors import FileError

#: What tells rows apart, where the file has it; the order of the rows, too.
KEY = ("mask_file", "permutation", "mask_culture", "sample_id")
#: Metadata of a shard that its table keeps.
KEPT = ("model", "revision", "dtype", "gguf", "open_reasoning", "reused", "reused_from")


def read(paths: list[Path]) -> tuple[Any, dict[str, Any]]:
    """All rows, sorted, and the metadata that the shards have in common.

    Raises FileError when shards were made in different ways, or don't make a whole.
    """
    import pandas as pd

    from culture_neurons import files

    tables, common, hardware = [], None, set()
    for path in paths:
        table, metadata = files.read_table(path, ["sample_id", "correct", "well_formed"])
        # Jobs may run on machines of several kinds.
        hardware.update(metadata.pop("hardware", ()))
        common = common or metadata
        differing = [key for key in sorted({*common, *metadata}) if common.get(key) != metadata.get(key)]
        if differing:
            raise FileError(
                f"{path}: made with another {differing[0]} than {paths[0]}\n"
                f"delete both (rm -r {path.parent}) and run again"
            )
        tables.append(table)
    all_rows = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    key = [name for name in KEY if name in all_rows]
    twice = all_rows[all_rows.duplicated(key)]
    if len(twice) or len(all_rows) != common["rows"]:
        content = f"sample {twice['sample_id'].iloc[0]!r} twice" if len(twice) else f"{len(all_rows)} rows"
        raise FileError(
            f"{paths[0].parent}: the shards hold {content}, expected {common['rows']} rows, each once\n"
            f"delete them (rm -r {paths[0].parent}) and run again"
        )
    return all_rows.sort_values(key, ignore_index=True), {**common, "hardware": sorted(hardware)}
