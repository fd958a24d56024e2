"""What `make demo-llm` must have made: run it first.

Nothing is planted in its model, so what its neurons do is a finding, and no test promises one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import yaml

from culture_neurons.types import PROJECTIONS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "demo-llm"
CONFIG = yaml.safe_load((ROOT / "config" / "demo-llm.yaml").read_text(encoding="utf-8"))
(MODEL,) = CONFIG["models"]
SETS = [CONFIG["dataset"], *CONFIG["evaluation"]["sets"]]


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def suppressed(selector: str) -> pd.DataFrame:
    """Rows of `analysis.transfer.csv`, by set, with the selector's neurons multiplied by 0."""
    found = table("sets")
    return found[(found["selector"] == selector) & (found["factor"] == 0)].set_index("set")


def test_the_model_knows_all_tasks_in_wordings_that_it_was_not_trained_on():
    training = json.loads((RESULTS / MODEL / "model" / "training.json").read_text(encoding="utf-8"))
    assert min(training["dev_accuracy_by_task"].values()) >= 0.9
    assert set(training["dev_accuracy_by_task"]) == {"culture", "general", "pairs", "mention"}
    accuracy = suppressed("culnig-general")["baseline_accuracy"]
    assert set(accuracy.index) == set(SETS)
    assert (accuracy >= 0.85).all()  # never tuned on


def test_neurons_by_attribution_lie_at_projections_and_random_ones_beside_them():
    top = f"top{CONFIG['figures']['top_fraction']}.parquet"
    masks = {name: pd.read_parquet(RESULTS / MODEL / "masks" / f"{name}_{top}")
             for name in ("culnig-general", "random-general", "culnig-specific", "random-specific")}  # fmt: skip
    for chosen, random in (("culnig-general", "random-general"), ("culnig-specific", "random-specific")):
        assert set(masks[chosen]["site"]) <= set(PROJECTIONS)
        sizes = [masks[name].groupby(["culture", "site", "layer"], observed=True).size() for name in (chosen, random)]
        pd.testing.assert_series_equal(*sizes)
    assert len(masks["culnig-general"])


def test_masks_are_held_against_the_random_ones_of_their_place():
    for selector, controls in (("culnig-general", 2), ("culnig-specific", 1)):
        found = suppressed(selector)
        assert (found["n_controls"] == controls).all()
        assert (
            (found["difference_low"] <= found["difference"]) & (found["difference"] <= found["difference_high"])
        ).all()
        assert found["difference_p"].between(0, 1).all()


def test_all_choices_of_modules_were_trained_and_asked_everything():
    found = table("finetuning")
    assert set(found["choice"]) == {"richest", "poorest", "random"}
    assert set(found["set"]) == set(SETS)
    modules = table("finetuning_modules")
    assert modules.groupby("choice").size().nunique() == 1
    rich = modules.groupby("choice")["richness"].mean()
    assert rich["richest"] > rich["poorest"]


def test_every_set_is_asked_with_neurons_suppressed_and_enhanced():
    found = table("sets")
    wanted = {(name, factor) for name in SETS for factor in CONFIG["evaluation"]["factors"]}
    for selector in CONFIG["evaluation"]["selectors"]:
        mine = found[found["selector"] == selector]
        assert set(zip(mine["set"], mine["factor"], strict=True)) == wanted
        assert (mine["n"] >= 100).all()


def test_neurons_are_judged_on_other_topics_than_they_were_chosen_on():
    counts = pd.read_csv(RESULTS / "counts.csv")
    halves = counts[counts["n"] > 0].groupby("split")["category"].unique()
    assert {side: set(found) for side, found in halves.items()} == {
        side: set(CONFIG["data"]["split"][side]) for side in ("identify", "evaluate")
    }


def test_figures_and_report_are_there():
    figures = RESULTS / "figures"
    for stem in (f"sets_{MODEL}", f"layers_{MODEL}", f"related_{MODEL}_culnig-specific"):
        assert (figures / f"{stem}.png").stat().st_size > 5000, stem
    page = (RESULTS / "report.html").read_text(encoding="utf-8")
    assert "culnig-general" in page
    assert "On other benchmarks" in page
    assert "vision-language" not in page
