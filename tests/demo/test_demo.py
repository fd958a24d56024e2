"""What `make demo` must have found: run it first.

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

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "demo"
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
(MODEL,) = CONFIG["models"]
OWN, SETS = CONFIG["dataset"], list(CONFIG["evaluation"]["sets"])
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
    assert f"from {OWN} to {name}" in page
    assert (RESULTS / "figures" / f"transfer_{MODEL}.png").stat().st_size > 5000
