"""What `make demo` must have found: run it first. And that README and docs say what its tables say.

Nothing is planted in its model, so what its neurons do is a finding, and no test promises one. What is promised is that
the eye reads flags, that the pictures decide the answers, and that the language model is the one of the package.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from safetensors import safe_open

from culture_neurons.analysis.significance import direction
from tests.demo.pages import NATS, POINTS, numbers, outside, rows, section

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "demo"
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
(MODEL,) = CONFIG["models"]
OWN, SETS = CONFIG["dataset"], list(CONFIG["evaluation"]["sets"])
PAGE, README = ROOT / "docs" / "demo.md", ROOT / "README.md"
#: Selectors of the page's tables.
SELECTORS = ("cas", "effect-size", "cas-recognise", "effect-size-recognise", "random-matched")
#: Other processors train another eye, of the same skill: how far numbers that hang on it may lie from the page's.
EYE_NATS, EYE_SHARE, EYE_POINTS = 0.15, 0.35, 10.0
#: The last seven of 30 layers.
LATE = 23
#: What stands before the names of the decoder's weights where it is a part of a model with an eye.
PART = "language_model."


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def image_controls() -> pd.DataFrame:
    """Rows of images.csv on the run's own questions, means over countries, by control."""
    found = table("images")
    return found[found["culture"].isna() & (found["set"] == OWN)].set_index("control")


def test_the_language_model_is_the_file_of_the_package():
    made_from = json.loads((RESULTS / MODEL / "model" / "gguf.json").read_text(encoding="utf-8"))
    stanza = CONFIG["models"][MODEL]["gguf"]["pip"]
    assert {key: made_from[key] for key in stanza} == stanza


def test_the_eye_reads_the_flags():
    training = json.loads((RESULTS / MODEL / "model" / "training.json").read_text(encoding="utf-8"))
    assert training["held_out_accuracy"] >= 0.99
    assert sorted(training["read"]) == sorted([*CONFIG["models"][MODEL]["eye"]["countries"], "nothing"])


def test_the_language_model_is_the_same_with_an_eye_byte_by_byte():
    files = [RESULTS / MODEL / folder / "model.safetensors" for folder in ("decoder", "model")]
    with safe_open(files[0], framework="pt") as alone, safe_open(files[1], framework="pt") as behind:
        names, others = sorted(alone.keys()), sorted(behind.keys())
        assert [name for name in others if name.startswith(PART)] == [PART + name for name in names]
        for name in names:
            one, other = alone.get_tensor(name), behind.get_tensor(PART + name)
            assert one.dtype == other.dtype, name
            assert one.numpy().tobytes() == other.numpy().tobytes(), name


def test_every_country_is_above_chance_and_all_are_well_above():
    baseline = table("baseline")
    assert set(baseline["culture"]) == {*CONFIG["data"]["source"]["countries"]}
    assert (baseline["accuracy"] > baseline["chance"]).all()
    assert (baseline["accuracy"] * baseline["n"]).sum() / baseline["n"].sum() >= 0.55


def test_without_a_picture_it_guesses():
    found = image_controls()
    assert set(found.index) == {"shown", *CONFIG["evidence"]["image_controls"]}
    assert found.loc["shown", "accuracy"] >= 0.55
    assert found.loc["blank", "accuracy"] <= 0.35


def test_answers_follow_the_flag():
    """Shown another country's flag, half of the answers that were right are that country's, or more."""
    swapped = image_controls().loc["swapped"]
    assert swapped["followed_n"] > 0
    assert swapped["followed"] >= 0.5


@pytest.mark.parametrize("name", SETS)
def test_no_item_is_on_both_sides(name):
    chosen_on = pd.read_parquet(RESULTS / "samples.parquet").query("split == 'identify'")
    for judged in (pd.read_parquet(RESULTS / "samples.parquet").query("split == 'evaluate'"),
                   pd.read_parquet(RESULTS / "sets" / name / "samples.parquet")):  # fmt: skip
        items = [set(zip(of["culture"], of["question_id"], strict=True)) for of in (chosen_on, judged)]
        assert all(items)
        assert not items[0] & items[1]


@pytest.mark.parametrize("name", SETS)
def test_the_report_says_what_survives_the_change_of_questions(name):
    page = (RESULTS / "report.html").read_text(encoding="utf-8")
    assert f"chosen on {OWN} and judged on {name} too: the effect" in page
    assert (RESULTS / "figures" / f"transfer_{MODEL}.png").stat().st_size > 5000


def of_sets() -> pd.DataFrame:
    """Rows of sets.csv, by set and selector."""
    return table("sets").set_index(["set", "selector"])


