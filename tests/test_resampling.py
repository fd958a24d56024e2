from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from culture_neurons import resampling


def world(seed, cultures=5, questions=40, per_image=1, shift=0.0):
    rng = np.random.default_rng(seed)
    strata = np.repeat([f"c{i}" for i in range(cultures)], questions)
    units = np.array([f"u{i // per_image}" for i in range(questions)] * cultures)
    noise = rng.normal(0, 1, (cultures * questions // per_image, 1)).repeat(per_image, axis=0)
    return strata, units, noise + shift


def test_macro_mean_weighs_cultures_alike():
    plan = resampling.design(np.array(["a", "a", "a", "b"]), np.array(["1", "2", "3", "1"]))
    assert resampling.macro_mean(plan, np.array([[1.0], [2.0], [3.0], [10.0]])) == pytest.approx([6.0])


def test_design_groups_units_within_cultures():
    plan = resampling.design(np.array(["b", "a", "b", "b"]), np.array(["x", "x", "x", "y"]))
    assert plan.strata == ["a", "b"]
    assert plan.unit.tolist() == [1, 0, 1, 2]
    assert plan.counts.tolist() == [1, 2, 1]
    assert plan.stratum.tolist() == [0, 1, 1]


def test_row_order_and_other_cultures_change_nothing():
    strata, units, values = world(0)
    order = np.random.default_rng(1).permutation(len(values))
    plan, moved = resampling.design(strata, units), resampling.design(strata[order], units[order])
    for method in (resampling.bootstrap, resampling.sign_flips):
        np.testing.assert_allclose(method(plan, values), method(moved, values[order]), atol=1e-12)
    first, second = strata == "c0", strata == "c1"
    both = first | second
    halves = [resampling.bootstrap(resampling.design(strata[m], units[m]), values[m]) for m in (first, second, both)]
    np.testing.assert_allclose((halves[0] + halves[1]) / 2, halves[2], atol=1e-12)


def test_chunks_change_nothing(monkeypatch):
    strata, units, values = world(0)
    plan = resampling.design(strata, units)
    whole = resampling.bootstrap(plan, values), resampling.sign_flips(plan, values)
    monkeypatch.setattr(resampling, "_CHUNK", 1000)
    np.testing.assert_allclose(whole[0], resampling.bootstrap(plan, values), atol=1e-14)
    np.testing.assert_allclose(whole[1], resampling.sign_flips(plan, values), atol=1e-14)


def test_bootstrap_agrees_with_a_loop():
    strata, units, values = world(3, cultures=3, questions=30, per_image=2)
    strata, units, values = strata[:-7], units[:-7], values[:-7]  # cultures and images of different sizes
    rng = np.random.default_rng(0)
    replicates = []
    for _ in range(3000):
        means = []
        for c in sorted(set(strata)):
            images = sorted(set(units[strata == c]))
            drawn = rng.choice(images, len(images))
            rows = np.concatenate([values[(strata == c) & (units == u), 0] for u in drawn])
            means.append(rows.mean())
        replicates.append(np.mean(means))
    ours = resampling.bootstrap(resampling.design(strata, units), values, 3000)[:, 0]
    assert ours.mean() == pytest.approx(np.mean(replicates), abs=0.02)
    assert ours.std() == pytest.approx(np.std(replicates), rel=0.08)


@pytest.mark.parametrize("per_image", [1, 4])
def test_intervals_cover_the_truth(per_image):
    covered = 0
    for seed in range(200):
        strata, units, values = world(seed, cultures=4, questions=80, per_image=per_image, shift=0.5)
        low, high = resampling.interval(resampling.bootstrap(resampling.design(strata, units), values, 300, seed))
        covered += low[0] <= 0.5 <= high[0]
    assert 0.89 <= covered / 200 <= 0.98


@pytest.mark.parametrize("per_image", [1, 4])
def test_sign_flips_keep_the_nominal_level(per_image):
    p = []
    for seed in range(400):
        strata, units, values = world(seed, cultures=4, questions=20, per_image=per_image)
        plan = resampling.design(strata, units)
        null = resampling.sign_flips(plan, values, 199, seed)
        p.append(resampling.two_sided(resampling.macro_mean(plan, values), null)[0])
    assert np.mean(np.array(p) < 0.05) < 0.085
    assert np.mean(np.array(p) < 0.5) > 0.42


def test_sign_flips_find_a_shift():
    strata, units, values = world(0, shift=-0.5)
    plan = resampling.design(strata, units)
    null = resampling.sign_flips(plan, values, 999)
    assert resampling.two_sided(resampling.macro_mean(plan, values), null)[0] == 1 / 1000


def test_no_difference_at_all_gives_one():
    plan = resampling.design(np.array(["a"] * 5), np.arange(5).astype(str))
    zeros = np.zeros((5, 1))
    assert resampling.two_sided(resampling.macro_mean(plan, zeros), resampling.sign_flips(plan, zeros, 99))[0] == 1
    assert resampling.exchange(np.zeros(4), np.zeros((2, 4)))[0] == 1
    assert resampling.relabel(np.ones((4, 4)))[0] == 1


def test_exchange_agrees_with_a_loop():
    rng = np.random.default_rng(0)
    own, controls = rng.normal(size=4) - 1, rng.normal(size=(2, 4))
    everything = np.vstack([own, controls])

    def statistic(picks):
        mine = [everything[i, c] for c, i in enumerate(picks)]
        rest = [(everything[:, c].sum() - m) / 2 for c, m in enumerate(mine)]
        return np.mean(mine) - np.mean(rest)

    null = np.array([statistic(picks) for picks in itertools.product(range(3), repeat=4)])
    observed = statistic((0, 0, 0, 0))
    expected = 2 * min((null <= observed + 1e-12).mean(), (null >= observed - 1e-12).mean())
    p, least = resampling.exchange(own, controls)
    assert p == pytest.approx(min(1, expected))
    assert least == pytest.approx(2 / 81)


def test_relabel_agrees_with_a_loop():
    matrix = np.random.default_rng(1).normal(size=(5, 5)) - 2 * np.eye(5)

    def statistic(rows):
        moved = matrix[list(rows)]
        return np.trace(moved) / 5 - (moved.sum() - np.trace(moved)) / 20

    null = np.array([statistic(rows) for rows in itertools.permutations(range(5))])
    observed = statistic(range(5))
    expected = 2 * min((null <= observed + 1e-12).mean(), (null >= observed - 1e-12).mean())
    p, least = resampling.relabel(matrix)
    assert p == pytest.approx(min(1, expected))
    assert p < 0.05
    assert least == pytest.approx(2 / 120)


@pytest.mark.parametrize(("cultures", "controls"), [(8, 1), (8, 3), (25, 2)])
def test_masks_that_are_all_alike_are_seldom_told_apart(cultures, controls):
    # Masks differ among each other, by more than the noise of questions: that alone must not count as an effect.
    rng = np.random.default_rng(cultures + controls)
    random, cross = [], []
    for seed in range(200):
        matrix = rng.normal(0, 1, (cultures, 1)) + rng.normal(0, 1, (1, cultures)) + rng.exponential(1, (cultures,) * 2)
        random.append(resampling.exchange(rng.exponential(1, cultures), rng.exponential(1, (controls, cultures)),
                                          499, seed)[0])  # fmt: skip
        cross.append(resampling.relabel(matrix if cultures > 8 else matrix[:6, :6], 499, seed)[0])
    assert np.mean(np.array(random) < 0.05) < 0.095
    assert np.mean(np.array(cross) < 0.05) < 0.095
    assert np.mean(np.array(random) < 0.5) > 0.38
    assert np.mean(np.array(cross) < 0.5) > 0.38


def test_many_cultures_are_drawn_at_random_and_found():
    matrix = np.random.default_rng(0).normal(size=(25, 25)) - 3 * np.eye(25)
    assert resampling.relabel(matrix, 999) == (2 / 1000, 2 / 1000)
    p, least = resampling.exchange(np.full(25, -2.0), np.random.default_rng(1).normal(size=(2, 25)), 999)
    assert p == least == 2 / 1000


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(lost, gained):
    expected = binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1.0
    assert resampling.mcnemar(np.array(lost), np.array(gained)) == pytest.approx(expected, rel=1e-9)


def test_benjamini_hochberg_by_hand():
    # Sorted .01 .02 .03 .5 of 4 known: .04, .04, .04, .5.
    p = np.array([0.5, 0.01, np.nan, 0.03, 0.02])
    np.testing.assert_allclose(resampling.benjamini_hochberg(p), [0.5, 0.04, np.nan, 0.04, 0.04])
    assert np.isnan(resampling.benjamini_hochberg(np.array([np.nan]))).all()


def test_shuffled_labels_keep_images_together_and_cultures_as_large():
    cultures = ["a"] * 6 + ["b"] * 5 + ["c"] * 4
    units = [*"xxyyzw", *"xuuvt", *"ppqr"]
    found = [resampling.shuffled(cultures, units, 3, number) for number in range(200)]
    for other in found:
        assert sorted(other) == sorted(cultures)
        seen = {}
        for pair, label in zip(zip(cultures, units, strict=True), other, strict=True):
            assert seen.setdefault(pair, label) == label
    assert len(set(map(tuple, found))) > 50
    # The label of the first unit says nothing: of the four units of two samples, two are of a.
    share = np.mean([other[0] == "a" for other in found])
    assert 0.35 < share < 0.65
    order = np.random.default_rng(0).permutation(len(cultures))
    again = resampling.shuffled([cultures[i] for i in order], [units[i] for i in order], 3, 7)
    assert again == [found[7][i] for i in order]


def test_mantel_by_a_naive_loop():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(3)
    similarity = rng.integers(0, 6, (5, 5)).astype(float)
    similarity = similarity + similarity.T
    effects = [rng.normal(size=(5, 5)), rng.integers(0, 3, (5, 5)).astype(float)]
    off = ~np.eye(5, dtype=bool)
    for effect, (rho, p, least) in zip(effects, resampling.mantel(similarity, effects), strict=True):
        observed = spearmanr(similarity[off], effect[off]).statistic
        null = [spearmanr(similarity[np.ix_(o, o)][off], effect[off]).statistic
                for o in map(list, itertools.permutations(range(5)))]  # fmt: skip
        low, high = (np.mean(np.array(null) <= observed + 1e-9), np.mean(np.array(null) >= observed - 1e-9))
        assert rho == pytest.approx(observed)
        assert p == pytest.approx(min(1, 2 * min(low, high)))
        assert least == pytest.approx(2 / 120)


def test_mantel_is_calibrated_and_notices_a_relation():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(200):
        similarity = rng.random((9, 9))
        # Some cultures are hurt more by every mask: pairs with a culture in common are not independent.
        effect = rng.normal(size=(9, 9)) + 2 * rng.normal(size=9)
        found.append(resampling.mantel(similarity + similarity.T, [effect], permutations=299)[0][1])
    assert np.mean(np.array(found) <= 0.05) < 0.1
    assert 0.35 < np.median(found) < 0.65
    similarity = rng.random((9, 9))
    similarity += similarity.T
    (rho, p, least), (none, unknown, _) = resampling.mantel(similarity, [-similarity, np.ones((9, 9))])
    assert (rho, p, least) == pytest.approx((-1, 2 / 10_000, 2 / 10_000))
    assert np.isnan(none)
    assert np.isnan(unknown)
    assert resampling.mantel(similarity, [-similarity], seed=5) == resampling.mantel(similarity, [-similarity], seed=5)


def test_named_estimates_are_those_of_the_columns_and_have_the_endings_that_are_asked_for():
    rng = np.random.default_rng(0)
    unit, values = np.array([f"u{i // 2}" for i in range(12)]), rng.normal(size=(12, 2))
    columns = {("a", "change"): values[:, 0], ("b", "rate"): values[:, 1]}
    found = resampling.named_estimates(unit, columns, {"change_low", "change_high", "change_p"}, 50, 3)
    means, low, high, p = resampling.estimates(unit, values, 50, 3)
    assert found == {
        "a": {"change": means[0], "change_low": low[0], "change_high": high[0], "change_p": p[0]},
        "b": {"rate": means[1]},
    }
    assert resampling.named_estimates(unit[:0], columns, {"change_low"}, 50, 3) == {}
    assert resampling.named_estimates(unit, {}, {"change_low"}, 50, 3) == {}
