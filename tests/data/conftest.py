"""Small images and data sets in the shape of CVQA; the facts of packages, read once for all tests."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from culture_neurons.data import registry
from culture_neurons.data.source import SourceTable

#: Bytes that start as a PNG does and are none.
BROKEN = b"\x89PNG\r\n\x1a\n" + b"no image at all"


def png(colour: Any = (10, 20, 30), size: tuple[int, int] = (6, 4), mode: str = "RGB", form: str = "PNG") -> bytes:
    """A plain image, encoded."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, form)
    return buffer.getvalue()


def record(number: int, **changes: Any) -> dict[str, Any]:
    """A row in the schema of CVQA; each image is shared by two questions."""
    place = ("('Japanese', 'Japan')", "('Hindi', 'India')", "('Marathi', 'India')")[number % 3]
    return {
        "image": {"bytes": png((number // 6 * 20, 0, number % 3)), "path": f"{number}.png"},
        "ID": f"{number:03d}_0",
        "Subset": place,
        "Question": f"質問 {number}?",
        "Translated Question": f"Question {number}?",
        "Options": ["い", "ろ", "は", "に"],
        "Translated Options": ["one", "two ", "three", "four"],
        "Label": number % 4,
        "Category": "Food" if number % 2 else "Plants",
        "Image Type": "Self",
        "Image Source": "Self-open",
        "License": "CC BY-SA",
    } | changes


@pytest.fixture
def cvqa_data() -> Callable[..., Any]:
    """Make a `datasets.Dataset` of CVQA's schema from rows."""
    import datasets

    text = datasets.Value("string")
    features = datasets.Features({
        "image": datasets.Image(),
        **dict.fromkeys(("ID", "Subset", "Question", "Translated Question"), text),
        **dict.fromkeys(("Options", "Translated Options"), datasets.List(text)),
        "Label": datasets.Value("int64"),
        **dict.fromkeys(("Category", "Image Type", "Image Source", "License"), text),
    })  # fmt: skip
    return lambda rows: datasets.Dataset.from_list(rows, features=features)


@pytest.fixture
def cvqa_parquet(cvqa_data: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Write rows of CVQA's schema to a parquet file of several row groups; gives its path."""

    def write(rows: list[dict[str, Any]], name: str = "test-00000-of-00001.parquet") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cvqa_data(rows).to_parquet(str(path), batch_size=5)
        return str(path)

    return write


def raw(number: int = 8, **changes: Any) -> pd.DataFrame:
    """Rows as a source gives them: two cultures, two categories, all valid. A change is a value or a list."""
    columns = {
        "sample_id": [f"s{i}" for i in range(number)],
        "question": [f"Which, {i}?" for i in range(number)],
        "options": [["a", "b", "c"] for _ in range(number)],
        "label": [i % 3 for i in range(number)],
        "category": ["food" if i % 4 < 2 else "dance" for i in range(number)],
        "image": [None] * number,
        "image_id": [""] * number,
        "culture": ["A" if i % 2 else "B" for i in range(number)],
    } | changes
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def read_facts(**settings: Any) -> SourceTable:
    """The source facts; what packages know is collected once per process, so that this takes a second after the first
    time."""
    return registry.read({"type": "facts"} | settings)


def kept(table: SourceTable) -> pd.DataFrame:
    """The rows that are not left out."""
    return table.rows[table.rows["excluded"].isna()].reset_index(drop=True)


@pytest.fixture(scope="session")
def facts() -> SourceTable:
    """The source facts as it is by default."""
    return read_facts()


@pytest.fixture(scope="session")
def rows_used(facts: SourceTable) -> pd.DataFrame:
    return kept(facts)
