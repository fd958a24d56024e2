from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from culture_neurons.report import figures
from culture_neurons.report.page import pictures
from culture_neurons.report.registry import FigureFile
from tests.figures_tables import build

MODEL = "planted-qwen2.5-vl"
FILES = [FigureFile("overview"), FigureFile("forest"), FigureFile("drops", MODEL), FigureFile("dose", MODEL),
         FigureFile("matrix", MODEL, "cas")]  # fmt: skip


def noise(size: int = 40) -> bytes:
    found = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)).save(found, "PNG")
    return found.getvalue()


@pytest.fixture
def made(tmp_path):
    tables = figures.read(build(tmp_path / "tables", models=(MODEL,), selectors=["cas"], fractions=(0.01,)))
    for file in FILES:
        (tmp_path / f"{file.stem}.png").write_bytes(noise())
    return lambda: pictures.groups(tables, tmp_path, FILES, ["cas"], 0.01)


def names(found: list) -> list[str]:
    return [picture["name"] for picture in found]


def test_figures_that_another_one_sums_up_are_folded(made):
    found = made()
    assert found["overview"]["name"] == "figures/overview.pdf"
    assert names(found["overall"]) == ["figures/forest.pdf"]
    (model,) = found["models"]
    assert names(model["first"]) == [f"figures/matrix_{MODEL}_cas.pdf"]
    assert names(model["folded"]) == [f"figures/drops_{MODEL}.pdf", f"figures/dose_{MODEL}.pdf"]
    assert found["listed"] == []


def test_what_would_make_the_page_too_large_is_named_folded_ones_first(made, monkeypatch):
    one = len(made()["overview"]["source"])
    monkeypatch.setattr(pictures, "MOST_BYTES", 3 * one + 10)
    found = made()
    assert found["listed"] == [f"figures/dose_{MODEL}.pdf", f"figures/drops_{MODEL}.pdf"]
    assert names(found["models"][0]["first"]) == [f"figures/matrix_{MODEL}_cas.pdf"]
    assert found["models"][0]["folded"] == []


def test_pictures_are_stored_in_few_colours(tmp_path, made):
    lines = Image.new("RGB", (400, 400), "white")
    lines.paste("#D55E00", (50, 50, 300, 90))
    lines.save(tmp_path / "forest.png")
    source = str(made()["overall"][0]["source"])
    assert len(source) < 1.4 * (tmp_path / "forest.png").stat().st_size
    assert len(str(made()["overview"]["source"])) < len(noise()) * 4 / 3
