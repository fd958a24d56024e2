"""Culture by culture: what each one's questions lose under its own mask."""

from __future__ import annotations

import numpy as np
import pytest

from culture_neurons.report import figures
from culture_neurons.report.page import culture_table
from tests.figures_tables import build
from tests.report.test_page import Page, page

MODELS = ("demo-qwen2.5-vl", "planted-qwen2.5-vl")


@pytest.fixture
def tables(tmp_path):
    return figures.read(build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas", "mad", "random"],
                              fractions=(0.01, 0.05)))  # fmt: skip


def test_own_changes_stand_under_their_model(tables):
    own = (tables.effects["mask_culture"] == tables.effects["eval_culture"]) & (tables.effects["selector"] == "cas")
    tables.effects.loc[own, ["drop", "logprob_drop"]] = [-12.5, -0.25]
    made = culture_table.by_culture(tables, "cas", 0.01)
    assert [(m["who"], m["planted"]) for m in made["models"]] == [(MODELS[0], False), (f"{MODELS[1]} (planted)", True)]
    assert [row["culture"] for row in made["rows"]] == ["A", "B"]
    for row in made["rows"]:
        for cell in row["cells"]:
            assert [c["text"] for c in cell["changes"]] == ["\N{MINUS SIGN}12.5 points", "\N{MINUS SIGN}0.250 nats"]
            assert [c["interval"] for c in cell["changes"]] == ["", ""]
            assert [(c["p"], c["fares"]) for c in cell["changes"]] == [("", "")] * 2
    assert made["counts"] == {}


def test_intervals_and_p_values_are_shown_where_the_table_has_them(tmp_path, tables):
    tables.effects[["drop_low", "drop_high", "mcnemar_p_adjusted", "logprob_p_adjusted"]] = [-20.0, -5.0, 0.2, np.nan]
    tables.effects.loc[
        (tables.effects["model"] == MODELS[1]) & (tables.effects["eval_culture"] == "B"), "mcnemar_p_adjusted"
    ] = 0.0001
    made = culture_table.by_culture(tables, "cas", 0.01)
    cell = made["rows"][1]["cells"][1]
    assert cell["changes"][0]["interval"] == "[\N{MINUS SIGN}20.0, \N{MINUS SIGN}5.0]"
    assert [(c["p"], c["fares"]) for c in cell["changes"]] == [("p < 0.001", "worse"), ("", "")]
    assert list(made["counts"].values()) == [["0 of 2", "1 of 2"], ["0 of 2", "0 of 2"]]
    rows = Page(page(tmp_path, tables)).parts["tr"]
    assert any("worse, p < 0.05, accuracy0 of 21 of 2" in row for row in rows)


def test_a_culture_is_marked_by_the_larger_p_value_of_two_kinds_of_luck(tmp_path, tables):
    folder = tmp_path / "tables"
    both = figures.read(folder, ["cultures", "permutations"])
    both.more["cultures"]["p_adjusted"] = 0.001
    shuffles = both.more["permutations"]
    shuffles["p_adjusted"] = 0.03
    few = (shuffles["model"] == MODELS[0]) & (shuffles["culture"] == "A") & (shuffles["measure"] == "logprob")
    shuffles.loc[few, "p_adjusted"] = 0.2
    made = culture_table.by_culture(both, "cas", 0.01)
    found = [[[change["p"] for change in cell["changes"]] for cell in row["cells"]] for row in made["rows"]]
    sure = ["p = 0.030", "p = 0.030"]
    assert found == [[["p = 0.030", "p = 0.200"], sure], [sure, sure]]
    assert list(made["counts"].values()) == [["2 of 2", "2 of 2"], ["1 of 2", "2 of 2"]]
    assert "masks of shuffled labels" in page(tmp_path, both)
    alone = figures.read(folder, ["cultures"])
    assert culture_table.by_culture(alone, "cas", 0.01)["rows"][0]["cells"][0]["changes"][0]["p"] == "p = 0.020"


def test_a_culture_without_a_mask_in_one_model_has_a_gap(tables):
    gone = (tables.effects["model"] == MODELS[0]) & (tables.effects["mask_culture"] == "B")
    tables.effects.drop(tables.effects.index[gone], inplace=True)
    made = culture_table.by_culture(tables, "cas", 0.01)
    assert [cell is None for cell in made["rows"][1]["cells"]] == [True, False]


def test_interval_p_and_mark_of_a_culture_speak_of_one_contrast(tmp_path, tables):
    made = figures.read(tmp_path / "tables", ["cultures"])
    table = made.more["cultures"]
    table[["self", "specificity", "specificity_low", "specificity_high", "p_adjusted"]] = [-9.0, -4.0, -6.0, -2.0, 0.01]
    change = culture_table.by_culture(made, "cas", 0.01)["rows"][0]["cells"][0]["changes"][0]
    minus = "\N{MINUS SIGN}"
    assert change["against"] == f"own {minus} others {minus}4.0"
    assert (change["interval"], change["p"], change["fares"]) == (f"[{minus}6.0, {minus}2.0]", "p = 0.010", "worse")
    row = next(row for row in Page(page(tmp_path, made)).parts["tr"] if row.startswith("A"))
    assert f"own {minus} others {minus}4.0 [{minus}6.0, {minus}2.0] p = 0.010" in row


def test_a_stacked_table_of_cultures_says_whose_each_cell_is(tmp_path, tables):
    cells = [a for t, a in Page(page(tmp_path, tables)).tags if t == "td" and "data-who" in a]
    assert [a["data-who"] for a in cells[:2]] == [MODELS[0], f"{MODELS[1]} (planted)"]
    alone = figures.read(build(tmp_path / "one", models=MODELS[:1], selectors=["cas"], fractions=(0.01,)))
    cells = [a for t, a in Page(page(tmp_path, alone)).tags if t == "td" and "data-who" in a]
    assert {a["data-who"] for a in cells} == {""}
