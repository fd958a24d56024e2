"""CULNIG's selectors beside the others, from attributions to the report."""

import pandas as pd
import pytest

from tests.pipeline.test_incremental import LAST

pytestmark = pytest.mark.workflow


def test_attributed_neurons_are_ablated_tabulated_and_reported(wide_finished):
    results = wide_finished.results
    others = pd.read_parquet(results("loaded", "masks", "cas_top0.2.parquet"))
    specific = pd.read_parquet(results("loaded", "masks", "culnig-specific_top0.2.parquet"))
    assert set(specific["site"]) > {"gate_proj"}
    assert set(specific["culture"]) <= set(others["culture"])
    shared = pd.read_parquet(results("loaded", "masks", "culnig-general_top0.05.parquet"))
    sets = {frozenset(part[["site", "layer", "neuron"]].itertuples(index=False, name=None))
            for _, part in shared.groupby("culture", observed=True)}  # fmt: skip
    assert len(sets) == 1
    effects = pd.read_csv(results("tables", "effects.csv"))
    mine = effects[(effects["selector"] == "culnig-general") & (effects["top_fraction"] == 0.05)]
    # One mask for all cultures: whatever its name, its effect on a culture is the same.
    assert (mine.groupby("eval_culture")["logprob_drop"].nunique() == 1).all()
    assert mine["logprob_drop"].abs().max() > 0
    compared = set(pd.read_csv(results("tables", "overlaps.csv"))["selector"])
    assert not compared & {"culnig-general", "culnig-specific"}
    assert results("figures", "matrix_loaded_culnig-specific.png").stat().st_size
    assert "culnig-specific" in results("report.html").read_text(encoding="utf-8")


def test_a_threshold_reruns_the_choice_and_no_attribution(wide):
    config = wide.read()
    config["selectors"]["culnig-specific"] = {"z": 0.2}
    wide.write(config)
    # All selectors share one job of ablation, so that all are asked again.
    gathered = len(config["selectors"]) * len(config["top_fractions"])
    assert wide.planned() == {"select_units": 1, "ablate": 1, "gather_outcomes": gathered, **LAST}
