"""What `make demo-control` must have found: run it first. Thresholds and the ranges of the pages are promises."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from culture_neurons import store
from culture_neurons.data.samples import read_samples
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.loading import load
from tests.demo.pages import outside, section

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "control"
CONFIG = yaml.safe_load((ROOT / "config" / "control.yaml").read_text(encoding="utf-8"))
ORGANIC = [name for name, model in CONFIG["models"].items() if not model["train"].get("plant")]
PLANTED = [name for name in CONFIG["models"] if name not in ORGANIC]
MAIN = CONFIG["figures"]["top_fraction"]
PAGE, README = ROOT / "docs" / "control.md", ROOT / "README.md"


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def rows(name: str, **where) -> pd.DataFrame:
    result = table(name)
    for column, value in where.items():
        result = result[result[column] == value]
    return result


@pytest.mark.parametrize("model", CONFIG["models"])
def test_every_model_was_trained_to_at_least_ninety_percent(model):
    training = json.loads((RESULTS / model / "model" / "training.json").read_text(encoding="utf-8"))
    assert training["dev_accuracy"] >= 0.9
    accuracy = rows("baseline", model=model)
    assert (accuracy["accuracy"] * accuracy["n"]).sum() / accuracy["n"].sum() >= 0.85  # never tuned on


@pytest.mark.parametrize("model", CONFIG["models"])
def test_every_model_needs_the_image(model):
    found = rows("images", model=model)
    every = found[found["culture"].isna()].set_index("control")
    assert list(every.index) == ["shown", *CONFIG["evidence"]["image_controls"]]
    for control in CONFIG["evidence"]["image_controls"]:
        row = every.loc[control]
        assert abs(row["accuracy"] - row["chance"]) <= 0.15  # words alone say nothing
        assert row["change_high"] < -40
        assert row["mcnemar_p_adjusted"] < 1e-6


def test_benchmark_tells_good_selectors_from_chance():
    found = rows("benchmark", model=PLANTED[0], samples_per_culture="all", label_noise=0, top_fraction=MAIN)
    found = found[found["target"] == "planted"].set_index("selector")
    for selector in ("cas", "effect-size"):
        assert found.loc[selector, "average_precision"] > 0.95, selector
    for control in ("random-matched", "random-matched-2"):
        assert found.loc[control, "average_precision"] < 0.1, control


@pytest.mark.parametrize("model", CONFIG["models"])
@pytest.mark.parametrize("measure", ["accuracy", "logprob"])
def test_shuffled_labels_tell_a_planted_effect_from_none(model, measure):
    found = rows("permutations", model=model, measure=measure)
    times = CONFIG["evidence"]["permutations"]
    assert (found["permutations"] == times).all()
    whole = found[found["culture"].isna()].iloc[0]
    if model in PLANTED:
        assert whole["p_value"] == pytest.approx(1 / (times + 1))
        assert (found["p_adjusted"] < 0.05).all()
    else:  # a trained model may have neurons of culture, but none that matter nearly as much
        planted = rows("permutations", model=PLANTED[0], measure=measure)
        assert whole["observed"] > 0.2 * planted.loc[planted["culture"].isna(), "observed"].item()


def test_a_planted_effect_grows_with_the_strength_of_the_intervention():
    found = rows("strengths", model=PLANTED[0], measure="logprob").sort_values("strength")
    # It grows until the answers are at chance, and stays there: no intervention does less than a weaker one.
    assert (found["self"] - found["self"].cummin() < 0.02).all()
    assert found["self"].iloc[0] - found["self"].min() > 0.3
    assert (found["cross"].abs() < 0.05).all()
    one = rows("summary", model=PLANTED[0], selector="cas", top_fraction=MAIN).iloc[0]
    assert found.set_index("strength").loc[1.0, "self"] == pytest.approx(one["self_logprob_drop"])


def test_each_planted_culture_is_specific_and_no_other_is():
    found = rows("cultures", selector="cas", top_fraction=MAIN, measure="logprob")
    planted = found[found["model"].isin(PLANTED)]
    assert ((planted["p_adjusted"] < 0.01) & (planted["specificity"] < 0)).all()
    ordinary = found[found["model"].isin(ORGANIC)]
    harmful = (ordinary["p_adjusted"] < 0.05) & (ordinary["specificity"] < 0)
    assert harmful.mean() <= 0.1  # luck of the neurons is not in these p-values


@pytest.mark.parametrize("fraction", CONFIG["top_fractions"][:1])
def test_planted_neurons_are_found_by_the_probability_contrast(fraction):
    found = rows("planted", model=PLANTED[0], selector="cas", top_fraction=fraction)
    assert len(found) == CONFIG["data"]["source"]["cultures"]
    assert found["precision"].mean() >= 0.9


def test_planted_neurons_are_found_by_attribution():
    found = rows("planted", model=PLANTED[0], selector="culnig-specific", top_fraction=MAIN)
    control = rows("planted", model=PLANTED[0], selector="random-specific", top_fraction=MAIN)
    assert found["n_selected"].sum() == control["n_selected"].sum() > 0
    assert found["hits"].sum() / found["n_selected"].sum() >= 0.5
    assert control["hits"].sum() / control["n_selected"].sum() <= 0.15


@pytest.mark.parametrize("selector", ["cas", "culnig-specific"])
def test_evidence_tells_the_planted_effect_from_random_masks(selector):
    found = rows("evidence", model=PLANTED[0], selector=selector, top_fraction=MAIN)
    assert set(found["verdict"]) == {"culture-specific"}
    summary = rows("summary", model=PLANTED[0], selector=selector, top_fraction=MAIN).iloc[0]
    assert summary["self_drop"] <= min(-10, 2 * summary["cross_drop"])


def test_every_culture_is_hit_by_its_own_mask_more_than_by_the_others():
    effects = rows("effects", model=PLANTED[0], selector="cas", top_fraction=MAIN)
    own = effects[effects["mask_culture"] == effects["eval_culture"]].set_index("eval_culture")["logprob_drop"]
    others = effects[effects["mask_culture"] != effects["eval_culture"]].groupby("eval_culture")["logprob_drop"].mean()
    assert (own < others).all()


@pytest.mark.parametrize("model", list(CONFIG["models"]))
def test_statistics_take_about_half_of_their_plain_arrays(model):
    size, plain = store.bytes_on_disk(RESULTS / model / "statistics.h5")
    assert size < 0.6 * plain  # a tenth are the totals: there are few samples per culture


def test_planted_models_are_marked_in_every_table():
    for name in ("effects", "summary", "layers", "baseline", "evidence", "planted", "images", "benchmark"):
        marks = table(name).groupby("model")["planted"].unique()
        for model, mark in marks.items():
            assert list(mark) == ["yes" if model in PLANTED else "no"], name


def test_report_is_one_page_that_says_planted_and_has_every_figure():
    page = (RESULTS / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert 'src="http' not in page
    assert 'href="http' not in page.replace('href="https://arxiv.org', "")
    assert "planted" in page
    assert page.count("data:image/png;base64,") >= 4 * len(CONFIG["models"])
    for model in CONFIG["models"]:
        assert model in page


def test_cards_show_the_strongest_neurons_of_every_culture():
    for model in CONFIG["models"]:
        found = json.loads((RESULTS / model / "cards.json").read_text(encoding="utf-8"))
        assert len(found["cards"]) == CONFIG["evidence"]["cards"] * len(found["cultures"]) == 18
        assert all(sample["image"] for sample in found["samples"].values())
        assert {card["planted"] for card in found["cards"]} == ({True} if model in PLANTED else {None})


def test_figures_are_few_and_there_as_pdf_and_png():
    stems = {"overview", "forest", "own-against-cross", "depth", "baseline", "images", "benchmark"}
    for model in CONFIG["models"]:
        stems |= {f"{kind}_{model}" for kind in ("drops", "dose", "layers", "stability", "overlap")}
        stems |= {f"{kind}_{model}_cas" for kind in ("matrix", "robustness")}
    files = {path.name: path.stat().st_size for path in (RESULTS / "figures").iterdir() if path.suffix != ".rst"}
    assert files.keys() == {f"{stem}.{suffix}" for stem in stems for suffix in ("pdf", "png")}
    assert len(files) <= 42
    assert min(files.values()) > 1000


def test_generated_answers_agree_with_the_log_probabilities():
    samples, opener = read_samples(RESULTS / "samples.parquet", split="evaluate")
    loaded = load({"name": "m", "path": str(RESULTS / ORGANIC[0] / "model")})
    batch = prepare(loaded, samples[:24], opener, Prompt())
    by_logprob = answer(loaded, batch, Prompt())
    generated = answer(loaded, batch, Prompt(answer="generate"))
    assert [a.prediction for a in generated] == [a.prediction for a in by_logprob]
    assert all(a.well_formed for a in generated)


def lost(model: str, selector: str, column: str = "self_drop") -> float:
    """Points that masks of the top 1 % cost, at least 0: what is gained by chance is no loss."""
    return max(0.0, -rows("summary", model=model, selector=selector, top_fraction=MAIN)[column].item())


def found_again(model: str) -> float:
    """Per cent of CAS's neurons that a resample chooses again, the mean over cultures."""
    return 100 * rows("stability", model=model, selector="cas", top_fraction=MAIN)["selected_again"].mean()


