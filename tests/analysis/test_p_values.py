from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from culture_neurons.analysis import p_values
from tests.conftest import examples, slow_but


def world(seed, cultures=5, questions=40, per_image=1, shift=0.0):
    rng = np.random.default_rng(seed)
    strata = np.repeat([f"c{i}" for i in range(cultures)], questions)
    units = np.array([f"u{i // per_image}" for i in range(questions)] * cultures)
    noise = rng.normal(0, 1, (cultures * questions // per_image, 1)).repeat(per_image, axis=0)
    return strata, units, noise + shift


def test_macro_mean_weighs_cultures_alike():
    plan = p_values.design(np.array(["a", "a", "a", "b"]), np.array(["1", "2", "3", "1"]))
    assert p_values.macro_mean(plan, np.array([[1.0], [2.0], [3.0], [10.0]])) == pytest.approx([6.0])


def test_design_groups_units_within_cultures():
    plan = p_values.design(np.array(["b", "a", "b", "b"]), np.array(["x", "x", "x", "y"]))
    assert plan.strata == ["a", "b"]
    assert plan.unit.tolist() == [1, 0, 1, 2]
    assert plan.counts.tolist() == [1, 2, 1]
    assert plan.stratum.tolist() == [0, 1, 1]


def test_row_order_and_other_cultures_change_nothing():
    strata, units, values = world(0)
    order = np.random.default_rng(1).permutation(len(values))
    plan, moved = p_values.design(strata, units), p_values.design(strata[order], units[order])
    np.testing.assert_allclose(
        p_values.sign_flips(plan, values), p_values.sign_flips(moved, values[order]), atol=1e-12
    )
    masks = np.random.default_rng(2).normal(size=(len(values), 3))
    one, other = (p_values.exchange_null(p, [m], 50)[1] for p, m in ((plan, masks), (moved, masks[order])))
    np.testing.assert_allclose(one, other, atol=1e-12)
    first, second = strata == "c0", strata == "c1"
    both = first | second
    halves = [p_values.sign_flips(p_values.design(strata[m], units[m]), values[m]) for m in (first, second, both)]
    np.testing.assert_allclose((halves[0] + halves[1]) / 2, halves[2], atol=1e-12)


def test_chunks_change_nothing(monkeypatch):
    strata, units, values = world(0)
    plan = p_values.design(strata, units)
    masks = [np.random.default_rng(2).normal(size=(len(values), n)) for n in (2, 5)]
    whole = p_values.sign_flips(plan, values), p_values.exchange_null(plan, masks)[1]
    monkeypatch.setattr(p_values, "_CHUNK", 1000)
    np.testing.assert_allclose(whole[0], p_values.sign_flips(plan, values), atol=1e-14)
    np.testing.assert_allclose(whole[1], p_values.exchange_null(plan, masks)[1], atol=1e-14)


@pytest.mark.parametrize("per_image", [1, 4])
def test_sign_flips_keep_the_nominal_level(per_image):
    p = []
    for seed in range(400):
        strata, units, values = world(seed, cultures=4, questions=20, per_image=per_image)
        plan = p_values.design(strata, units)
        null = p_values.sign_flips(plan, values, 199, seed)
        p.append(p_values.two_sided(p_values.macro_mean(plan, values), null)[0])
    assert np.mean(np.array(p) < 0.05) < 0.085
    assert np.mean(np.array(p) < 0.5) > 0.42


def test_sign_flips_find_a_shift():
    strata, units, values = world(0, shift=-0.5)
    plan = p_values.design(strata, units)
    null = p_values.sign_flips(plan, values, 999)
    assert p_values.two_sided(p_values.macro_mean(plan, values), null)[0] == 1 / 1000


def test_no_difference_at_all_gives_one():
    plan = p_values.design(np.array(["a"] * 5), np.arange(5).astype(str))
    zeros = np.zeros((5, 1))
    assert p_values.two_sided(p_values.macro_mean(plan, zeros), p_values.sign_flips(plan, zeros, 99))[0] == 1
    assert p_values.exchange_test(np.zeros(4), np.zeros((2, 4)))[0] == 1
    assert p_values.relabel_test(np.ones((4, 4)))[0] == 1


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
    p, least = p_values.exchange_test(own, controls)
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
    p, least = p_values.relabel_test(matrix)
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
        random.append(p_values.exchange_test(rng.exponential(1, cultures), rng.exponential(1, (controls, cultures)),
                                          499, seed)[0])  # fmt: skip
        cross.append(p_values.relabel_test(matrix if cultures > 8 else matrix[:6, :6], 499, seed)[0])
    assert np.mean(np.array(random) < 0.05) < 0.095
    assert np.mean(np.array(cross) < 0.05) < 0.095
    assert np.mean(np.array(random) < 0.5) > 0.38
    assert np.mean(np.array(cross) < 0.5) > 0.38


def test_many_cultures_are_drawn_at_random_and_found():
    matrix = np.random.default_rng(0).normal(size=(25, 25)) - 3 * np.eye(25)
    assert p_values.relabel_test(matrix, 999) == (2 / 1000, 2 / 1000)
    p, least = p_values.exchange_test(np.full(25, -2.0), np.random.default_rng(1).normal(size=(2, 25)), 999)
    assert p == least == 2 / 1000


@examples(80)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(lost, gained):
    expected = binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1.0
    assert p_values.mcnemar(np.array(lost), np.array(gained)) == pytest.approx(expected, rel=1e-9)


def test_benjamini_hochberg_by_hand():
    # Sorted .01 .02 .03 .5 of 4 known: .04, .04, .04, .5.
    p = np.array([0.5, 0.01, np.nan, 0.03, 0.02])
    np.testing.assert_allclose(p_values.benjamini_hochberg(p), [0.5, 0.04, np.nan, 0.04, 0.04])
    assert np.isnan(p_values.benjamini_hochberg(np.array([np.nan]))).all()


def test_adjusted_within_families_alone():
    table = pd.DataFrame({"planted": ["no"] * 4 + ["yes"] * 2, "p": [0.01, 0.02, 0.03, np.nan, 0.5, 0.04]})
    found = p_values.adjust_within(table, ["planted"], [("p", "q")])
    np.testing.assert_allclose(found["q"], [0.03, 0.03, 0.03, np.nan, 0.5, 0.08])
    assert "q" not in table


def test_shuffled_labels_keep_images_together_and_cultures_as_large():
    cultures = ["a"] * 6 + ["b"] * 5 + ["c"] * 4
    units = [*"xxyyzw", *"xuuvt", *"ppqr"]
    found = [p_values.shuffle_labels(cultures, units, 3, number) for number in range(200)]
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
    again = p_values.shuffle_labels([cultures[i] for i in order], [units[i] for i in order], 3, 7)
    assert again == [found[7][i] for i in order]


def test_mantel_by_a_naive_loop():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(3)
    similarity = rng.integers(0, 6, (5, 5)).astype(float)
    similarity = similarity + similarity.T
    effects = [rng.normal(size=(5, 5)), rng.integers(0, 3, (5, 5)).astype(float)]
    off = ~np.eye(5, dtype=bool)
    for effect, (rho, p, least) in zip(effects, p_values.mantel(similarity, effects), strict=True):
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
        found.append(p_values.mantel(similarity + similarity.T, [effect], permutations=299)[0][1])
    assert np.mean(np.array(found) <= 0.05) < 0.1
    assert 0.35 < np.median(found) < 0.65
    similarity = rng.random((9, 9))
    similarity += similarity.T
    (rho, p, least), (none, unknown, _) = p_values.mantel(similarity, [-similarity, np.ones((9, 9))])
    assert (rho, p, least) == pytest.approx((-1, 2 / 10_000, 2 / 10_000))
    assert np.isnan(none)
    assert np.isnan(unknown)
    assert p_values.mantel(similarity, [-similarity], seed=5) == p_values.mantel(similarity, [-similarity], seed=5)


def test_exchanged_masks_by_a_naive_loop():
    rng = np.random.default_rng(0)
    strata, units = np.array(["a"] * 5 + ["b"] * 3), np.array(["1", "1", "2", "3", "4", "1", "2", "3"])
    plan = p_values.design(strata, units)
    masks = rng.normal(size=(8, 3))
    observed, null = p_values.exchange_null(plan, [masks[:, :3], masks[:, :2]], 20_000)

    def statistic(of, picks):
        means = []
        for name in ("a", "b"):
            values = [
                row[picks[name, unit]] - np.delete(row, picks[name, unit]).mean()
                for row, s, unit in zip(of, strata, units, strict=True) if s == name
            ]  # fmt: skip
            means.append(np.mean(values))
        return np.mean(means)

    keys = sorted(set(zip(strata, units, strict=True)))
    for c, of in enumerate((masks[:, :3], masks[:, :2])):
        n = of.shape[1]
        assert observed[c] == pytest.approx(statistic(of, dict.fromkeys(keys, 0)))
        every = np.sort([statistic(of, dict(zip(keys, p, strict=True))) for p in itertools.product(range(n), repeat=7)])
        for quantile in (0.05, 0.3, 0.5, 0.9):
            value = np.quantile(every, quantile)
            assert np.mean(null[:, c] <= value + 1e-9) == pytest.approx(np.mean(every <= value + 1e-9), abs=0.015)
        assert set(np.round(null[:, c], 9)) <= set(np.round(every, 9))


def test_mcnemar_of_images_by_a_naive_loop():
    rng = np.random.default_rng(1)
    changes = rng.integers(-3, 4, (7, 6))
    changes[:, 0] = 0
    changes[:, 1] = np.sign(changes[:, 1])
    for column, p in zip(changes.T, p_values.mcnemar_units(changes), strict=True):
        sums = np.array([np.dot(signs, np.abs(column)) for signs in itertools.product((-1, 1), repeat=7)])
        tail = min(np.mean(sums <= column.sum()), np.mean(sums >= column.sum()))
        assert p == pytest.approx(min(1, 2 * tail))
    assert p_values.mcnemar_units(changes)[1] == p_values.mcnemar(*((changes[:, 1] == s).sum() for s in (-1, 1)))
    assert p_values.mcnemar_units(np.zeros((0, 2), int)).tolist() == [1, 1]


def test_one_unit_alone_has_no_p_value():
    plan = p_values.design(np.array(["a", "a"]), np.array(["x", "x"]))
    assert np.isnan(p_values.paired_p(plan, np.ones((2, 1)), [np.ones((2, 3))])).all()


def law(rng, kind, shape):
    """Changes of one law for every mask: losses and gains in points, or log-probabilities with heavy tails."""
    if kind == "t":
        return rng.standard_t(3, shape)
    if kind == "rare":  # nearly nothing, and now and then much
        return rng.normal(0, 0.02, shape) - (rng.random(shape) < 0.1) * rng.exponential(2, shape)
    loss, gain = kind
    u = rng.random(shape)
    return np.where(u < loss, -100.0, np.where(u > 1 - gain, 100.0, 0.0))


def p_and_sign(plan, changes, permutations):
    """p-values and signs of own - mean of others [run], of changes [run, question, mask]."""
    specific = changes[:, :, 0] - changes[:, :, 1:].mean(axis=2)
    return p_values.paired_p(plan, specific.T, list(changes), permutations), np.sign(specific.mean(axis=1))


@pytest.mark.parametrize(
    ("cultures", "questions", "per_image"),
    slow_but([(4, 24, 1), (8, 24, 4), (4, 100, 4)], itertools.product([4, 8, 30], [24, 100], [1, 4])),
)
def test_cultures_are_significant_as_seldom_as_they_should_be_without_an_effect(cultures, questions, per_image):
    """Own and other masks have one law: at most 6 % in each direction, an adjusted one in at most 6 % of runs."""
    plan = p_values.design(np.full(questions, "c"), np.array([f"u{i // per_image:03}" for i in range(questions)]))
    rng = np.random.default_rng(cultures)
    runs = cultures * max(20, 160 // cultures)
    for kind in ((0.01, 0), (0.04, 0), (0.2, 0), (0.04, 0.02), "t", "rare"):
        changes = law(rng, kind, (runs, questions // per_image, cultures)).repeat(per_image, axis=1)
        p, sign = p_and_sign(plan, changes, 999)
        for direction in (-1, 1):
            hits = int(((p < 0.05) & (sign == direction)).sum())
            assert binomtest(hits, runs, 0.06, alternative="greater").pvalue > 0.01, (kind, direction, hits / runs)
        adjusted = np.array([p_values.benjamini_hochberg(of).min() for of in np.split(p, runs // cultures)])
        hits = int((adjusted < 0.05).sum())
        assert binomtest(hits, len(adjusted), 0.06, alternative="greater").pvalue > 0.01, (kind, hits / len(adjusted))


@pytest.mark.parametrize("cultures", [4, 30])
def test_own_masks_that_only_scatter_more_are_no_effect(cultures):
    """The own mask changes answers both ways, the others hardly any: exchanges alone would find that (20 to 54 %)."""
    rng, n = np.random.default_rng(0), 100
    plan = p_values.design(np.full(n, "c"), np.array([f"u{i:03}" for i in range(n)]))
    changes = law(rng, (0.004, 0.004), (500, n, cultures))
    changes[:, :, 0] = law(rng, (0.1, 0.1), (500, n))
    p, _ = p_and_sign(plan, changes, 499)
    assert binomtest(int((p < 0.05).sum()), 500, 0.05, alternative="greater").pvalue > 0.01
    null = p_values.exchange_null(plan, list(changes), 499)
    assert np.mean(p_values.two_sided(*null) < 0.05) > 0.15


@pytest.mark.parametrize("cultures", [4, 30])
def test_a_loss_of_15_points_more_is_found(cultures):
    """As often as by sign flips alone, which find it in 98 % of cultures with 100 questions."""
    rng, n = np.random.default_rng(1), 100
    plan = p_values.design(np.full(n, "c"), np.array([f"u{i:03}" for i in range(n)]))
    changes = law(rng, (0.04, 0), (400, n, cultures))
    changes[:, :, 0] = law(rng, (0.19, 0), (400, n))
    p, sign = p_and_sign(plan, changes, 999)
    specific = changes[:, :, 0] - changes[:, :, 1:].mean(axis=2)
    flips = p_values.paired_p(plan, specific.T, [None] * 400, 999)
    assert np.mean((p < 0.05) & (sign < 0)) >= max(0.94, np.mean(flips < 0.05) - 0.005)


def test_each_culture_has_random_numbers_of_its_own():
    """The same questions in two cultures: the same draws would make their sum twice as wide as it is by chance."""
    values = np.random.default_rng(0).normal(size=(20, 3))
    units = np.array([f"u{i}" for i in range(20)])
    plans = [p_values.design(np.full(20, name), units) for name in ("a", "b")]
    for first, second in (
        [p_values.sign_flips(plan, values, 300)[:, 0] for plan in plans],
        [p_values.exchange_null(plan, [values], 300)[1][:, 0] for plan in plans],
    ):
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.2
