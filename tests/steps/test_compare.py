"""The step that lays two results folders side by side, as it is called by its rule."""

import json
import shutil

import pytest
from matplotlib.text import Text

from culture_neurons import files
from culture_neurons.analysis.compare_runs import TABLES, TEXT
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.report.figures import style
from culture_neurons.report.figures.compared import FIGURES
from culture_neurons.report.page import comparison
from culture_neurons.steps import compare
from tests import finished_runs


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    return [finished_runs.write(base / name, seed, fractions=("0.1", "0.2")) for seed, name in enumerate(("a", "b"))]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Runs with one kind of masks alone, for what does not hang on how many there are."""
    base = tmp_path_factory.mktemp("small")
    return [finished_runs.write(base / name, seed, selectors=("cas",)) for seed, name in enumerate(("a", "b"))]


@pytest.fixture(scope="module")
def made(folders, step, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "a-vs-b"
    step.run(compare, "--runs", *folders, "--replicates", 50, "--out-dir", out)
    return out


def test_tables_figures_and_page_are_written(made):
    assert {path.name for path in (made / "tables").iterdir()} == {
        f"{name}.csv" for name in TABLES if name != "transferred_masks"
    }
    assert {path.name for path in (made / "figures").iterdir()} == {f"{n}.{s}" for n in FIGURES for s in ("pdf", "png")}
    table = files.read_csv(made / "tables/shared_neurons.csv", TABLES["shared_neurons"].columns, text=TEXT)
    assert set(table["top_fraction"]) == {0.1, 0.2}
    page = (made / "comparison.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 4
    assert "Top 10 %" in page  # the smallest that both have
    assert "Masks were not asked on the other run" in page


def test_the_same_runs_give_the_same_bytes(folders, made, step, tmp_path):
    copies = [shutil.copytree(folder, tmp_path / folder.name) for folder in folders]
    step.run(compare, "--runs", *copies, "--replicates", 50, "--out-dir", tmp_path / "out")
    for path in made.rglob("*.*"):
        assert (tmp_path / "out" / path.relative_to(made)).read_bytes() == path.read_bytes(), path.name


def test_a_transfer_that_no_model_can_make_is_said(small, step, tmp_path):
    other = finished_runs.write(tmp_path / "c", 3, models={"m": "r2"}, selectors=("cas",))
    step.run(compare, "--runs", small[0], other, "--transfers", "--replicates", 20, "--out-dir", tmp_path / "out")
    notes = files.read_csv(tmp_path / "out/tables/compared.csv", text=TEXT)
    reason = notes[(notes["what"] == "transfer")]["reason"].tolist()
    assert reason == ["masks move between runs of one model (name, revision and dtype)"]
    moved = files.read_csv(tmp_path / "out/tables/transferred_masks.csv", TABLES["transferred_masks"].columns)
    assert len(moved) == 0
    page = (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    assert "No mask of one run was asked on the other" in page


def test_what_is_wrong_is_said_in_one_line(folders, step, tmp_path):
    out = ("--out-dir", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"runs: 1 results folders; expected two, as in --config runs='\[results/a"):
        step.run(compare, "--runs", folders[0], *out)
    with pytest.raises(FileError, match=r"nowhere: no samples\.parquet; expected the results of a run"):
        step.run(compare, "--runs", folders[0], tmp_path / "nowhere", *out)
    with pytest.raises(ConfigError, match=r"top fraction 0\.3: not in both runs; expected one of 0\.1, 0\.2"):
        step.run(compare, "--runs", *folders, "--replicates", 20, "--top-fraction", "0.3", *out)
    assert not (tmp_path / "out").exists()  # said before any work
    other = finished_runs.write(tmp_path / "c", fractions=("0.5",))
    with pytest.raises(ConfigError, match=r"top fraction 0\.1: not in both runs; they have none in common"):
        step.run(compare, "--runs", folders[0], other, "--top-fraction", "0.1", *out)


def test_runs_of_one_name_are_called_by_the_folders_above_them(small, step, tmp_path):
    later = shutil.copytree(small[1], tmp_path / "later" / small[0].name)
    step.run(compare, "--runs", small[0], later, "--replicates", 20, "--out-dir", tmp_path / "out")
    page = (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    assert f"{small[0].parent.name}-a and later-a side by side" in page


@pytest.mark.parametrize(
    ("nouns", "more", "noun"),
    [
        (("emotion", "emotion"), (), "emotion"),
        (("emotion", None), ("--group-noun", "emotion"), "emotion"),  # what the config at hand says
        (("emotion", "country"), (), "group"),
        (("culture", None), (), "culture"),
    ],
)
def test_the_page_has_the_noun_of_its_runs(small, step, tmp_path, monkeypatch, nouns, more, noun):
    copies = [shutil.copytree(folder, tmp_path / folder.name) for folder in small]
    for copy, named in zip(copies, nouns, strict=True):
        if named:
            (copy / "manifest.json").write_text(json.dumps({"config": {"group_noun": named}}), encoding="utf-8")
    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, path: drawn.append(figure))
    monkeypatch.setattr(comparison, "render", lambda shown, *_: drawn.append(shown) or "")
    step.run(compare, "--runs", *copies, "--replicates", 20, "--out-dir", tmp_path / "out", *more)
    *drawings, shown = drawn
    assert shown.noun == noun
    words = " ".join(text.get_text() for figure in drawings for text in figure.findobj(Text))
    assert ("ulture" in words) is (noun == "culture")
    assert noun in words


def test_a_damaged_manifest_takes_no_more_than_its_word(small, step, tmp_path):
    copy = shutil.copytree(small[0], tmp_path / "a")
    (copy / "manifest.json").write_text("{", encoding="utf-8")
    step.run(compare, "--runs", copy, small[1], "--replicates", 20, "--out-dir", tmp_path / "out")
    assert "per culture" in (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
