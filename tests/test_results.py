"""Results in a notebook: tables, every kind of figure by its name, and the lines of the README."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from culture_neurons import files, results
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


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The same with questions, answers, and masks at one place and at several."""
    run = tmp_path_factory.mktemp("whole") / "results/demo"
    shutil.copytree(folder, run)
    ids = pd.DataFrame({"sample_id": ["a", "b"], "culture": ["A", "B"]})
    files.write_table(run / "samples.parquet", ids.assign(question="?", image=b"pixels", country="x"), {})
    for model in ("demo-llava-mistral", MODEL):
        files.write_table(run / model / "predictions.parquet", ids.assign(prediction=[0, -1]), {})
    rows = [("A", "act_fn", 1, 3), ("A", "act_fn", 0, 4), ("B", "act_fn", 0, 0)]
    about = {"cultures": ["A", "B", "C"], "layers": 2, "neurons": 5}
    mask = pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron"])
    files.write_table(run / MODEL / "masks" / "cas_top0.01.parquet", mask, about)
    several = pd.concat([mask.assign(site="q_proj"), mask.assign(site="gate_proj")])
    sizes = about | {"neurons": {"gate_proj": 5, "q_proj": 7}}
    files.write_table(run / MODEL / "masks" / "lap_top0.005.parquet", several[several["neuron"] < 4], sizes)
    return results.load(run)


def test_questions_and_answers_are_data_frames(whole):
    assert list(whole.samples.columns) == ["sample_id", "culture", "question", "country"]
    assert list(whole.predictions.columns) == ["model", "sample_id", "culture", "prediction"]
    assert list(whole.predictions["model"]) == ["demo-llava-mistral"] * 2 + [MODEL] * 2
    assert list(whole.predictions.index) == [0, 1, 2, 3]
    assert whole.config == {"figures": {"top_fraction": 0.01}}
    (whole.folder / MODEL / "predictions.parquet").rename(whole.folder / "kept")
    with pytest.raises(FileError, match=rf"{MODEL}/predictions\.parquet: no such file"):
        whole.predictions  # noqa: B018
    (whole.folder / "kept").rename(whole.folder / MODEL / "predictions.parquet")


def test_a_mask_has_the_size_of_its_model(whole):
    mask = whole.mask(MODEL, "cas", "A")
    assert (mask.dtype, mask.shape) == (bool, (2, 5))
    assert [tuple(at) for at in np.argwhere(mask)] == [(0, 4), (1, 3)]
    assert not whole.mask(MODEL, "cas", "C").any()
    at_q = whole.mask(MODEL, "lap", "A", top_fraction=0.005, site="q_proj")
    assert at_q.shape == (2, 7)
    assert [tuple(at) for at in np.argwhere(at_q)] == [(1, 3)]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("m", "cas", "A"), {}, ConfigError, "unknown model 'm'"),
        ((MODEL, "csa", "A"), {}, ConfigError, r"unknown selector 'csa' \(did you mean 'cas'\?\)"),
        ((MODEL, "cas", "D"), {}, ConfigError, "unknown culture 'D'"),
        ((MODEL, "cas", "A"), {"top_fraction": 0.5}, FileError, r"cas_top0\.5\.parquet: no such file"),
        ((MODEL, "cas", "A"), {"site": "q_proj"}, ConfigError, "unknown site 'q_proj'"),
        ((MODEL, "lap", "A"), {"top_fraction": 0.005}, ConfigError, "units at gate_proj, q_proj; expected site"),
    ],
)
def test_mistakes_with_masks(whole, arguments, options, error, message):
    with pytest.raises(error, match=message):
        whole.mask(*arguments, **options)


def test_a_mask_of_layers_that_differ_is_as_wide_as_the_widest(whole, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(whole.folder, folder)
    path = folder / MODEL / "masks" / "cas_top0.01.parquet"
    table, about = files.read_table(path)
    files.write_table(path, table, about | {"neurons": {"act_fn": [5, 9]}})
    mask = results.load(folder).mask(MODEL, "cas", "A")
    assert mask.shape == (2, 9)
    assert [tuple(at) for at in np.argwhere(mask)] == [(0, 4), (1, 3)]


def test_figures_have_the_noun_of_the_run(whole, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(whole.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["config"]["group_noun"] = "emotion"
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert (whole.tables.noun, results.load(folder).tables.noun) == ("culture", "emotion")


def test_a_mask_that_does_not_fit_its_size_is_named(whole, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(whole.folder, folder)
    path = folder / MODEL / "masks" / "cas_top0.01.parquet"
    table, about = files.read_table(path)
    for change in ({"layers": 1}, {"neurons": 2}, {"neurons": None}):
        files.write_table(path, table, about | change)
        with pytest.raises(FileError, match=r"cas_top0\.01\.parquet: its (rows do not fit|metadata has no size)"):
            results.load(folder).mask(MODEL, "cas", "A")


def test_names_are_completed_and_shown_in_a_line(whole):
    assert repr(whole).endswith("models demo-llava-mistral, planted-control; 3 selectors; 21 tables; top 1 %>")
    assert len(repr(whole)) < 300
    tables = whole._ipython_key_completions_()
    assert len(tables) == 21
    assert {"effects", "summary", *tables} <= set(dir(whole))
    assert {"predictions", "samples", "config", "mask", "plot", "figures"} <= set(dir(whole))
    pd.testing.assert_frame_equal(whole["effects"], whole.effects)
    with pytest.raises(ConfigError, match=r"unknown table 'efects' \(did you mean 'effects'"):
        whole["efects"]
    without = dataclasses.replace(whole, tables=dataclasses.replace(whole.tables, more={}))
    assert "images" in dir(whole.figures)
    assert "images" not in dir(without.figures)
    assert "matrix" in repr(without.figures)
    assert isinstance(whole.figures.data_overlaps(MODEL), Axes)
    assert isinstance(whole.figures["matrix"](MODEL, "cas"), Axes)
    with pytest.raises(AttributeError):
        whole.figures.matrx  # noqa: B018


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
    if "ax" in inspect.signature(drawing.function(FIGURES[kind].plot)).parameters:
        figure = Figure(figsize=(9, 3))
        mine, other = figure.subplots(1, 2)
        place = mine.get_window_extent().frozen()
        assert run.plot(kind, MODEL, "cas", ax=mine) is mine
        assert mine.has_data()
        figure.canvas.draw()
        # Nothing of it is put elsewhere on the page, beside what stands at the axes.
        assert figure.legends == figure.texts == []
        for ax in {*figure.axes} - {other}:
            assert ax.get_tightbbox().x1 <= place.x1 + 2
    else:
        with pytest.raises(ConfigError, match=f"{kind}: has several panels"):
            run.plot(kind, MODEL, "cas", ax=Figure().add_subplot())


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
