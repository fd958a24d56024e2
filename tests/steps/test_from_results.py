"""Figures, tables for a paper and the report, of a results folder alone."""

import json
import sys

import pytest

from culture_neurons.report.registry import FigureFile
from culture_neurons.steps import figures, from_results, report
from tests.figures_tables import build

MODEL = "planted-qwen2.5-vl"
CONFIG = {
    "dataset": "d", "data": {"source": {"type": "facts"}}, "models": {MODEL: {"path": "owner/m"}},
    "selectors": {"cas": {}}, "top_fractions": [0.01], "figures": {"top_fraction": 0.01},
    "evidence": {"resamples": 0, "split_halves": 0, "cards": 0, "image_controls": []}, "evaluation": {},
    "finetuning": {},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "copied"
    build(folder / "tables", models=(MODEL,), selectors=["cas"], fractions=(0.01,))
    (folder / "counts.csv").write_text("culture,category,split,n\nNA,food,identify,4\n", encoding="utf-8")
    (folder / "dropped.csv").write_text("sample_id,culture,reason\nq1,NA,empty question\n", encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps({"config": CONFIG}), encoding="utf-8")
    return folder


@pytest.fixture
def command(monkeypatch):
    def run(step, *words):
        monkeypatch.setattr(sys, "argv", ["step", *map(str, words)])
        from_results.run(step.__name__.rpartition(".")[2], step.main, step.arguments())

    return run


def test_all_that_a_reader_sees_is_made_of_the_folder(folder, command):
    for step in (figures, report):
        command(step, "--results", folder)
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert {FigureFile("overview").stem, FigureFile("matrix", MODEL, "cas").stem} <= drawn
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure") == len(drawn)
    assert "empty question" in page
    assert (folder / "tables/summary.tex").read_text(encoding="utf-8").count(r" \\") > 1


def test_arguments_beside_the_folder_count_more(folder, command, tmp_path):
    command(figures, "--results", folder)
    command(report, "--summary", tmp_path / "other.tex", "--results", folder)
    assert (tmp_path / "other.tex").exists()
    assert not (folder / "tables/summary.tex").exists()
    assert (folder / "tables/drops.tex").exists()


def test_a_folder_without_a_run_ends_with_one_line(folder, command):
    (folder / "manifest.json").unlink()
    with pytest.raises(SystemExit, match=r"^error: .*manifest\.json: no such file; expected"):
        command(figures, f"--results={folder}")


def test_help_names_it_and_the_step_still_needs_its_other_arguments(command, capsys):
    with pytest.raises(SystemExit):
        command(report, "--help")
    assert "--results FOLDER" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command(report)
    assert "required: --tables" in capsys.readouterr().err
