from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from culture_neurons import files
from culture_neurons.data import samples
from culture_neurons.errors import FileError
from culture_neurons.types import Sample
from tests.data.conftest import png, raw


def rows(image: list) -> pd.DataFrame:
    split = ["identify", "evaluate", "identify"][: len(image)]
    return raw(len(image), image=image).assign(
        split=split, width=[6, None, 7][: len(image)], height=[4, None, 8][: len(image)]
    )


@pytest.mark.parametrize("image", [
    [{"bytes": png()}, None, {"bytes": png()}], [{"row": 3}, None, {"row": 2**40}],
    [{"path": "ü.png"}, None, None], [None, None, None],
])  # fmt: skip
def test_what_is_written_is_read(tmp_path: Path, image: list) -> None:
    path = tmp_path / "samples.parquet"
    samples.write_samples(path, rows(image), {"images": {"type": "embedded"}})
    restored, _ = samples.read_samples(path)
    assert [sample.image for sample in restored] == image
    assert all(type(sample.image["row"]) is int for sample in restored if sample.image and "row" in sample.image)
    assert restored[1] == Sample("s1", "A", "food", "Which, 1?", ("a", "b", "c"), 1, "evaluate", None, "")
    assert [sample.image_size for sample in restored] == [(6, 4), None, (7, 8)]


def test_one_split_and_its_opener(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    samples.write_samples(path, rows([{"bytes": png()}, None, {"bytes": png()}]), {"images": {"type": "embedded"}})
    restored, open_image = samples.read_samples(path, "identify")
    assert [sample.sample_id for sample in restored] == ["s0", "s2"]
    assert open_image(restored[0].image).size == (6, 4)


def test_whose_options_are_is_a_list_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    table = rows([None, None, None]).assign(option_cultures=[["A", "日本", "A"], [], None], label=[0, 1, 2])
    samples.write_samples(path, table, {"images": {"type": "none"}})
    assert pq.read_schema(path).field("option_cultures").type == pa.list_(pa.string())
    restored, _ = samples.read_samples(path)
    assert [sample.option_cultures for sample in restored] == [("A", "日本", "A"), (), ()]
    assert all(type(sample.option_cultures) is tuple for sample in restored)


def test_columns_and_bytes(tmp_path: Path) -> None:
    table = rows([None, None]).assign(zone=["x", None], area=["y", "z"])
    for name in ("a", "b"):
        samples.write_samples(tmp_path / name, table.sample(frac=1, axis=1, random_state=len(name)), {"images": {}})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert list(files.read_table(tmp_path / "a")[0]) == [*samples.COLUMNS, "area", "zone"]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        samples.read_samples(tmp_path / "none.parquet")
    samples.write_samples(tmp_path / "old.parquet", rows([None]), {})
    with pytest.raises(FileError, match="does not say how images are opened"):
        samples.read_samples(tmp_path / "old.parquet")
