from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest

from culture_neurons import hub
from culture_neurons.data import hub_rows
from culture_neurons.errors import DataError
from tests.data.conftest import record

HOMES = ("file", "folder", "saved", "splits")


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest, cvqa_data: Any, cvqa_parquet: Callable[..., str], tmp_path: Path) -> str:
    """The same 12 rows in each of the local formats."""
    rows = [record(i) for i in range(12)]
    if request.param == "file":
        return cvqa_parquet(rows)
    if request.param == "folder":
        cvqa_parquet(rows[:7], "all/data/test-00000-of-00002.parquet")
        cvqa_parquet(rows[7:], "all/data/test-00001-of-00002.parquet")
        cvqa_parquet(rows[:1], "all/data/train-00000-of-00001.parquet")
        return str(tmp_path / "all")
    data = cvqa_data(rows)
    data = datasets.DatasetDict({"test": data, "train": data.select([0])}) if request.param == "splits" else data
    data.save_to_disk(tmp_path / "saved")
    return str(tmp_path / "saved")


def test_every_home_gives_the_same(home: str) -> None:
    rows = hub_rows.open_rows(home, None, "test")
    expected = [record(i) for i in range(12)]
    assert list(rows.names) == list(expected[0])
    assert rows.read(["Label", "ID"]).to_pydict() == {k: [r[k] for r in expected] for k in ("Label", "ID")}
    images = [r["image"]["bytes"] for r in expected]
    assert [hub_rows.image_bytes(cell) for batch in rows.batches("image") for cell in batch] == images
    for row in (0, 11, 5, 6, 7, 4, 0):
        assert rows.image("image", row) == images[row]


def test_rows_that_are_not_there(cvqa_parquet: Callable[..., str]) -> None:
    rows = hub_rows.open_rows(
        cvqa_parquet([record(0), record(1, image={"bytes": None, "path": "x.png"})]), None, "test"
    )
    for row in (-1, 2):
        with pytest.raises(DataError, match=f"row {row}: the data set has 2 rows"):
            rows.image("image", row)
    with pytest.raises(DataError, match="row 1: column 'image' holds no bytes"):
        rows.image("image", 1)


@pytest.mark.parametrize("home", ["folder", "splits"], indirect=True)
def test_a_split_that_is_not_there(home: str) -> None:
    with pytest.raises(DataError, match=r"(no split|no parquet file of split) 'val'; it has .*t.*"):
        hub_rows.open_rows(home, None, "val")


def test_a_folder_without_names_of_splits(cvqa_parquet: Callable[..., str], tmp_path: Path) -> None:
    for i in range(2):
        cvqa_parquet([record(i)], f"plain/part-{i}.parquet")
    assert hub_rows.open_rows(str(tmp_path / "plain"), None, "test").read(["ID"])["ID"].to_pylist() == [
        "000_0",
        "001_0",
    ]


def test_what_is_no_data_set(tmp_path: Path, cvqa_parquet: Callable[..., str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no parquet file"):
        hub_rows.open_rows(str(tmp_path / "empty"), None, "test")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(DataError, match=r"x\.parquet: no readable parquet"):
        hub_rows.open_rows(str(tmp_path / "x.parquet"), None, "test")
    (tmp_path / "empty" / "state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="`datasets` can't load this folder"):
        hub_rows.open_rows(str(tmp_path / "empty"), None, "test")
    for path in ("/none/at/all", "./none", "none.parquet", "a/b/c", str(tmp_path / "none")):
        with pytest.raises(DataError, match="no such file or folder"):
            hub_rows.open_rows(path, None, "test")


def test_files_of_other_columns(cvqa_parquet: Callable[..., str], cvqa_data: Any, tmp_path: Path) -> None:
    cvqa_parquet([record(0)], "mixed/a.parquet")
    cvqa_data([record(1)]).remove_columns("Label").to_parquet(str(tmp_path / "mixed" / "b.parquet"))
    with pytest.raises(DataError, match=r"b\.parquet: its columns differ from those of .*a\.parquet"):
        hub_rows.open_rows(str(tmp_path / "mixed"), None, "test")


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch, cvqa_parquet: Callable[..., str]) -> list[tuple]:
    """A hub that has one data set in two files; gives the list of what it was asked for."""
    calls: list[tuple] = []
    name = "hf://datasets/some/set@5eed/data/test-{}.parquet"
    files = {"test": [name.format(0), name.format(1)], "other": ["hf://datasets/some/set@5eed/x.csv"]}

    def commit(path: str, kind: str, revision: str | None) -> str:
        calls.append(("commit", path, kind, revision))
        return "5eed"

    def builder(path: str, config: str | None, revision: str | None) -> SimpleNamespace:
        calls.append(("files", path, revision))
        return SimpleNamespace(config=SimpleNamespace(data_files=files))

    def download(path: str, kind: str, commit: str, file: str) -> str:
        calls.append((file, commit))
        return cvqa_parquet([record(i) for i in range(3)], f"cache/{file}")

    monkeypatch.setattr(hub, "offline", lambda: False)
    monkeypatch.setattr(hub, "commit", commit)
    monkeypatch.setattr(hub, "download", download)
    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    return calls


def test_the_hub_is_asked_once_and_its_commit_is_kept(fake_hub: list[tuple]) -> None:
    rows = hub_rows.open_rows("some/set", "main", "test")
    names = ["data/test-0.parquet", "data/test-1.parquet"]
    assert (rows.revision, rows.files) == ("5eed", names)
    assert len(rows.read(["ID"])) == 6
    calls = [("commit", "some/set", "dataset", "main"), ("files", "some/set", "5eed")]
    assert fake_hub == [*calls, (names[0], "5eed"), (names[1], "5eed")]
    fake_hub.clear()
    reopened = hub_rows.open_rows("some/set", rows.revision, "test", rows.files)
    assert reopened.image("image", 5) == record(2)["image"]["bytes"]
    assert fake_hub == [(names[0], "5eed"), (names[1], "5eed")]


def test_splits_of_the_hub(fake_hub: list[tuple]) -> None:
    with pytest.raises(DataError, match=r"some/set: no split 'dev' on the hub; it has test, other"):
        hub_rows.open_rows("some/set", None, "dev")
    with pytest.raises(DataError, match="split 'other' is not stored as parquet"):
        hub_rows.open_rows("some/set", None, "other")


def test_what_the_hub_has_is_no_data_set(fake_hub: list[tuple], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("No data files\nand more")

    monkeypatch.setattr(datasets, "load_dataset_builder", refuse)
    with pytest.raises(DataError, match=r"^some/set: the hub can't be read as a data set \(No data files\)$"):
        hub_rows.open_rows("some/set", None, "test")
