"""One browser for all tests of a session, the demo's report, and a made-up one of another shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from culture_neurons.report import figures
from culture_neurons.report.registry import FigureFile
from tests.browser.chromium import program, running
from tests.figures_tables import build
from tests.report.page.test_neurons import content
from tests.report.test_page import PNG, counts, page

DEMO = Path(__file__).parents[2] / "results/demo/report.html"
LONG = "ein-sehr-langer-Name-ohne-eine-Stelle-zum-Umbrechen_" * 3


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    assert program(), "no Chromium here: make check-report installs one (Debian), or install it yourself"
    with running(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="session")
def demo() -> Path:
    """The demo's own report."""
    assert DEMO.is_file(), f"{DEMO}: not there; run make demo first"
    return DEMO


@pytest.fixture(scope="session")
def made_up(tmp_path_factory) -> Path:
    """A report of 25 cultures, with names that are long, or mean something in HTML."""
    folder = tmp_path_factory.mktemp("made-up")
    cultures = [LONG, "<b onclick=alert(1)>", *(f"culture {i:02d}" for i in range(23))]
    models = ("demo-qwen2.5-vl", "planted-qwen2.5-vl", f"planted-{LONG}")
    build(folder / "tables", cultures=cultures, models=models, selectors=["cas", "mad", "random"], fractions=(0.01,))
    files = [FigureFile("overview"), FigureFile("baseline"), FigureFile("matrix", models[0], "cas")]
    for file in files:
        (folder / f"{file.stem}.png").write_bytes(PNG)
    cards = content(culture=cultures[0])
    cards["cultures"] = [cultures[0], "B"]
    cards["samples"]["q1"] |= {"culture": LONG, "question": LONG}
    html = page(folder, figures.read(folder / "tables"), counts=counts(cultures), cards={models[1]: cards},
                files=files, run={"dataset": LONG, "config": {"a": LONG}})  # fmt: skip
    (folder / "report.html").write_text(html, encoding="utf-8")
    return folder / "report.html"


@pytest.fixture(params=["demo", "made_up"])
def report(request) -> Path:
    """Both, one after the other."""
    return request.getfixturevalue(request.param)
