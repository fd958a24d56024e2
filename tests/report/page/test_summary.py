"""What was found, in words: selectors by name, verdicts with what they rest on, and the numbers behind them."""

from __future__ import annotations

import numpy as np
import pytest

from culture_neurons.report import figures
from culture_neurons.report.page import culture_table, summary
from culture_neurons.report.words import bracket
from tests.figures_tables import build
from tests.report.test_page import Page, page

MODELS = ("demo-qwen2.5-vl", "planted-qwen2.5-vl")


@pytest.fixture
def tables(tmp_path):
    return figures.read(build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas", "mad", "random"],
                              fractions=(0.01, 0.05)))  # fmt: skip


def test_the_page_says_on_which_data_set_a_selector_chose(tmp_path, tables):
    chosen_on = {"mad": "recognise <b>"}
    for finding in summary.findings(tables, 0.01, chosen_on):
        names = [item["selector"] for item in finding["items"]]
        assert names == ["CAS", "MAD (chosen on recognise <b>)"]
        texts = [said["text"] for item in finding["items"] for said in item["by_measure"].values()]
        assert [text.count("own neurons (MAD, chosen on recognise <b>, top 1") for text in texts] == [0, 0, 1, 1]
        listed = {name for headline in finding["headlines"] for part in headline["parts"] for name in part["selectors"]}
        assert listed == set(names)
    assert culture_table.by_culture(tables, "mad", 0.01, chosen_on)["selector"] == "MAD (chosen on recognise <b>)"
    config = {"selectors": {"cas": None, "mad": {"choose_on": "recognise <b>"}}}
    html, bare = (page(tmp_path, tables, run={"config": of}) for of in (config, {"selectors": {"mad": {}}}))
    assert "MAD (chosen on recognise &lt;b&gt;)" in html
    assert "MAD (chosen" not in bare
    assert "MAD, chosen" not in bare


def test_the_selector_that_is_shown(tables):
    assert summary.main_selector(tables, ["mad", "cas"]) == "mad"
    assert summary.main_selector(tables, ["unknown"]) == "cas"
    keep = tables.evidence["selector"] == "mad"
    tables.evidence.drop(tables.evidence.index[~keep], inplace=True)
    assert summary.main_selector(tables, []) == "mad"


def test_a_comparison_has_the_interval_that_belongs_to_its_p_value(tables):
    columns = ["difference", "ci_low", "ci_high", "p_adjusted", "both_low", "both_high", "detectable", "n_carriers",
               "n_cultures"]  # fmt: skip
    tables.evidence[columns] = [-10.9, -15.0, -7.2, 0.96, -33.0, 2.0, 25.0, 3, 8]
    (item, *_) = summary.findings(tables, 0.01)[0]["items"]
    said = item["by_measure"]["accuracy"]["detail"]
    minus = "\N{MINUS SIGN}"
    assert (
        f"against random masks: {minus}10.9 points (95 % interval over questions and masks {minus}33.0 to 2.0, "
        "adjusted p = 0.960), 3 of 8 masks go beyond all of these, power: a true difference of 25.0 points, "
        "either way, would be found by four of five such runs"
    ) in said
    tables.evidence["p_adjusted"] = 0.01  # what was found needs no word on what could have been
    (item, *_) = summary.findings(tables, 0.01)[0]["items"]
    assert "four of five" not in item["by_measure"]["accuracy"]["detail"]
    tables.evidence[["both_low", "both_high"]] = np.nan
    (item, *_) = summary.findings(tables, 0.01)[0]["items"]
    assert f"95 % interval over questions {minus}15.0 to {minus}7.2" in item["by_measure"]["accuracy"]["detail"]


def test_an_interval_without_width_is_none():
    assert bracket(1.0, 1.0, 1) == ""
    assert bracket(0.0, 1.0, 1) == "[0.0, 1.0]"


def headlines(tables, model):
    """What each headline of a model says of each selector."""
    found = next(f for f in summary.findings(tables, 0.01) if f["model"] == model)["headlines"]
    return [[name for part in headline["parts"] for name in part["named"]] for headline in found]


def test_a_headline_says_how_many_masks_its_verdict_rests_on(tmp_path, tables):
    assert headlines(tables, MODELS[1]) == [["CAS", "MAD"]]  # of a version that did not count them
    tables.evidence[["n_carriers", "n_cultures"]] = [6, 6]
    few = (tables.evidence["selector"] == "mad") & (tables.evidence["comparison"] == "self-vs-cross")
    tables.evidence.loc[few, "n_carriers"] = 2  # a verdict takes both comparisons: it rests on the fewer
    assert headlines(tables, MODELS[1]) == [["CAS: 6 of 6 masks", "MAD: 2 of 6 masks"]]
    tables.evidence.loc[few & (tables.evidence["measure"] == "logprob"), "n_carriers"] = 3
    assert headlines(tables, MODELS[1]) == [["CAS: 6 of 6 masks", "MAD: 2 to 3 of 6 masks"]]
    assert headlines(tables, MODELS[0]) == [["CAS", "MAD"]]  # of what was not found nothing is carried
    parts = Page(page(tmp_path, tables)).parts["p"]
    assert any("culture-specific (CAS: 6 of 6 masks, MAD: 2 to 3 of 6 masks)" in text for text in parts)
    assert any("in how many cultures the own mask does more than every mask" in text for text in parts)
    unspecific = tables.evidence["model"] == MODELS[1]
    tables.evidence.loc[unspecific, "verdict"] = "unspecific damage"
    assert headlines(tables, MODELS[1]) == [["CAS: 6 of 6 masks", "MAD: 6 of 6 masks"]]  # held against random ones


def test_changes_have_one_sign_convention(tables):
    tables.summary[["self_drop", "cross_drop", "random_self_drop"]] = [-13.4, -1.7, 0.2]
    said = summary.findings(tables, 0.01)[0]["items"][0]["by_measure"]["accuracy"]["text"]
    minus = "\N{MINUS SIGN}"
    assert said.endswith(
        f"changes its accuracy by {minus}13.4 points; the other cultures' by {minus}1.7 points, and random masks "
        "change it by 0.2 points"
    )