def test_the_page_has_the_accuracies_of_the_tables():
    lines, found = rows(PAGE, "### Without masks"), of_sets().groupby(level="set").first()
    shown = found.loc[[OWN, *SETS], ["n", "baseline_accuracy"]]
    controls = image_controls().loc[CONFIG["evidence"]["image_controls"], ["n", "accuracy"]]
    assert list(lines) == [*shown.index, *(f"{OWN}, {control}" for control in controls.index)]
    for name, (n, accuracy) in zip(lines, [*shown.to_numpy(), *controls.to_numpy()], strict=True):
        shown_n, shown_accuracy, *_ = numbers(" ".join(lines[name]))
        assert shown_n == n
        near = POINTS if name in SETS else EYE_POINTS
        assert shown_accuracy == pytest.approx(100 * accuracy, abs=near), name
    followed = image_controls().loc["swapped", ["followed", "followed_low", "followed_high"]]
    assert numbers(lines[f"{OWN}, swapped"][2]) == pytest.approx((100 * followed).tolist(), abs=EYE_POINTS)


@pytest.mark.parametrize("name", [OWN, *SETS])
def test_the_page_has_the_changes_of_the_tables(name):
    """Own, other, own - other with its interval, random: nats."""
    columns = [
        "own_logprob_change", "other_logprob_change", "logprob_specificity", "logprob_specificity_low",
        "logprob_specificity_high", "random_logprob_change",
    ]  # fmt: skip
    lines, found = rows(PAGE, f"### On {name}"), of_sets().loc[name]
    assert list(lines) == [f"`{selector}`" for selector in SELECTORS]
    for selector in SELECTORS:
        expected = found.loc[selector, columns].dropna().astype(float).tolist()
        shown = numbers(" ".join(lines[f"`{selector}`"]))
        in_words = name in SETS and selector.endswith("-recognise")  # without the eye, but for the random masks
        near = pytest.approx(expected[:-1], abs=NATS) if in_words else pytest.approx(
            expected[:-1], abs=EYE_NATS, rel=EYE_SHARE)  # fmt: skip
        assert shown[:-1] == near, (selector, [round(n, 2) for n in expected])
        assert shown[-1] == pytest.approx(expected[-1], abs=EYE_NATS), selector


def test_the_page_says_which_effects_survive():
    """Its words are the directions of the tables."""
    found, lines = of_sets(), rows(PAGE, "## Pictures and words")
    assert list(lines) == [f"`{selector}`" for selector in SELECTORS[:-1]]
    for selector in SELECTORS[:-1]:
        shown = [direction(found.loc[(of, selector), "logprob_specificity"],
                           found.loc[(of, selector), "logprob_specificity_p_adjusted"]) == "lower"
                 for of in (OWN, *SETS)]  # fmt: skip
        assert [cell.startswith("yes") for cell in lines[f"`{selector}`"]] == shown, (selector, shown)


def test_the_page_says_how_many_neurons_pictures_and_words_share():
    """Means over countries of the Jaccard index of masks chosen on pictures and on words, and by chance."""
    table_ = table("data_overlaps")
    found, layers = (table_[known] for known in (table_["layer"].isna(), table_["layer"].notna()))
    lines = rows(PAGE, "### Shared neurons")
    for selector in ("cas", "effect-size"):
        pair = {selector, f"{selector}-recognise"}
        same = found[[{a, b} == pair for a, b in zip(found["a"], found["b"], strict=True)]]
        assert len(same) == len(CONFIG["data"]["source"]["countries"])
        expected = [same["overlap"].mean(), same["expected"].mean()]
        said = numbers(" ".join(lines[f"`{selector}`"]))
        assert said[:2] == pytest.approx(expected, abs=0.04), expected
        assert expected[0] > 2 * expected[1]
        shared = layers[[{a, b} == pair for a, b in zip(layers["a"], layers["b"], strict=True)]]
        late = 100 * shared.loc[shared["layer"] >= LATE, "n_shared"].sum() / shared["n_shared"].sum()
        assert said[2:] == [pytest.approx(late, abs=10)]


def test_numbers_of_readme_are_in_its_ranges():
    controls, found, overlaps = image_controls(), of_sets(), table("data_overlaps")
    pair = overlaps[overlaps["layer"].isna() & (overlaps["a"] == "cas") & (overlaps["b"] == "cas-recognise")]
    lost = [-found.loc[(of, s), "logprob_specificity"] for of in (OWN, "recall") for s in ("cas", "cas-recognise")]
    values = [
        100 * controls.loc["shown", "accuracy"], 100 * controls.loc["blank", "accuracy"],
        100 * controls.loc["swapped", "followed"], pair["overlap"].mean(), pair["expected"].mean(),
    ]  # fmt: skip
    text = section(README, "What was found")
    for each in (min(lost), max(lost)):
        assert outside(text, [*values[:3], each, *values[3:]]) == []
