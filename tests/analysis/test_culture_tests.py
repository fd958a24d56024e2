from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from culture_neurons.analysis import culture_tests, intervals, mask_effects, p_values, paired_changes
from tests.analysis.test_verdicts import change, world
from tests.conftest import slow


def test_cells_agree_with_a_loop_over_draws():
    rng = np.random.default_rng(1)
    names, base = world(4, 12)
    some = change(rng, names, base, harm=0.2, own=0.5)
    draws = culture_tests.QuestionResamples(base, 400, 3)
    found = culture_tests.tabulate_cells(draws, some, [*names, "without questions"])
    effects = mask_effects.effects(base, some, [*names, "without questions"])
    assert len(found) == len(effects) == 4 * 5
    for (_, cell), (_, row) in zip(effects.iterrows(), found.iterrows(), strict=True):
        part = np.flatnonzero(base.culture == cell["eval_culture"])
        if not len(part):
            assert row.isna().all()
            continue
        values = some.logprob[names.index(cell["mask_culture"]), part]
        plan = p_values.design(base.culture[part], base.unit[part])
        far = [side[0, 0] for side in intervals.prior_ends(plan, values[:, None], [intervals.NATS])]
        _, unit, end = next(iter(intervals.random_weights(cell["eval_culture"], len(plan.counts), 1, 400, 3)))
        means = []
        for w, e in zip(unit, end, strict=True):  # weights are per unit: each question of a unit has its unit's
            total = sum(w[plan.unit[i]] * values[i] for i in range(len(part))) + e[0] * far[0] + e[1] * far[1]
            means.append(total / (w.sum() + e.sum()))
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
    table = culture_tests.tabulate_cultures(culture_tests.QuestionResamples(base, 500), paired_changes.pair(base, some))
    assert list(table.columns) == culture_tests.COLUMNS
    assert table["culture"].tolist() == [name for name in names for _ in range(2)]
    effects = mask_effects.effects(base, some, names).set_index(["mask_culture", "eval_culture"])
    for row in table[table["measure"] == "accuracy"].itertuples():
        own = effects.loc[(row.culture, row.culture), "drop"]
        others = effects.loc[[(m, row.culture) for m in names if m != row.culture], "drop"].mean()
        assert row.self == pytest.approx(own)
        assert row.cross == pytest.approx(others)
        assert row.specificity == pytest.approx(own - others)
        assert row.specificity_low <= row.specificity <= row.specificity_high < 0
        assert row.p_value < 0.05


def losing(names, base, lost):
    """Changes under masks that lose these answers, bool [mask, question], and change no log-probability."""
    none = np.zeros_like(lost)
    return mask_effects.Changes(names, base.correct & ~lost, none, lost, lost, ~none, np.where(lost, -1.0, 0.0))


def test_a_mask_that_changes_nothing_is_no_effect_where_the_others_change_hardly_anything():
    """One of 30 cultures has 24 questions; its own mask loses none of them, each of the 29 others exactly one.

    Fisher's exact test of 0 of 24 against 29 of 696 has p = 0.62, and so have own masks exchanged by question.
    """
    names, base = world(30, 24)
    lost = np.zeros((30, len(base.sample_id)), dtype=bool)
    mine = np.flatnonzero(base.culture == "c3")
    others = [m for m, name in enumerate(names) if name != "c3"]
    lost[others, mine[np.arange(29) % 24]] = True
    some = losing(names, base, lost)
    table = culture_tests.tabulate_cultures(
        culture_tests.QuestionResamples(base, 2000), paired_changes.pair(base, some)
    )
    row = table[(table["culture"] == "c3") & (table["measure"] == "accuracy")].iloc[0]
    assert row["specificity"] == pytest.approx(100 / 24)
    assert row["p_value"] == pytest.approx(0.62, abs=0.04)
    assert row["specificity_low"] < 0 < row["specificity_high"]
    assert (row["self"], row["self_low"] < -8, row["self_high"] > 8) == (0, True, True)
    adjusted = p_values.adjust_within(table, ["measure"], [("p_value", "p_adjusted")])["p_adjusted"]
    assert adjusted.min() > 0.5
    # One mask that loses much there says so: it is the own mask that is exchanged, and not its absence.
    lost[names.index("c3"), mine[:12]] = True
    table = culture_tests.tabulate_cultures(
        culture_tests.QuestionResamples(base, 2000), paired_changes.pair(base, losing(names, base, lost))
    )
    row = table[(table["culture"] == "c3") & (table["measure"] == "accuracy")].iloc[0]
    assert row["specificity_high"] < 0
    assert row["p_value"] == 1 / 2001


