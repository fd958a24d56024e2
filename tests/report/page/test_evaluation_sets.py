"""The sentences on several data sets."""

from __future__ import annotations

import numpy as np

from culture_neurons.report import figures
from culture_neurons.report.page.evaluation_sets import sentences
from culture_neurons.report.words import units_on_line
from tests.figures_tables import build
from tests.report.test_page import Page, page

MODEL = "planted-qwen2.5-vl"


def test_the_sentence_has_the_numbers_of_the_table_and_says_planted(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas", "random-matched"], fractions=(0.01,))
    made = figures.read(tmp_path / "tables", ["sets", "sets_effects", "sets_transfer"])
    table = made.more["sets"]
    for name, accuracy, change, difference, p in (
        ("demo", 0.9, -30.0, -29.0, 0.01), ("quiz & more $x$", 0.5, 2.0, 3.0, 0.02),
        ("reasoning", 0.6, -1.0, -2.0, 0.3),
    ):  # fmt: skip
        mine = (
            (table["model"] == MODEL) & (table["set"] == name) & (table["selector"] == "cas") & (table["factor"] == 0)
        )
        columns = ["baseline_accuracy", "change", "difference", "difference_p_adjusted", "change_p_adjusted"]
        table.loc[mine, columns] = accuracy, change, difference, p, 0.2
    start = (
        f"{MODEL} (planted), on several data sets (CAS, top 1\N{NO-BREAK SPACE}%, neurons suppressed (×0), mean of all "
    )
    start += "masks over all questions; in brackets accuracy without masks and with them): "
    (said,) = sentences(made, MODEL)
    assert said == start + (
        "against answers under random masks of their size, accuracy is lower on demo (90.0 and 60.0 %); higher on "
        "quiz & more $x$ (50.0 and 52.0 %); not shown to differ on reasoning (60.0 and 59.0 %). "
        "That speaks of new questions under these very masks."
    )
    shown = page(tmp_path, made)
    assert any(units_on_line(said) in paragraph for paragraph in Page(shown).parts["p"])
    assert "On other benchmarks" in shown
    assert "tables/sets_effects.csv (" in shown
    table.loc[table["set"] == "reasoning", "difference_p_adjusted"] = np.nan  # all its questions are about one image
    (said,) = sentences(made, MODEL)
    assert "; not tested (no two questions apart, or no random masks) on reasoning (60.0 and 59.0 %)." in said
    assert "not shown to differ" not in said
    table["difference"] = np.nan
    (said,) = sentences(made, MODEL)
    assert said.startswith(f"{start}against answers without masks, accuracy is not shown to differ on demo (90.0 and")


def test_without_further_data_sets_nothing_is_said(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,))
    made = figures.read(tmp_path / "tables")
    assert sentences(made, MODEL) == []
    assert "On other benchmarks" not in page(tmp_path, made)