def hits(selector: str) -> int:
    """Planted neurons in the masks of all cultures."""
    return rows("planted", model=PLANTED[0], selector=selector, top_fraction=MAIN)["hits"].sum()


def test_numbers_of_the_page_are_in_its_ranges():
    text = section(PAGE, "What it finds")
    planted, attribution, shuffled = PLANTED[0], "culnig-specific", rows("permutations", model=PLANTED[0])
    null = shuffled[shuffled["culture"].isna() & (shuffled["measure"] == "accuracy")]["null"].item()
    expected = [
        lost(planted, "cas"), lost(planted, "cas", "cross_drop"), lost(planted, "cas", "random_self_drop"), -null,
        lost(planted, "mad"), lost(planted, "effect-size"), lost(planted, "lape"), hits("lap"), hits("cas"),
        lost(planted, "lap"), lost(ORGANIC[0], "cas"), lost(ORGANIC[0], "cas", "cross_drop"), hits(attribution),
        hits("random-specific"), lost(planted, attribution), lost(planted, attribution, "cross_drop"),
        found_again(planted), found_again(ORGANIC[0]),
    ]  # fmt: skip
    assert outside(text, expected) == []


def test_numbers_of_readme_are_in_its_ranges():
    cross = max(lost(model, "cas", "cross_drop") for model in (PLANTED[0], ORGANIC[0]))
    text = section(README, "How we know that it can tell").replace("2 to 4 minutes", "")
    assert outside(text, [lost(PLANTED[0], "cas"), lost(ORGANIC[0], "cas"), cross]) == []
