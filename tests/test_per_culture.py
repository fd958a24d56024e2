from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from culture_neurons import evaluation, evidence, per_culture, resampling
from tests.test_evidence import change, world


def test_cells_agree_with_a_loop_over_draws():
    rng = np.random.default_rng(1)
    names, base = world(4, 12)
    some = change(rng, names, base, harm=0.2, own=0.5)
    draws = per_culture.Draws(base, 400, 3)
    found = per_culture.cells(draws, some, [*names, "without questions"])
    effects = evaluation.effects(base, some, [*names, "without questions"])
    assert len(found) == len(effects) == 4 * 5
    for (_, cell), (_, row) in zip(effects.iterrows(), found.iterrows(), strict=True):
        part = np.flatnonzero(base.culture == cell["eval_culture"])
        if not len(part):
            assert row.isna().all()
            continue
        values = some.logprob[names.index(cell["mask_culture"]), part]
        plan = resampling.design(base.culture[part], base.unit[part])
        weights = np.concatenate([w for _, w in resampling.draws(cell["eval_culture"], plan.counts, 400, 3)])
        means = []
        for w in weights:  # weights are per unit: each question of a unit has its unit's
            means.append(sum(w[plan.unit[i]] * values[i] for i in range(len(part))))
        low, high = np.quantile(means, [0.025, 0.975])
        assert row["logprob_drop_low"] == pytest.approx(low)
        assert row["logprob_drop_high"] == pytest.approx(high)
        assert row["logprob_drop_low"] <= cell["logprob_drop"] <= row["logprob_drop_high"]
        assert row["drop_low"] - 1e-9 <= cell["drop"] <= row["drop_high"] + 1e-9
        assert 1 / 401 <= row["logprob_p"] <= 1


def test_specificity_is_own_mask_minus_the_others_on_the_same_questions():
    rng = np.random.default_rng(2)
    names, base = world(5, 20)
    some = change(rng, names, base, own=0.6)
    table = per_culture.by_culture(per_culture.Draws(base, 500), evidence.pair(base, some))
    assert list(table.columns) == per_culture.COLUMNS
    assert table["culture"].tolist() == [name for name in names for _ in range(2)]
    effects = evaluation.effects(base, some, names).set_index(["mask_culture", "eval_culture"])
    for row in table[table["measure"] == "accuracy"].itertuples():
        own = effects.loc[(row.culture, row.culture), "drop"]
        others = effects.loc[[(m, row.culture) for m in names if m != row.culture], "drop"].mean()
        assert row.self == pytest.approx(own)
        assert row.cross == pytest.approx(others)
        assert row.specificity == pytest.approx(own - others)
        assert row.specificity_low <= row.specificity <= row.specificity_high < 0
        assert row.p_value < 0.05


def test_one_image_and_one_culture_give_no_interval():
    rng = np.random.default_rng(0)
    names, base = world(1, 6)
    some = change(rng, names, base)
    table = per_culture.by_culture(per_culture.Draws(base, 100), evidence.pair(base, some))
    assert table[["cross", "specificity", "specificity_low", "p_value"]].isna().all(axis=None)
    assert table["self_low"].notna().all()
    base.unit[:] = "image 1"
    table = per_culture.by_culture(per_culture.Draws(base, 100), evidence.pair(base, some))
    assert table[["self_low", "self_high"]].isna().all(axis=None)
    assert table["self"].notna().all()


def test_adjusted_within_families_alone():
    table = pd.DataFrame({"planted": ["no"] * 4 + ["yes"] * 2, "p": [0.01, 0.02, 0.03, np.nan, 0.5, 0.04]})
    found = per_culture.adjust(table, ["planted"], [("p", "q")])
    np.testing.assert_allclose(found["q"], [0.03, 0.03, 0.03, np.nan, 0.5, 0.08])
    assert "q" not in table


def test_p_values_are_calibrated_where_no_mask_is_special():
    """Own and other masks do the same harm to every question: each culture is significant as often as it may be."""
    found = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        names, base = world(4, 24)
        some = exchangeable(rng, names, base)
        found.append(per_culture.by_culture(per_culture.Draws(base, 200), evidence.pair(base, some)))
    table = pd.concat(found)
    for _, part in table.groupby("measure"):
        share = int((part["p_value"] <= 0.05).sum())
        assert binomtest(share, len(part), 0.05, alternative="greater").pvalue > 0.001
        covered = int(((part["specificity_low"] <= 0) & (part["specificity_high"] >= 0)).sum())
        # Percentile intervals of 24 questions are a little short (nominal: 95 %).
        assert 0.90 < covered / len(part) <= 1


def exchangeable(rng, names, base):
    """Changes that are drawn anew for every mask and question, the same law for all masks."""
    some = change(rng, names, base, harm=0.0)
    lost = (rng.random(some.lost.shape) < 0.2) & base.correct
    nats = rng.normal(-0.1, 0.3, some.logprob.shape)
    return evaluation.Changes(some.masks, base.correct & ~lost, some.gained & False, lost, lost, some.well_formed, nats)
