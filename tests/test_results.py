"""Results in a notebook: tables, every kind of figure by its name, and the lines of the README."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from culture_neurons import results
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.report.figures import drawing, read
from culture_neurons.report.registry import FIGURES
from culture_neurons.tables import TABLES
from tests import figures_tables

MODEL = "planted-control"
README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """results/demo with made-up tables of two models."""
    run = tmp_path_factory.mktemp("run") / "results/demo"
    figures_tables.build(run / "tables", cultures=["A", "B", "C"], models=("demo-llava-mistral", MODEL),
                         selectors=["lap", "cas", "random-matched"], fractions=(0.005, 0.01))  # fmt: skip
    (run / "manifest.json").write_text(json.dumps({"config": {"figures": {"top_fraction": 0.01}}}), encoding="utf-8")
    return run


@pytest.fixture(scope="module")
def run(folder):
    return results.load(folder)


def test_the_lines_of_the_readme_run(folder, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
    (block,) = [text for text in blocks if "results.load" in text]
    assert len([line for line in block.splitlines() if line]) == 5
    monkeypatch.chdir(folder.parents[1])
    names: dict = {}
    assert "results/demo" in block
    assert "smollm2-eye" in block
    exec(block.replace("smollm2-eye", MODEL), names)
    assert isinstance(names["ax"], Axes)
    assert set(names["own"]["model"]) == {"demo-llava-mistral", MODEL}
    assert Path("matrix.pdf").read_bytes().startswith(b"%PDF")


def test_tables_are_as_they_were_written(folder, run):
    assert run.models == ["demo-llava-mistral", MODEL]
    assert run.selectors(MODEL) == ["lap", "cas", "random-matched"]
    assert (run.is_planted(MODEL), run.is_planted("demo-llava-mistral")) == (True, False)
    assert run.top_fraction == 0.01
    for name in ("effects", "summary", "layers", "baseline", "evidence", "planted"):
        assert len(getattr(run, name)) == len(pd.read_csv(folder / f"tables/{name}.csv", keep_default_na=False))
    with pytest.raises(AttributeError, match="'Run' object has no attribute 'effect'"):
        run.effect  # noqa: B018


def test_a_table_that_the_run_has_not_is_named(folder, tmp_path):
    (tmp_path / "tables").symlink_to(folder / "tables")
    bare = dataclasses.replace(results.load(tmp_path), tables=read(folder / "tables"))
    for name in TABLES:
        if bare.tables.table(name) is None:
            with pytest.raises(FileError, match=rf"{name}\.csv: this run has no such table"):
                getattr(bare, name)
    for kind, figure in FIGURES.items():
        if figure.reads:
            with pytest.raises(FileError, match=rf"{figure.reads[0]}\.csv"):
                bare.plot(kind)


def test_what_has_nothing_to_draw_says_so(run):
    empty = dataclasses.replace(run, tables=dataclasses.replace(run.tables, effects=run.effects.iloc[:0]))
    with pytest.raises(FileError, match="demo: matrix: no question was asked under a mask"):
        empty.plot("matrix", MODEL, "cas")


@pytest.mark.parametrize("kind", [kind for kind, figure in FIGURES.items() if not figure.reads])
def test_every_kind_is_an_axis(run, kind):
    assert isinstance(run.plot(kind, MODEL, "cas", top_fraction=0.005), Axes)
    mine = Figure().add_subplot()
    if "ax" in inspect.signature(drawing.function(FIGURES[kind].plot)).parameters:
        assert run.plot(kind, MODEL, "cas", ax=mine) is mine
        assert mine.has_data()
    else:
        with pytest.raises(ConfigError, match=f"{kind}: has several panels"):
            run.plot(kind, MODEL, "cas", ax=mine)


def test_without_names_controls_are_no_selector(run):
    ax = run.plot("drops", MODEL)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["LAP", "CAS"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("matrx",), {}, r"unknown kind of figure 'matrx' \(did you mean 'matrix'\?\)"),
        (("matrix", "planted"), {}, r"unknown model 'planted' \(did you mean 'planted-control'\?\)"),
        (("matrix", MODEL, "cass"), {}, r"unknown selector 'cass' \(did you mean 'cas'\?\)"),
        (("matrix", MODEL, "cas"), {"top_fraction": 0.5}, r"no result at top fraction 0\.5"),
        (("matrix", MODEL, "cas"), {"colour": "red"}, "matrix: unknown option 'colour'"),
    ],
)
def test_mistakes(run, arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        run.plot(*arguments, **options)


def test_a_folder_without_tables(tmp_path):
    with pytest.raises(FileError, match=r"effects\.csv: no such file"):
        results.load(tmp_path)