def test_the_p_value_of_a_culture_is_that_of_its_questions():
    rng = np.random.default_rng(3)
    names, base = world(4, 10)
    base.unit[:] = [f"i{i // 2}" for i in range(len(base.unit))]
    some = change(rng, names, base, harm=0.3)
    table = culture_tests.tabulate_cultures(
        culture_tests.QuestionResamples(base, 300, 5), paired_changes.pair(base, some)
    )
    for row in table.itertuples():
        mine = np.flatnonzero(base.culture == row.culture)
        values = some.logprob if row.measure == "logprob" else 100.0 * (some.gained.astype(int) - some.lost)
        order = [names.index(row.culture), *(m for m, name in enumerate(names) if name != row.culture)]
        masks = values[np.ix_(order, mine)].T
        specific = masks[:, 0] - masks[:, 1:].mean(axis=1)
        made = intervals.estimate(
            p_values.design(base.culture[mine], base.unit[mine]),
            [intervals.Column(specific, intervals.scale(row.measure), masks)], 300, 5,
        )  # fmt: skip
        assert row.p_value == made.p[0]
        assert [row.specificity_low, row.specificity_high] == pytest.approx([made.low[0], made.high[0]])


def test_masks_that_are_one_have_no_interval_of_their_difference():
    names, base = world(3, 8)
    lost = np.tile(np.arange(24) % 3 == 0, (3, 1))
    table = culture_tests.tabulate_cultures(
        culture_tests.QuestionResamples(base, 100), paired_changes.pair(base, losing(names, base, lost))
    )
    assert (table["specificity"] == 0).all()
    assert table[["specificity_low", "specificity_high", "p_value"]].isna().all(axis=None)
    assert table["self_low"].notna().all()


def test_one_image_and_one_culture_give_no_interval():
    rng = np.random.default_rng(0)
    names, base = world(1, 6)
    some = change(rng, names, base)
    table = culture_tests.tabulate_cultures(culture_tests.QuestionResamples(base, 100), paired_changes.pair(base, some))
    assert table[["cross", "specificity", "specificity_low", "p_value"]].isna().all(axis=None)
    assert table["self_low"].notna().all()
    base.unit[:] = "image 1"
    table = culture_tests.tabulate_cultures(culture_tests.QuestionResamples(base, 100), paired_changes.pair(base, some))
    assert table[["self_low", "self_high"]].isna().all(axis=None)
    assert table["self"].notna().all()


@pytest.mark.parametrize("runs", [40, slow(150)])
def test_p_values_are_calibrated_where_no_mask_is_special(runs):
    """Own and other masks do the same harm to every question: each culture is significant as often as it may be."""
    found = []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        names, base = world(4, 24)
        some = exchangeable(rng, names, base)
        found.append(
            culture_tests.tabulate_cultures(culture_tests.QuestionResamples(base, 200), paired_changes.pair(base, some))
        )
    table = pd.concat(found)
    for _, part in table.groupby("measure"):
        share = int((part["p_value"] <= 0.05).sum())
        assert binomtest(share, len(part), 0.05, alternative="greater").pvalue > 0.001
        covered = int(((part["specificity_low"] <= 0) & (part["specificity_high"] >= 0)).sum())
        assert binomtest(covered, len(part), 0.92, alternative="less").pvalue > 0.01
        assert binomtest(covered, len(part), 0.97, alternative="greater").pvalue > 0.01


def exchangeable(rng, names, base):
    """Changes that are drawn anew for every mask and question, the same law for all masks."""
    some = change(rng, names, base, harm=0.0)
    lost = (rng.random(some.lost.shape) < 0.2) & base.correct
    nats = rng.normal(-0.1, 0.3, some.logprob.shape)
    return mask_effects.Changes(
        some.masks, base.correct & ~lost, some.gained & False, lost, lost, some.well_formed, nats
    )
