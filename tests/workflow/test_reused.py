"""What is said of `reuse` before a model is loaded."""

import pytest

from culture_neurons import files
from culture_neurons.workflow import reused
from tests import finished_runs
from tests.workflow.conftest import run

PROMPT = run().config["prompt"]
COMMITS = ("0123abc" + 33 * "4", "89def01" + 33 * "2")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A run of models m and n, m a folder here and n of the hub, that reuses answers of results/old."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/m").mkdir(parents=True)
    (tmp_path / "models/m/model.safetensors").write_bytes(b"weights")
    revisions = {"m": files.model_digest(tmp_path / "models/m"), "n": COMMITS[0]}
    finished_runs.write(tmp_path / "results/old", models=revisions, prompt=PROMPT)

    def make(folders=("results/old",), revision=COMMITS[0][:7], **changes):
        models = {"m": {"path": "models/m"}, "n": {"path": "owner/n", "revision": revision}}
        source = {"type": "facts", "countries": ["Japan", "Italy"]}
        return run(reuse=list(folders), dataset="new", models=models, data={"source": source}, **changes)

    return make


def test_nothing_is_said_where_answers_fit_or_may_fit(mine):
    assert reused.notes(mine()) == []
    assert reused.notes(mine(revision="main")) == []  # a branch: the hub alone knows its commit
    assert reused.notes(mine([])) == []


def test_folders_that_hold_no_run_are_named(mine, tmp_path):
    (tmp_path / "empty").mkdir()
    assert reused.notes(mine(["nowhere", "empty", "results/old"])) == [
        "reuse: nowhere: no such folder; nothing is reused from it",
        "reuse: empty: no samples.parquet; expected the results of a run; nothing is reused from it",
    ]


def test_a_half_finished_run_and_damaged_answers_are_named(mine, tmp_path):
    (tmp_path / "results/old/m/predictions.parquet").unlink()
    (tmp_path / "results/old/n/predictions.parquet").write_bytes(b"nothing")
    missing, damaged = reused.notes(mine())
    assert missing == "reuse: results/old: no answers of m: not asked there, or not yet"
    assert damaged.startswith("reuse: results/old/n/predictions.parquet: ")
    assert damaged.endswith("; its answers are not reused")
    assert "\n" not in damaged
    assert "rm " not in damaged  # it is a file of another run


def test_another_revision_is_named(mine, tmp_path):
    assert reused.notes(mine(revision=COMMITS[1])) == [
        f"reuse: results/old/n/predictions.parquet: of revision {COMMITS[0]} of n, which is {COMMITS[1]} here; "
        "its answers are not reused"
    ]
    (tmp_path / "models/m/model.safetensors").write_bytes(b"other weights")
    (line,) = reused.notes(mine())
    assert line.startswith("reuse: results/old/m/predictions.parquet: of revision ")
    assert line.endswith(
        f" of m, which is {files.model_digest(tmp_path / 'models/m')} here; its answers are not reused"
    )


def test_a_large_model_is_not_digested(mine, tmp_path, monkeypatch):
    (tmp_path / "models/m/model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(reused, "MOST_BYTES", 5)
    assert reused.notes(mine()) == []


def test_another_prompt_is_named(mine):
    lines = reused.notes(mine(prompt=PROMPT | {"seed": 9}))
    assert [line.partition(": of")[2] for line in lines] == 2 * [" another prompt; its answers are not reused"]


def test_answers_that_this_run_has_already_need_no_others(mine, tmp_path):
    for model in "mn":
        (tmp_path / f"results/new/{model}").mkdir(parents=True)
        (tmp_path / f"results/new/{model}/predictions.parquet").touch()
    assert reused.notes(mine(["nowhere"])) == []
