"""What `make demo-real` must have found: run it first. And that README and docs say what its tables say.

Nothing is planted in its model, so what its neurons do is a finding, and no test promises one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from culture_neurons.analysis.significance import ABOVE_CHANCE, direction
from culture_neurons.report.figures.baseline import wilson
from tests.demo.pages import NATS, POINTS, decimals, numbers, rows, section

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "real"
CONFIG = yaml.safe_load((ROOT / "config" / "real.yaml").read_text(encoding="utf-8"))
(MODEL,) = CONFIG["models"]
OWN, OTHER_DIRECTION, NO_CULTURE = CONFIG["dataset"], "recall", "general"
PAGE = ROOT / "docs" / "real-model.md"
README = ROOT / "README.md"
#: Selector -> how the page calls it.
NAMES = {
    "culnig-specific": "`culnig-specific`", "culnig-general": "`culnig-general`", "effect-size": "`effect-size`",
    "mad": "MAD", "cas": "CAS", "lape": "LAPE", "lap": "LAP", "random-matched": "random, as CAS",
    "random-specific": "random, as `culnig-specific`",
}  # fmt: skip


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def of_sets() -> pd.DataFrame:
    """Rows of sets.csv, by set and selector."""
    return table("sets").set_index(["set", "selector"])


def test_the_model_is_the_file_of_the_package():
    made_from = json.loads((RESULTS / MODEL / "model" / "gguf.json").read_text(encoding="utf-8"))
    stanza = CONFIG["models"][MODEL]["gguf"]["pip"]
    assert {key: made_from[key] for key in stanza} == stanza


def test_both_directions_are_answered_by_at_least_sixty_percent():
    found = of_sets()
    for name in (OWN, OTHER_DIRECTION):
        rows = found.loc[name]
        assert (rows["baseline_accuracy"] >= 0.6).all()
        assert set(rows["level"]) == {ABOVE_CHANCE}
    assert set(found.loc[NO_CULTURE]["level"]) == {ABOVE_CHANCE}


def test_every_culture_is_above_chance():
    baseline = table("baseline")
    assert len(baseline) == len(CONFIG["data"]["source"]["countries"])
    low, _ = wilson((baseline["accuracy"] * baseline["n"]).to_numpy(), baseline["n"].to_numpy())
    assert (low > baseline["chance"]).all()


def test_masks_are_of_all_layers_and_of_the_asked_size():
    for selector in ("lap", "lape", "mad", "cas", "effect-size", "random-matched"):
        mask = pd.read_parquet(RESULTS / MODEL / "masks" / f"{selector}_top0.01.parquet")
        assert mask["layer"].between(0, 29).all()
        assert (mask.groupby("culture", observed=True).size() == 461).all()


def test_no_item_is_on_both_sides():
    chosen_on = pd.read_parquet(RESULTS / "samples.parquet").query("split == 'identify'")
    for judged in (pd.read_parquet(RESULTS / "samples.parquet").query("split == 'evaluate'"),
                   pd.read_parquet(RESULTS / "sets" / OTHER_DIRECTION / "samples.parquet")):  # fmt: skip
        items = [set(zip(of["culture"], of["question_id"], strict=True)) for of in (chosen_on, judged)]
        assert all(items)
        assert not items[0] & items[1]


def test_the_report_says_what_survives_the_change_of_direction():
    page = (RESULTS / "report.html").read_text(encoding="utf-8")
    assert f"chosen on {OWN} and judged on {OTHER_DIRECTION} too: the effect" in page
    assert (RESULTS / "figures" / f"transfer_{MODEL}.png").stat().st_size > 5000
    assert (RESULTS / "figures" / f"layers_{MODEL}.png").stat().st_size > 5000


@pytest.mark.parametrize("name", [OWN, OTHER_DIRECTION])
def test_the_page_has_the_numbers_of_the_tables(name):
    """Own, other, own - other with its interval, random: nats."""
    columns = [
        "own_logprob_change", "other_logprob_change", "logprob_specificity", "logprob_specificity_low",
        "logprob_specificity_high", "random_logprob_change",
    ]  # fmt: skip
    lines, found = rows(PAGE, f"### On {name}"), of_sets().loc[name]
    assert set(lines) == {NAMES[s] for s in NAMES if s in found.index}
    for selector, row in found.iterrows():
        if selector not in NAMES:
            continue
        expected = row[columns].dropna().astype(float).tolist()
        shown = numbers(" ".join(lines[NAMES[selector]]))
        assert shown == pytest.approx(expected, abs=NATS), (selector, [round(n, 2) for n in expected])


def test_the_page_has_the_harm_to_questions_of_no_culture():
    lines, found = rows(PAGE, f"### On {NO_CULTURE}"), of_sets().loc[NO_CULTURE]
    for selector, name in NAMES.items():
        expected = found.loc[selector, ["logprob_change", "random_logprob_change"]].dropna().astype(float).tolist()
        assert numbers(" ".join(lines[name])) == pytest.approx(expected, abs=NATS), (selector, expected)


def test_the_page_says_which_effects_survive():
    """Its words are the directions of the tables."""
    found, lines = of_sets(), rows(PAGE, "## What survives")
    for selector, name in NAMES.items():
        if name not in lines:
            continue
        shown = [direction(found.loc[(of, selector), "logprob_specificity"],
                           found.loc[(of, selector), "logprob_specificity_p_adjusted"]) == "lower"
                 for of in (OWN, OTHER_DIRECTION)]  # fmt: skip
        assert [cell.startswith("yes") for cell in lines[name][:2]] == shown, (selector, shown)


def test_accuracies_of_the_page_and_all_numbers_of_readme():
    lines, found = rows(PAGE, "### Without masks"), of_sets().groupby(level="set").first()
    for name in (OWN, OTHER_DIRECTION, NO_CULTURE):
        n, accuracy = numbers(" ".join(lines[name]))
        assert n == found.loc[name, "n"]
        assert accuracy == pytest.approx(100 * found.loc[name, "baseline_accuracy"], abs=POINTS)
    shown = decimals(section(README, "In words"))
    assert shown  # as losses: without signs
    assert shown <= decimals(PAGE.read_text(encoding="utf-8"))
