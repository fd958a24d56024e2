"""`samples.parquet`: the one table of questions that every later step reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from culture_neurons import files
from culture_neurons.data import images
from culture_neurons.types import Sample

#: Columns that `samples.parquet` always has, in this order; the group columns of the source follow.
COLUMNS = (
    "sample_id", "culture", "category", "question", "options", "label", "split", "image", "image_id", "width", "height",
)  # fmt: skip

#: Columns that are read where they are there.
OPTIONAL = ("neutral", "option_cultures")

#: One of the fields is set; the whole is null for a question without an image.
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string()), ("row", pa.int64())])

_TYPES = {
    "options": pa.list_(pa.string()),
    "option_cultures": pa.list_(pa.string()),
    "label": pa.int64(),
    "image": IMAGE,
    "width": pa.int64(),
    "height": pa.int64(),
}


def write_samples(path: str | Path, rows: pd.DataFrame, metadata: Mapping[str, Any]) -> None:
    """Write the samples; `rows` has the columns of `COLUMNS`; all others but `option_cultures` are written as text.

    `metadata` is the provenance with the key "images": how `data.images.opener` opens the references.
    """
    names = [*COLUMNS, *sorted(set(rows.columns) - set(COLUMNS))]
    columns = [pa.array(rows[name], type=_TYPES.get(name, pa.string()), from_pandas=True) for name in names]
    files.write_table(path, pa.table(columns, names=names), metadata)


def read_samples(path: str | Path, split: str | None = None) -> tuple[list[Sample], images.Opener]:
    """Read the samples of `split` ("identify", "evaluate", or None for both) and the opener of their images.

    The samples are sorted by id. `opener(sample.image)` gives an RGB image or None, and raises DataError.
    Raises FileError when the file is missing or damaged.
    """
    table, metadata = files.read_table(path, COLUMNS)
    if "images" not in metadata:
        raise files.damaged(path, "its metadata does not say how images are opened")
    if split is not None:
        table = table[table["split"] == split]
    rows = table[[*COLUMNS, *(name for name in OPTIONAL if name in table)]].to_dict("records")
    return [_sample(row) for row in rows], images.opener(metadata["images"])


def _sample(row: dict[str, Any]) -> Sample:
    reference = row["image"] if isinstance(row["image"], Mapping) else None
    if reference is not None:
        # pandas makes floats, and NaN for null, of whole numbers inside a struct.
        reference = {key: value for key, value in reference.items() if not pd.isna(value)}
        if "row" in reference:
            reference["row"] = int(reference["row"])
    return Sample(
        sample_id=row["sample_id"],
        culture=row["culture"],
        category=row["category"],
        question=row["question"],
        options=tuple(row["options"]),
        label=int(row["label"]),
        split=row["split"],
        image=reference,
        image_id=row["image_id"],
        image_size=None if pd.isna(row["width"]) else (int(row["width"]), int(row["height"])),
        neutral=row.get("neutral") or "",
        option_cultures=() if row.get("option_cultures") is None else tuple(row["option_cultures"]),
    )
