from __future__ import annotations

import os
import subprocess
import sys

import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.steps import figures
from tests.figures_tables import build

MODEL = "planted-qwen2.5-vl"


def run(folder, *more):
    out = folder / "figures"
    figures.main(figures.arguments().parse_args([
        "--tables", str(folder / "tables"), "--selectors", "cas", "--top-fraction", "0.01", "--out-dir", str(out),
        *more,
    ]))  # fmt: skip
    return out


@pytest.fixture
def folder(tmp_path):
    names = ["../../etc", "a/b", "C:\\d", "Ελλάδα"]
    build(tmp_path / "tables", models=(MODEL,), selectors=["cas"], fractions=(0.01,), cultures=names)
    return tmp_path


def test_files_of_one_model(folder):
    out = run(folder, "--model", MODEL)
    stems = [f"drops_{MODEL}", f"dose_{MODEL}"]
    stems += [f"{kind}_{MODEL}_cas" for kind in ("matrix", "layers", "layers-heatmap", "layers-by-culture")]
    expected = {f"{stem}.{suffix}" for stem in stems for suffix in ("pdf", "png")} | {f"captions_{MODEL}.rst"}
    # A culture's name is never part of a path, and nothing temporary stays behind.
    assert {path.name for path in out.iterdir()} == expected
    assert {path.name for path in folder.iterdir()} == {"tables", "figures"}


def test_files_are_the_same_bytes_however_many_are_written_side_by_side(folder):
    one = {path.name: path.read_bytes() for path in run(folder, "--model", MODEL).iterdir()}
    assert {path.name: path.read_bytes() for path in run(folder, "--model", MODEL, "--threads", "2").iterdir()} == one


def test_a_figure_that_cannot_be_written_is_an_error(folder):
    (folder / "figures" / f"drops_{MODEL}.pdf").mkdir(parents=True)
    with pytest.raises(OSError, match=f"drops_{MODEL}.pdf"):
        run(folder, "--model", MODEL, "--threads", "2")


def test_files_of_the_overview_and_what_docutils_makes_of_the_captions(folder):
    from docutils.core import publish_parts

    out = run(folder, "--overview", "--more", "images")
    assert {path.name for path in out.iterdir()} == {
        "overview.pdf", "overview.png", "baseline.pdf", "baseline.png", "images.pdf", "images.png",
        "captions_overview.rst",
    }  # fmt: skip
    run(folder, "--model", MODEL)
    page = publish_parts(
        f".. include:: {out}/captions_{MODEL}.rst\n", writer="html", settings_overrides={"halt_level": 2}
    )["body"]
    assert f"matrix_{MODEL}_cas" in page
    assert "planted" in page
    assert page.count("<li>") == 6


def test_mistakes(folder):
    with pytest.raises(ConfigError, match=r"did you mean 'planted-qwen2\.5-vl'"):
        run(folder, "--model", "planted-qwen")
    with pytest.raises(ConfigError, match=r"no result at top fraction 0\.5; the tables have \[0\.01\]"):
        run(folder, "--model", MODEL, "--top-fraction", "0.5")
    with pytest.raises(ConfigError, match="unknown selector 'made'"):
        run(folder, "--model", MODEL, "--selectors", "made")


def test_a_mistake_is_one_line_on_the_command_line(folder):
    done = subprocess.run(
        [sys.executable, "-m", "culture_neurons.steps.figures", "--tables", str(folder), "--overview", "--selectors",
         "cas", "--top-fraction", "0.01", "--out-dir", str(folder / "out")],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: {folder}/effects.csv: no such file"
