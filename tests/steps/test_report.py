from __future__ import annotations

import argparse
import json

import pytest

from culture_neurons.errors import FileError
from culture_neurons.steps import report
from tests.figures_tables import build

MODEL = "planted-qwen2.5-vl"


@pytest.fixture
def folder(tmp_path):
    build(tmp_path / "tables", models=(MODEL,), selectors=["cas"], fractions=(0.01,))
    (tmp_path / "counts.csv").write_text("culture,category,split,n\n007,food,identify,4\n", encoding="utf-8")
    (tmp_path / "dropped.csv").write_text("sample_id,culture,reason\nq1,NA,empty question\n", encoding="utf-8")
    (tmp_path / MODEL / "model").mkdir(parents=True)
    (tmp_path / MODEL / "model" / "training.json").write_text(json.dumps({"dev_accuracy": 0.9}), encoding="utf-8")
    return tmp_path


def run(folder, *more):
    report.main(report.arguments().parse_args([
        "--tables", str(folder / "tables"), "--figures", str(folder / "figures"), "--out", str(folder / "report.html"),
        "--dropped", str(folder / "dropped.csv"), "--counts", str(folder / "counts.csv"), *more,
    ]))  # fmt: skip
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_has_what_was_run(folder):
    settings = json.dumps({"dataset": "my <data>", "config": {"seed": 11}, "code": {"infer": "0123456789ab"}})
    page = run(folder, "--run", settings, "--training", str(folder / MODEL / "model/training.json"))
    assert "my &lt;data&gt;" in page
    assert "&#34;seed&#34;: 11" in page
    assert "code of infer" in page
    assert "training: dev accuracy (%)" in page
    assert 'dir="auto">007</td>' in page  # a name, not a number
    assert 'dir="auto">NA</td>' in page


def test_the_page_says_what_made_its_tables_and_not_what_else_lies_there(folder):
    def written(rule, step, revision):
        path = folder / f"tables/provenance_{rule}.json"
        noted = {"steps": {step: {"code": [f"code of {step}"]}}, "models": {MODEL: {"revision": revision}}}
        path.write_text(json.dumps(noted), encoding="utf-8")
        return str(path)

    mine, stale = written("tabulate", "infer", "r-mine"), written("tabulate_stability", "stale", "r-stale")
    page = run(folder, "--provenance", mine)
    assert "code of infer" in page
    assert "r-mine" in page
    assert "stale" not in page
    assert "code of stale" in run(folder, "--provenance", mine, stale)


def test_settings_may_come_from_a_file(folder):
    (folder / "run.json").write_text('{"dataset": "from a file"}', encoding="utf-8")
    assert "from a file" in run(folder, "--run", str(folder / "run.json"))


def test_same_bytes(folder):
    assert run(folder) == run(folder)


def test_mistakes(folder):
    with pytest.raises(FileError, match=r"m/model/training\.json: no readable JSON"):
        run(folder, "--training", str(folder / "m/model/training.json"))
    with pytest.raises(argparse.ArgumentTypeError, match="neither a JSON object nor a readable file"):
        report.run_settings("nothing.json")
    with pytest.raises(argparse.ArgumentTypeError, match="expected a JSON object"):
        report.cli.json_object("[1]")
    (folder / "counts.csv").unlink()
    with pytest.raises(FileError, match=r"counts\.csv: no such file"):
        run(folder)
