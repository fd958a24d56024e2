from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from culture_neurons.analysis import intervals, p_values
from culture_neurons.analysis.intervals import NATS, POINTS, SHARE, Column
from tests.analysis.test_p_values import world
from tests.conftest import slow_but

MEAN_POINTS, MEAN_NATS = (intervals.scale(measure, several=True) for measure in ("accuracy", "logprob"))


def one(n, per_image=1):
    """The design of one culture with n questions, `per_image` about each image."""
    return p_values.design(np.full(n, "c"), np.array([f"u{i // per_image:03}" for i in range(n)]))


def test_ends_by_hand():
    plan = p_values.design(np.array(["a"] * 4 + ["b"]), np.array(["x", "x", "y", "z", "w"]))
    values = np.array([[-4.0, 0.0, 2.0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [10, 0, 0]])
    low, high = intervals.prior_ends(plan, values, [NATS, MEAN_POINTS, MEAN_POINTS])
    # Images of a: -2, 1 and 0, about their questions' mean -3/4; that of b is its own mean.
    np.testing.assert_allclose(low[:, 0], [-0.75 - 2 * 1.25, 10 - 2 * 1.25])
    np.testing.assert_allclose(high[:, 0], [-0.75 + 2 * 1.75, 10 + 2 * 1.75])
    assert intervals.prior_ends(plan, values, [MEAN_NATS, NATS, NATS])[0][0, 0] == -0.75 - 1.5 * 1.25
    assert (low[:, 1].tolist(), high[:, 1].tolist()) == ([-100, -100], [100, 100])  # nothing changed
    np.testing.assert_allclose(high[:, 2], 1 * (1 + 2 / 4))  # two questions of four images: 2 and 0 make 1
    np.testing.assert_allclose(low[:, 2], -1.5)
    low, high = intervals.prior_ends(plan, values, [POINTS, SHARE, intervals.Scale(-2, 2, several=True)])
    assert (low[0].tolist(), high[0].tolist()) == ([-100, 0, -1.5], [100, 1, 1.5])


@pytest.mark.parametrize(("right", "n"), [(0, 24), (1, 24), (20, 24), (3, 100)])
def test_answers_have_the_interval_of_a_beta_distribution(right, n):
    values = (np.arange(n) < right).astype(float)[:, None]
    low, high = intervals.interval(one(n), values, [SHARE], 40_000)
    shape = (n - 1) / n
    a, b = shape * right + intervals.PRIOR, shape * (n - right) + intervals.PRIOR
    np.testing.assert_allclose([low[0], high[0]], beta.ppf([0.025, 0.975], a, b), atol=0.004)


@pytest.mark.parametrize(("n", "per_image"), [(200, 1), (200, 4), (24, 4), (24, 1)])
def test_a_mean_over_strata_varies_as_its_standard_error_says(n, per_image):
    cultures = 20
    plan = p_values.design(np.repeat(np.arange(cultures), n), np.tile(np.arange(n) // per_image, cultures))
    values = np.random.default_rng(n).normal(size=(cultures * n, 1))
    images = values.reshape(cultures, -1, per_image).mean(axis=2)
    expected = np.sqrt((images.var(axis=1, ddof=1) / images.shape[1]).sum()) / cultures
    means = intervals.bootstrap(plan, values, [intervals.Scale(0.0, 0.0)], 3000)
    assert means.std() == pytest.approx(expected, rel=0.06)


def test_row_order_other_cultures_and_other_columns_change_nothing():
    strata, units, values = world(0)
    order = np.random.default_rng(1).permutation(len(values))
    plan, moved = p_values.design(strata, units), p_values.design(strata[order], units[order])
    whole = intervals.bootstrap(plan, values, [NATS])
    np.testing.assert_allclose(whole, intervals.bootstrap(moved, values[order], [NATS]), atol=1e-12)
    both = intervals.bootstrap(plan, np.column_stack([values * 3, values]), [POINTS, NATS])
    np.testing.assert_allclose(both[:, 1:], whole, atol=1e-12)


def test_chunks_change_nothing(monkeypatch):
    strata, units, values = world(0)
    plan = p_values.design(strata, units)
    whole = intervals.bootstrap(plan, values, [NATS])
    monkeypatch.setattr(p_values, "_CHUNK", 50 * (40 + 2))
    chunks = [rows for rows, *_ in intervals.random_weights("c0", 40, 5, 120, 0)]
    assert [rows.stop - rows.start for rows in chunks] == [50, 50, 20]
    again = intervals.bootstrap(plan, values, [NATS])
    assert again.mean() == pytest.approx(whole.mean(), abs=0.01)
    assert again.std() == pytest.approx(whole.std(), rel=0.1)


def test_bootstrap_agrees_with_a_loop():
    strata, units, values = world(3, cultures=3, questions=30, per_image=2)
    strata, units, values = strata[:-7], units[:-7], values[:-7]  # cultures and images of different sizes
    plan = p_values.design(strata, units)
    found = intervals.bootstrap(plan, values, [NATS], 50, 7)
    low, high = intervals.prior_ends(plan, values, [NATS])
    drawn = {}
    for name in sorted(set(strata)):
        images = sorted(set(units[strata == name]))
        drawn[name] = images, next(iter(intervals.random_weights(name, len(images), 3, 50, 7)))
    for replicate in range(50):
        means = []
        for s, (name, (images, (_, unit, end))) in enumerate(drawn.items()):
            total = weight = 0.0
            for image, w in zip(images, unit[replicate], strict=True):
                for value in values[(strata == name) & (units == image), 0]:
                    total, weight = total + w * value, weight + w
            size = (strata == name).sum() / len(images)
            for w, value in zip(end[replicate], (low[s, 0], high[s, 0]), strict=True):
                total, weight = total + w * size * value, weight + w * size
            means.append(total / weight)
        assert found[replicate, 0] == pytest.approx(np.mean(means))


def test_one_image_per_culture_has_no_interval():
    plan = p_values.design(np.array(["a", "a", "b"]), np.array(["x", "x", "y"]))
    assert np.isnan(intervals.interval(plan, np.ones((3, 2)), [POINTS, NATS])).all()
    plan = p_values.design(np.array(["a", "a", "b"]), np.array(["x", "z", "y"]))
    assert np.isfinite(intervals.interval(plan, np.ones((3, 2)), [POINTS, NATS])).all()


def test_an_interval_holds_its_mean():
    low, high = intervals.interval(one(12), np.tile([0.0, 1.0], (12, 1)), [SHARE, SHARE])
    assert (low[0], high[1]) == (0, 1)
    assert (low[1], high[0]) == (pytest.approx(0.8, abs=0.1), pytest.approx(0.2, abs=0.1))


def test_where_nothing_changed_an_interval_has_width():
    low, high = intervals.interval(one(24), np.zeros((24, 2)), [POINTS, MEAN_POINTS])
    assert (low < -8).all()
    assert (high > 8).all()
    low, high = intervals.interval(one(100), np.zeros((100, 1)), [POINTS])
    assert -4 < low[0] < -2


def test_named_estimates_are_those_of_the_columns_and_have_the_endings_that_are_asked_for():
    rng = np.random.default_rng(0)
    unit, values = np.array([f"u{i // 2}" for i in range(12)]), rng.normal(size=(12, 2))
    columns = {("a", "change"): Column(values[:, 0], NATS), ("b", "rate"): Column(values[:, 1], POINTS)}
    found = intervals.estimate_by_name(unit, columns, {"change_low", "change_high", "change_p"}, 50, 3)
    made = intervals.estimate(p_values.design(np.full(12, ""), unit), list(columns.values()), 50, 3)
    assert found == {
        "a": {"change": made.mean[0], "change_low": made.low[0], "change_high": made.high[0], "change_p": made.p[0]},
        "b": {"rate": made.mean[1]},
    }
    assert intervals.estimate_by_name(unit[:0], columns, {"change_low"}, 50, 3) == {}
    assert intervals.estimate_by_name(unit, {}, {"change_low"}, 50, 3) == {}


RUNS = 1500


def answers(rng, questions, masks, loss, gain, per_image=1):
    """Changes in points [question, run, mask]; the questions about one image share their fate in six of ten cases."""
    drawn = rng.random((questions // per_image, RUNS, masks))
    parts = []
    for _ in range(per_image):
        own = rng.random(drawn.shape)
        parts.append(np.where(rng.random((*drawn.shape[:2], 1)) < 0.6, drawn, own))
    u = np.stack(parts, axis=1).reshape(questions, RUNS, masks)
    return np.where(u < loss, -100.0, np.where(u > 1 - gain, 100.0, 0.0)), 100 * (gain - loss)


def nats(rng, questions, masks, kind):
    shape = (questions, RUNS, masks)
    if kind == "t":
        return 0.3 * rng.standard_t(3, shape) - 0.1, -0.1
    return -np.exp(rng.normal(size=shape)), -np.exp(0.5)


def covered(plan, values, scale, truth):
    low, high = intervals.interval(plan, values, [scale] * values.shape[1], 1000)
    return int(((low <= truth + 1e-9) & (truth - 1e-9 <= high)).sum())


def check_coverage(plan, changes, truth, measure, most):
    """At least 92 % of the intervals of own, cross and specificity hold the truth, and not more than `most` of each."""
    own, masks = changes[:, :, 0], changes.shape[2]
    cross = changes[:, :, 1:].mean(axis=2)
    of = intervals.scale(measure)
    shares = {
        "own": covered(plan, own, of, truth),
        "cross": covered(plan, cross, intervals.scale(measure, masks > 2), truth),
        "specificity": covered(plan, own - cross, of, 0.0),
    }
    for what, hits in shares.items():
        assert binomtest(hits, RUNS, 0.92, alternative="less").pvalue > 0.01, (what, hits / RUNS)
        assert binomtest(hits, RUNS, most.get(what, 1), alternative="greater").pvalue > 0.01, (what, hits / RUNS)


@pytest.mark.parametrize(
    ("cultures", "questions", "loss", "gain"),
    slow_but([(4, 24, 0.04, 0), (4, 100, 0.01, 0.02), (8, 24, 0.2, 0.02), (30, 24, 0.01, 0)],
             product([4, 8, 30], [24, 100], [0.01, 0.04, 0.2], [0, 0.02])),
)  # fmt: skip
def test_intervals_of_accuracy_cover_the_truth(cultures, questions, loss, gain):
    """Where few answers change, the exact distribution has steps: then more than 97 % is all that can be had."""
    changes, truth = answers(np.random.default_rng(cultures), questions, cultures, loss, gain)
    most = {}
    if questions * max(loss, gain) > 4:
        most = {"own": 0.97, "specificity": 0.97, "cross": 0.975}
    check_coverage(one(questions), changes, truth, "accuracy", most)


@pytest.mark.parametrize(
    ("cultures", "questions", "per_image", "loss"),
    slow_but([(4, 24, 2, 0.04), (4, 100, 4, 0.2)], [(c, q, *of) for c, q, of in product(
        [4, 30], [24, 100], [(2, 0.04), (4, 0.2)])]),
)  # fmt: skip
def test_intervals_cover_the_truth_where_questions_share_images(cultures, questions, per_image, loss):
    changes, truth = answers(np.random.default_rng(1), questions, cultures, loss, 0, per_image)
    check_coverage(one(questions, per_image), changes, truth, "accuracy", {})


@pytest.mark.parametrize(
    ("cultures", "questions", "kind"),
    slow_but([(4, 24, "t"), (4, 24, "lognormal")], product([4, 30], [24, 100], ["t", "lognormal"])),
)
def test_intervals_of_log_probabilities_with_heavy_tails_cover_the_truth(cultures, questions, kind):
    changes, truth = nats(np.random.default_rng(2), questions, cultures, kind)
    most = dict.fromkeys(("own", "cross", "specificity"), 0.97)
    check_coverage(one(questions), changes, truth, "logprob", most)


@pytest.mark.parametrize(
    ("cultures", "per_image", "loss"),
    slow_but([(8, 1, 0.2)], [(8, 1, 0.01), (8, 1, 0.2), (30, 1, 0.04), (30, 4, 0.2)]),
)
def test_means_over_cultures_cover_the_truth(cultures, per_image, loss):
    rng = np.random.default_rng(3)
    strata = np.repeat([f"c{i:02}" for i in range(cultures)], 24)
    plan = p_values.design(strata, np.array([f"u{i // per_image}" for i in range(len(strata))]))
    changes, truth = answers(rng, len(strata), 4, loss, 0, per_image)
    changes = changes[:, :400]
    for values, scale, expected in (
        (changes[:, :, 0], POINTS, truth), (changes[:, :, 1:].mean(axis=2), MEAN_POINTS, truth),
        (changes[:, :, 0] - changes[:, :, 1:].mean(axis=2), POINTS, 0.0),
    ):  # fmt: skip
        assert binomtest(covered(plan, values, scale, expected), 400, 0.92, alternative="less").pvalue > 0.01
