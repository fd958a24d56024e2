"""A hub that is asked, can't be reached, or may not be: a fake one on this machine, in a process of its own."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from culture_neurons import hub
from culture_neurons.errors import ModelError
from tests.fake_hub import COMMIT, python, serve

pytestmark = pytest.mark.workflow

#: Prints, as JSON, what each call gives and the seconds that it took.
CALLS = """
import json, sys, time
from culture_neurons import hub
from culture_neurons.data import hub_rows
from culture_neurons.errors import CultureNeuronsError
def data(path, revision=None, split="test"):
    rows = hub_rows.open_rows(path, revision, split)
    return [rows.revision, rows.files, rows.read(["a"])["a"].to_pylist()]
found = []
for call in sys.argv[1:]:
    start = time.monotonic()
    try:
        value = eval(call)
    except CultureNeuronsError as error:
        value = f"{type(error).__name__}: {error}"
    found.append([value, time.monotonic() - start])
print(json.dumps(found, default=str))
"""
CLOSED = "http://127.0.0.1:9"
#: Seconds: more than a busy machine needs, and less than the hub's client goes on trying by itself.
PATIENT = 15
NAMES = ["data/test-00000-of-00002.parquet", "data/test-00001-of-00002.parquet"]


def ask(home: Path, *calls: str, **environment: str) -> list:
    done = python(home, "-c", CALLS, *calls, **environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(seconds < PATIENT for _, seconds in found), found
    return [value for value, _ in found]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A hub with a data set: split test in two files, split train in one."""
    folder = tmp_path / "hub" / "datasets" / "some" / "set"
    (folder / "data").mkdir(parents=True)
    for name, values in ((NAMES[0], [1, 2]), (NAMES[1], [3]), ("data/train-00000-of-00001.parquet", [9])):
        pq.write_table(pa.table({"a": values}), folder / name)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    (tmp_path / "hub" / "models" / "some" / "model").mkdir(parents=True)
    return tmp_path / "hub"


def test_data_set_that_was_fetched_is_read_without_network(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serve(root) as (address, asked):
        commit, files = ask(home, 'hub_rows.fetch("some/set", None, "test")', HF_ENDPOINT=address)[0]
        assert commit == COMMIT
        assert [Path(file).name for file in files] == [Path(name).name for name in NAMES]
        assert not any("train" in line for line in asked)
    expected = [COMMIT, NAMES, [1, 2, 3]]
    calls = ['data("some/set")', 'data("some/set", "main")', f'data("some/set", "{COMMIT}")',
             'data("some/set", None, "train")', 'data("some/set", "v2")']  # fmt: skip
    *found, train, other = ask(home, *calls, HF_HUB_OFFLINE="1", HF_ENDPOINT=CLOSED)
    assert found == [expected] * 3
    assert train.startswith("DataError: some/set: no split 'train' on the hub; it has test")
    assert other.startswith("DataError: some/set at revision v2: not, or not all of it, in the hub's cache")
    # Images are read by other steps, from files that are named: without asking, whether offline or not.
    again = f'hub_rows.open_rows("some/set", "{COMMIT}", "test", {NAMES}).cell("a", 2)'
    assert ask(home, again, HF_ENDPOINT=CLOSED) == [3]
    # A part that an interrupted download did not bring.
    next(home.rglob(Path(NAMES[1]).name)).unlink()
    [missing] = ask(home, calls[0], HF_HUB_OFFLINE="1")
    assert "not, or not all of it, in the hub's cache" in missing
    assert "make prefetch" in missing


def test_data_set_that_was_read_with_network_is_read_again_without(root: Path, tmp_path: Path) -> None:
    with serve(root) as (address, _):
        online = ask(tmp_path / "home", f'data("some/set", "{COMMIT}")', HF_ENDPOINT=address)
    offline = ask(tmp_path / "home", f'data("some/set", "{COMMIT}")', HF_HUB_OFFLINE="1")
    assert offline == online == [[COMMIT, NAMES, [1, 2, 3]]]


def test_names_of_the_hub_that_are_wrong(root: Path, tmp_path: Path) -> None:
    with serve(root) as (address, _):
        good, short, revision, name, odd, model = ask(
            tmp_path / "home", 'hub.commit("some/set", "dataset")',
            f'hub.commit("some/set", "dataset", "{COMMIT[:7]}")', 'data("some/set", "v2")', 'data("some/sett")',
            'hub.commit("a--b", "model")', 'hub.commit("some/none", "model")', HF_ENDPOINT=address,
        )  # fmt: skip
    assert good == short == COMMIT
    assert revision == "DataError: some/set at revision v2: the dataset is on the hub, but this revision is not"
    assert name.startswith("DataError: some/sett: no such dataset on the hub, nor a file or folder of this name here\n")
    assert odd.startswith("ModelError: a--b: no name of a model on the hub (")
    assert model.startswith("ModelError: some/none: no such model on the hub")


@pytest.mark.parametrize("how", [{"HF_ENDPOINT": CLOSED}, {"HF_HUB_OFFLINE": "1"}])
def test_hub_that_cannot_be_reached_is_two_lines_at_once(tmp_path: Path, how: dict[str, str]) -> None:
    known = f'hub_rows.open_rows("some/set", "{COMMIT}", "test", ["a.parquet"])'
    calls = ['data("some/set")', 'data("some/set", "main")', known, 'hub_rows.fetch("some/set", None, "test")',
             'hub.commit("some/model", "model")']  # fmt: skip
    for value in ask(tmp_path / "home", *calls, **how):
        first, second = value.splitlines()
        assert first.startswith(("DataError: some/set", "ModelError: some/model"))
        assert (CLOSED if "HF_ENDPOINT" in how else "HF_HUB_OFFLINE is set") in first
        assert "make prefetch CONFIG=" in second
        assert "folder" in second


@pytest.mark.parametrize("kind", ["silent", "broken"])
def test_hub_that_does_not_answer_as_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        if kind == "broken":
            listening.close()
        start = time.monotonic()
        with pytest.raises(ModelError, match=r"^some/model: the hub at http://127\.0\.0\.1:\d+ can't be reached \("):
            hub.commit("some/model", "model")
        assert time.monotonic() - start < PATIENT


def test_error_page_of_a_hub_is_no_traceback(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "datasets" / "some" / "set" / "data")
    with serve(root) as (address, _):
        [value] = ask(tmp_path / "home", 'data("some/set")', HF_ENDPOINT=address)
    assert value.startswith("DataError: some/set: the hub can't be read as a data set (")
