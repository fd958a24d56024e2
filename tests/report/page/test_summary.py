"""Culture by culture: what each one's questions lose under its own mask."""

from __future__ import annotations

import numpy as np
import pytest

from culture_neurons.report import figures
from culture_neurons.report.page import summary
from culture_neurons.report.words import bracket
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
    made = summary.by_culture(tables, "cas", 0.01)
    assert [(m["who"], m["planted"]) for m in made["models"]] == [(MODELS[0], False), (f"{MODELS[1]} (planted)", True)]
    assert [row["culture"] for row in made["rows"]] == ["A", "B"]
    for row in made["rows"]:
        for cell in row["cells"]:
            assert [c["text"] for c in cell["changes"]] == ["\N{MINUS SIGN}12.5 points", "\N{MINUS SIGN}0.250 nats"]
            assert [c["interval"] for c in cell["changes"]] == ["", ""]
            assert [(c["p"], c["fares"]) for c in cell["changes"]] == [("", "")] * 2
    assert made["counts"] == {}


def test_the_page_says_on_which_data_set_a_selector_chose(tmp_path, tables):
    chosen_on = {"mad": "recognise <b>"}
    for finding in summary.findings(tables, 0.01, chosen_on):
        names = [item["selector"] for item in finding["items"]]
        assert names == ["CAS", "MAD (chosen on recognise <b>)"]
        texts = [said["text"] for item in finding["items"] for said in item["said"].values()]
        assert [text.count("own neurons (MAD, chosen on recognise <b>, top 1") for text in texts] == [0, 0, 1, 1]
        listed = {name for headline in finding["headlines"] for part in headline["parts"] for name in part["selectors"]}
        assert listed == set(names)
    assert summary.by_culture(tables, "mad", 0.01, chosen_on)["selector"] == "MAD (chosen on recognise <b>)"
    config = {"selectors": {"cas": None, "mad": {"choose_on": "recognise <b>"}}}
    html, bare = (page(tmp_path, tables, run={"config": of}) for of in (config, {"selectors": {"mad": {}}}))
    assert "MAD (chosen on recognise &lt;b&gt;)" in html
    assert "MAD (chosen" not in bare
    assert "MAD, chosen" not in bare


def test_intervals_and_p_values_are_shown_where_the_table_has_them(tmp_path, tables):
    tables.effects[["drop_low", "drop_high", "mcnemar_p_adjusted", "logprob_p_adjusted"]] = [-20.0, -5.0, 0.2, np.nan]
    tables.effects.loc[
        (tables.effects["model"] == MODELS[1]) & (tables.effects["eval_culture"] == "B"), "mcnemar_p_adjusted"
    ] = 0.0001
    made = summary.by_culture(tables, "cas", 0.01)
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
    made = summary.by_culture(both, "cas", 0.01)
    found = [[[change["p"] for change in cell["changes"]] for cell in row["cells"]] for row in made["rows"]]
    sure = ["p = 0.030", "p = 0.030"]
    assert found == [[["p = 0.030", "p = 0.200"], sure], [sure, sure]]
    assert list(made["counts"].values()) == [["2 of 2", "2 of 2"], ["1 of 2", "2 of 2"]]
    assert "masks of shuffled labels" in page(tmp_path, both)
    alone = figures.read(folder, ["cultures"])
    assert summary.by_culture(alone, "cas", 0.01)["rows"][0]["cells"][0]["changes"][0]["p"] == "p = 0.020"


def test_a_culture_without_a_mask_in_one_model_has_a_gap(tables):
    gone = (tables.effects["model"] == MODELS[0]) & (tables.effects["mask_culture"] == "B")
    tables.effects.drop(tables.effects.index[gone], inplace=True)
    made = summary.by_culture(tables, "cas", 0.01)
    assert [cell is None for cell in made["rows"][1]["cells"]] == [True, False]


def test_the_selector_that_is_shown(tables):
    assert summary.main_selector(tables, ["mad", "cas"]) == "mad"
    assert summary.main_selector(tables, ["unknown"]) == "cas"
    keep = tables.evidence["selector"] == "mad"
    tables.evidence.drop(tables.evidence.index[~keep], inplace=True)
    assert summary.main_selector(tables, []) == "mad"


def test_interval_p_and_mark_of_a_culture_speak_of_one_contrast(tmp_path, tables):
    made = figures.read(tmp_path / "tables", ["cultures"])
    table = made.more["cultures"]
    table[["self", "specificity", "specificity_low", "specificity_high", "p_adjusted"]] = [-9.0, -4.0, -6.0, -2.0, 0.01]
    change = summary.by_culture(made, "cas", 0.01)["rows"][0]["cells"][0]["changes"][0]
    minus = "\N{MINUS SIGN}"
    assert change["against"] == f"own {minus} others {minus}4.0"
    assert (change["interval"], change["p"], change["fares"]) == (f"[{minus}6.0, {minus}2.0]", "p = 0.010", "worse")
    assert f"own {minus} others {minus}4.0 [{minus}6.0, {minus}2.0] p = 0.010" in page(tmp_path, made)


def test_a_comparison_has_the_interval_that_belongs_to_its_p_value(tables):
    columns = ["difference", "ci_low", "ci_high", "p_adjusted", "both_low", "both_high", "detectable", "n_carriers",
               "n_cultures"]  # fmt: skip
    tables.evidence[columns] = [-10.9, -15.0, -7.2, 0.96, -33.0, 2.0, 25.0, 3, 8]
    (item, *_) = summary.findings(tables, 0.01)[0]["items"]
    said = item["said"]["accuracy"]["detail"]
    minus = "\N{MINUS SIGN}"
    assert (
        f"against random masks: {minus}10.9 points (95 % interval over questions and masks {minus}33.0 to 2.0, "
        "adjusted p = 0.960), 3 of 8 masks go beyond all of these, differences from 25.0 points on would be "
        "found by four of five such runs"
    ) in said
    tables.evidence["p_adjusted"] = 0.01  # what was found needs no word on what could have been
    (item, *_) = summary.findings(tables, 0.01)[0]["items"]
    assert "four of five" not in item["said"]["accuracy"]["detail"]
    tables.evidence[["both_low", "both_high"]] = np.nan
    (item, *_) = summary.findings(tables, 0.01)[0]["items"]
    assert f"95 % interval over questions {minus}15.0 to {minus}7.2" in item["said"]["accuracy"]["detail"]


def test_an_interval_without_width_is_none():
    assert bracket(1.0, 1.0, 1) == ""
    assert bracket(0.0, 1.0, 1) == "[0.0, 1.0]"
