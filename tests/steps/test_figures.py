from __future__ import annotations

import pandas as pd
import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.report import figures as figures_of
from culture_neurons.report.figures import caption_text, fonts
from culture_neurons.report.figures.tables import NEEDED
from culture_neurons.report.page import document
from culture_neurons.report.registry import FigureFile, write_list
from culture_neurons.steps import figures
from culture_neurons.tables import TABLES
from tests.figures_tables import build

MODEL = "planted-qwen2.5-vl"
SOME = [FigureFile("baseline"), FigureFile("layers", MODEL)]


def run(folder, files, *more):
    out = folder / "figures"
    figures.main(figures.arguments().parse_args([
        "--tables", str(folder / "tables"), "--selectors", "cas", "--top-fraction", "0.01", "--out-dir", str(out),
        "--figures", write_list(files), *more,
    ]))  # fmt: skip
    return out


@pytest.fixture
def folder(tmp_path):
    names = ["../../etc", "a/b", "Ελλάδα"]
    build(tmp_path / "tables", models=(MODEL,), selectors=["cas"], fractions=(0.01,), cultures=names)
    return tmp_path


@pytest.fixture
def no_fonts(monkeypatch):
    """A machine without further fonts."""
    monkeypatch.setattr(fonts, "system_fonts", lambda: ())
    fonts._family_for.cache_clear()
    yield
    fonts._family_for.cache_clear()


def test_names_without_a_font_are_said_once_in_the_log(tmp_path, no_fonts, caplog):
    build(tmp_path / "tables", models=(MODEL,), selectors=["cas"], fractions=(0.01,), cultures=["日本", "한국", "Peru"])
    with caplog.at_level("WARNING", "culture_neurons"):
        run(tmp_path, SOME)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "characters of 2 names" in said
    assert "(日本 as <65E5><672C>, 한국 as hangug); install a font" in said
    page = document.render(
        figures_of.read(tmp_path / "tables"), tmp_path / "figures", counts=pd.DataFrame(columns=["n"]),
        dropped=pd.DataFrame(), run={},
    )  # fmt: skip
    (note,) = [line for line in page.splitlines() if line.startswith("<p>No font of the machine")]
    assert "<bdi>日本</bdi> stands in figures as &lt;65E5&gt;&lt;672C&gt;, <bdi>한국</bdi>" in note


def names(files):
    return {f"{file.stem}.{suffix}" for file in files for suffix in ("pdf", "png")} | {"captions.rst"}


def test_every_figure_of_the_list_is_drawn_whatever_the_tables_have(folder):
    for path in (folder / "tables").glob("*.csv"):  # no rows of any model
        path.write_text(path.read_text(encoding="utf-8").partition("\n")[0] + "\n", encoding="utf-8")
    (folder / "tables/layers.csv").write_text("model,selector,top_fraction,culture,site,layer,count,units\n"
                                              f"{MODEL},cas,0.01,a/b,act_fn,0,0,4\n", encoding="utf-8")  # fmt: skip
    files = [FigureFile("images"), FigureFile("overlap", MODEL), FigureFile("robustness", MODEL, "cas")]
    out = run(folder, files, "--more", *(name for name in TABLES if name not in NEEDED))
    assert {path.name for path in out.iterdir()} == names(files)
    assert all(path.stat().st_size > 500 for path in out.iterdir() if path.suffix != ".rst")
    assert (out / "captions.rst").read_text(encoding="utf-8").count("\n") == len(files)


def test_same_bytes_however_many_are_drawn_side_by_side(folder):
    from docutils.core import publish_parts

    one = {path.name: path.read_bytes() for path in run(folder, SOME).iterdir()}
    # A culture's name is never part of a path, and nothing temporary stays behind.
    assert one.keys() == names(SOME)
    assert {path.name for path in folder.iterdir()} == {"tables", "figures"}
    assert {path.name: path.read_bytes() for path in run(folder, SOME, "--threads", "2").iterdir()} == one
    page = publish_parts(one["captions.rst"].decode(), writer="html", settings_overrides={"halt_level": 2})["body"]
    assert f"layers_{MODEL}" in page
    assert "planted" in page
    assert page.count("<li>") == 2


def test_a_figure_that_cannot_be_written_is_an_error(folder):
    (folder / "figures/baseline.pdf").mkdir(parents=True)
    with pytest.raises(OSError, match=r"baseline\.pdf"):
        run(folder, SOME[:1], "--threads", "2")


def test_mistakes(folder):
    with pytest.raises(ConfigError, match=r"did you mean 'planted-qwen2\.5-vl'"):
        run(folder, [FigureFile("drops", "planted-qwen")])
    with pytest.raises(ConfigError, match=r"no result at top fraction 0\.5; the tables have \[0\.01\]"):
        run(folder, SOME, "--top-fraction", "0.5")
    with pytest.raises(ConfigError, match="unknown selector 'made'"):
        run(folder, SOME, "--selectors", "made")
    with pytest.raises(ConfigError, match=r"figures: unknown kind 'drop' \(did you mean 'drops'\?\)"):
        run(folder, [FigureFile("drop", MODEL)])
    for text in ("[{}]", '["drops"]', '[{"kind": "drops", "of": "x"}]', "drops"):
        with pytest.raises(ConfigError, match="figures: expected a JSON list of objects with kind, model and selector"):
            run(folder, [], "--figures", text)


def test_figures_of_kinds_that_are_gone_are_removed_and_nobody_elses(folder, caplog):
    """captions.rst lists what we drew: what it does not list, and what another run still draws, stays."""
    out = run(folder, [*SOME, FigureFile("drops", MODEL)])
    captions = out / "captions.rst"
    gone = [f"{name}.{suffix}" for name in (f"erosion_{MODEL}", "timeline") for suffix in ("pdf", "png")]
    mine = ["holiday.png", "erosion_mine.pdf", "notes.txt"]
    for name in (*gone, *mine):
        (out / name).write_bytes(b"x")
    (folder / "etc.png").write_bytes(b"x")
    former = {f"erosion_{MODEL}": "of an earlier version", "timeline": "another", "../etc": "no name of a figure"}
    captions.write_text(captions.read_text(encoding="utf-8") + caption_text.as_rst(former), encoding="utf-8")
    with caplog.at_level("INFO"):
        run(folder, SOME)
    left = {path.name for path in out.iterdir()}
    assert not left & set(gone)
    assert {*mine, f"drops_{MODEL}.pdf", f"drops_{MODEL}.png", "baseline.png"} <= left
    assert (folder / "etc.png").is_file()
    assert f"erosion_{MODEL}.pdf: removed, a figure of an earlier version" in caplog.text
    assert f"left as they are: drops_{MODEL}.pdf, drops_{MODEL}.png, erosion_mine.pdf, holiday.png" in caplog.text


def test_what_a_folder_lists_is_what_was_drawn(folder):
    out = run(folder, SOME)
    assert caption_text.written((out / "captions.rst").read_text(encoding="utf-8")) == [file.stem for file in SOME]
