"""The sentences on which effects are shown on other questions too."""

from __future__ import annotations

import numpy as np

from culture_neurons.report import figures
from culture_neurons.report.page.survival import sentences
from culture_neurons.report.words import units_on_line
from tests.figures_tables import build
from tests.report.test_page import Page, page

MODEL = "planted-qwen2.5-vl"
#: Selector -> (specificity, adjusted p) on the run's own data and on the further set.
CASES = {
    "cas": ((-0.5, 0.01), (-0.31, 0.02)),
    "lap": ((-0.2, 0.04), (-0.1, 0.3)),
    "lape": ((0.0, 0.9), (-0.3, 0.01)),
    "mad": ((-0.1, 0.2), (np.nan, np.nan)),
    "effect-size": ((-0.4, 0.001), (0.2, 0.01)),
}


def tables(tmp_path, more=()):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=[*CASES, "random-matched", *more], fractions=(0.01,))
    made = figures.read(tmp_path / "tables", ["sets", "sets_effects", "sets_transfer"])
    table = made.more["sets"]
    table = table[table["set"] != "reasoning"].assign(level="above chance", shared="no")
    for selector, pairs in CASES.items():
        for name, (value, p) in zip(("demo", "quiz & more $x$"), pairs, strict=True):
            mine = (
                (table["model"] == MODEL) & (table["set"] == name) & (table["selector"] == selector)
                & (table["factor"] == 0)
            )  # fmt: skip
            assert mine.sum() == 1
            columns = ["logprob_specificity", "logprob_specificity_low", "logprob_specificity_high"]
            table.loc[mine, [*columns, "logprob_specificity_p_adjusted"]] = value, value - 0.1, value + 0.1, p
    made.more["sets"] = table
    return made


def test_each_selector_is_named_with_its_numbers_where_they_belong(tmp_path):
    made = tables(tmp_path)
    said, numbers = sentences(made, MODEL)
    minus = "\N{MINUS SIGN}"
    start, _, rest = said.partition(": the effect ")
    assert start == f"{MODEL} (planted), masks chosen on demo and judged on quiz & more $x$ too"
    assert "means over questions, where verdicts speak of means over cultures; top 1" in numbers
    assert rest == (
        f"survives for CAS ({minus}0.50 [{minus}0.60, {minus}0.40] on demo, {minus}0.31 [{minus}0.41, {minus}0.21] on "
        f"quiz & more $x$); is not shown any more for LAP ({minus}0.20 [{minus}0.30, {minus}0.10] on demo, {minus}0.10 "
        f"[{minus}0.20, 0.00] on quiz & more $x$); turns round for Effect size ({minus}0.40 [{minus}0.50, {minus}0.30] "
        f"on demo, 0.20 [0.10, 0.30] on quiz & more $x$); is shown there alone for LAPE (0.00 [{minus}0.10, 0.10] on "
        f"demo, {minus}0.30 [{minus}0.40, {minus}0.20] on quiz & more $x$)."
    )
    shown = page(tmp_path, made)
    assert any(units_on_line(said) in paragraph for paragraph in Page(shown).parts["p"])


def test_nothing_is_said_of_sets_that_are_answered_at_chance(tmp_path):
    made = tables(tmp_path)
    table = made.more["sets"]
    made.more["sets"] = table.assign(level=table["level"].where(table["set"] != "demo", "at chance"))
    assert sentences(made, MODEL) == []
    made.more["sets"] = table.assign(level=table["level"].where(table["set"] == "demo", "at chance"))
    assert sentences(made, MODEL) == []


def test_one_mask_of_all_cultures_and_random_masks_have_no_say(tmp_path):
    made = tables(tmp_path)
    table = made.more["sets"]
    made.more["sets"] = table.assign(shared=table["shared"].where(table["selector"] != "cas", "yes"))
    said, _ = sentences(made, MODEL)
    assert "CAS" not in said
    assert "random" not in said
    made.more["sets"] = table.assign(shared="yes")
    assert sentences(made, MODEL) == []


def test_without_further_data_sets_nothing_is_said(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,))
    assert sentences(figures.read(tmp_path / "tables"), MODEL) == []


CHOSEN = {"lape": "quiz & more $x$", "mad": "quiz & more $x$", "lap": "words"}


def test_masks_do_not_survive_where_they_were_chosen(tmp_path):
    """They are followed from their own set to the others; of a set that judges none, only to these."""
    made = tables(tmp_path)
    of_mad = (made.more["sets"]["selector"] == "mad") & (made.more["sets"]["factor"] == 0)
    made.more["sets"].loc[of_mad, ["logprob_specificity", "logprob_specificity_p_adjusted"]] = -0.2, 0.01
    said = {text.partition(": the effect ")[0].partition(", ")[2]: text.partition(": the effect ")[2]
            for text in sentences(made, MODEL, CHOSEN)[:-1]}  # fmt: skip
    ways = ["masks chosen on demo and judged on quiz & more $x$ too", "masks chosen on words, judged on demo",
            "masks chosen on words, judged on quiz & more $x$",
            "masks chosen on quiz & more $x$ and judged on demo too"]  # fmt: skip
    assert list(said) == ways
    named = {way: [name for name in ("CAS", "LAP ", "Effect size", "LAPE", "MAD") if name in said[way]] for way in ways}
    assert list(named.values()) == [["CAS", "Effect size"], ["LAP "], ["LAP "], ["LAPE", "MAD"]]
    assert said[ways[1]].startswith("is shown for LAP (")
    assert said[ways[2]].startswith("is not shown for LAP (")
    assert "survives for MAD (" in said[ways[3]]
    assert "is not shown any more for LAPE (" in said[ways[3]]
    shown = page(tmp_path, made, run={"config": {"selectors": {"mad": {"choose_on": "quiz & more $x$"}}}})
    assert any(ways[3] in text and "MAD" in text for text in Page(shown).parts["p"])


def test_masks_whose_own_set_is_guessed_on_are_not_followed(tmp_path):
    made = tables(tmp_path)
    table = made.more["sets"]
    made.more["sets"] = table.assign(level=table["level"].where(table["set"] != "quiz & more $x$", "at chance"))
    assert sentences(made, MODEL, CHOSEN | {"lap": "quiz & more $x$"}) == []
