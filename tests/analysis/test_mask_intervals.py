from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from culture_neurons.analysis import mask_intervals, p_values, paired_changes, verdicts
from culture_neurons.analysis.mask_effects import Changes
from culture_neurons.analysis.significance import LEVEL
from tests.analysis.test_verdicts import world
from tests.conftest import slow


def shifted(matrix: np.ndarray, shift: float) -> np.ndarray:
    return matrix - shift * np.eye(len(matrix))


@pytest.mark.parametrize("cultures", [2, 3, 6])
def test_the_interval_has_the_shifts_that_the_test_does_not_reject(cultures):
    rng = np.random.default_rng(cultures)
    for _ in range(20):
        own, controls = rng.normal(-5, 5, cultures), rng.normal(0, 3, (2, cultures))
        matrix = rng.normal(0, 3, (cultures, cultures)) - 5 * np.eye(cultures)
        cases = (
            (mask_intervals.exchange_interval(own, controls), lambda d: p_values.exchange_test(own - d, controls)[0]),  # noqa: B023
            (mask_intervals.relabel_interval(matrix), lambda d: p_values.relabel_test(shifted(matrix, d))[0]),  # noqa: B023
        )
        for (low, high), p in cases:
            for shift in np.linspace(-30, 30, 41):
                assert (low <= shift <= high) == (p(shift) >= LEVEL), (low, high, shift)


def test_0_is_inside_exactly_where_p_is_not_below_the_level_also_with_ties():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(200):
        n, controls = int(rng.integers(2, 8)), int(rng.integers(1, 4))
        own, others = 10.0 * rng.integers(-3, 2, n), 10.0 * rng.integers(-2, 2, (controls, n))
        matrix = 10.0 * rng.integers(-2, 2, (n, n)) - 10.0 * np.eye(n) * rng.integers(0, 3)
        for ends, (p, _) in (
            (mask_intervals.exchange_interval(own, others), p_values.exchange_test(own, others)),
            (mask_intervals.relabel_interval(matrix), p_values.relabel_test(matrix)),
        ):
            assert (ends[0] <= 0 <= ends[1]) == (p >= LEVEL)
            seen.add(p < LEVEL)
    assert seen == {True, False}


def test_sampled_arrangements_are_those_of_the_test():
    rng = np.random.default_rng(2)
    own, controls = rng.normal(-1.2, 1, 20), rng.normal(0, 1, (3, 20))
    low, high = mask_intervals.exchange_interval(own, controls, seed=4)
    assert p_values.exchange_test(own - low - 1e-6, controls, seed=4)[0] >= LEVEL
    assert p_values.exchange_test(own - low + 1e-6, controls, seed=4)[0] < LEVEL
    assert p_values.exchange_test(own - high + 1e-6, controls, seed=4)[0] >= LEVEL
    assert p_values.exchange_test(own - high - 1e-6, controls, seed=4)[0] < LEVEL


def test_too_few_masks_have_no_interval():
    assert mask_intervals.exchange_interval(np.array([-50.0, -50.0]), np.zeros((2, 2))) == mask_intervals.UNBOUNDED
    assert mask_intervals.relabel_interval(-50.0 * np.eye(4)) == mask_intervals.UNBOUNDED
    assert math.isfinite(mask_intervals.relabel_interval(-50.0 * np.eye(5))[0])


def test_the_hull_has_both_intervals_and_no_infinite_end():
    assert mask_intervals.hull((-3.0, 1.0), (-2.0, 4.0)) == (-3.0, 4.0)
    assert all(map(math.isnan, mask_intervals.hull((-3.0, 1.0), mask_intervals.UNBOUNDED)))
    assert all(map(math.isnan, mask_intervals.hull((math.nan, math.nan), (-2.0, 4.0))))


def test_what_could_have_been_found_by_hand():
    # Standard error 1: 1.96 for the level, and 0.84 for a power of 80 %.
    assert mask_intervals.least_detectable(-1.959964, 1.959964) == pytest.approx(1.959964 + 0.841621)


def test_masks_that_carry_a_difference_by_hand():
    random = np.array([[-1.0, 2.0, 0.0], [0.0, -4.0, 1.0]]).reshape(-1, 1)
    assert mask_intervals.count_beyond(np.array([-12.0, -62.0, -3.0]), random) == 2
    assert mask_intervals.count_beyond(np.array([12.0, 62.0, -3.0]), random) == 2  # on the other side
    assert mask_intervals.count_beyond(np.array([-4.0, -4.0, -4.0]), random) == 0  # as far is not beyond
    crossed = np.array([[np.nan, -9.0, 0.0], [-1.0, np.nan, 0.0], [0.0, 0.0, np.nan]])
    assert mask_intervals.count_beyond(np.array([-5.0, -5.0, -5.0]), crossed) == 2
    assert mask_intervals.count_beyond(np.array([-5.0]), np.full((1, 1), np.nan)) == 0


GRID = [(6, 13, 2, 0.02, 0.0), (6, 24, 2, 0.1, 1.0), (8, 30, 3, 0.05, 1.0), (5, 8, 3, 0.02, 0.5)]
#: How much more often the own mask makes an answer wrong.
OWN = 0.15


def simulated(seed: int, cultures: int, questions: int, controls: int, harm: float, spread: float, own: float):
    """Evidence of masks that each harm at a rate of their own (`spread`: how much they differ), and own ones more."""
    rng = np.random.default_rng(seed)
    names, base = world(cultures, questions)
    paired = {}
    for name in ("cas", *(f"r{i}" for i in range(controls))):
        rate = harm * (1 - spread) + rng.exponential(harm * spread or 1.0, (cultures, 1)) * bool(spread)
        rate = rate + own * (name == "cas") * (np.array(names)[:, None] == base.culture)
        lost = rng.random((cultures, len(base.sample_id))) < rate
        none = np.zeros_like(lost)
        paired[name, "0.01"] = paired_changes.pair(
            base, Changes(names, ~lost, none, lost, lost, ~none, rng.normal(-5 * rate, 1.0, lost.shape))
        )
    return verdicts.compare(base, paired, dict.fromkeys((f"r{i}" for i in range(controls)), "cas"), 99, seed)[0]


@pytest.mark.parametrize(("runs", "designs"), [(4, GRID[1:3]), slow(150, GRID)])
@pytest.mark.parametrize("own", [slow(0.0), OWN])
def test_intervals_over_questions_and_masks_hold_the_truth(own, runs, designs):
    """95 % is what they promise; few questions, rare losses and masks that differ much take some of it."""
    missed = {(d, m, c): 0 for d in designs for m in ("accuracy", "logprob") for c in verdicts.COMPARISONS}
    for design, seed in itertools.product(designs, range(runs)):
        for _, row in simulated(seed, *design, own).iterrows():
            truth = -own * (100 if row["measure"] == "accuracy" else 5)
            missed[design, row["measure"], row["comparison"]] += not row["both_low"] <= truth <= row["both_high"]
    for key, n in missed.items():
        assert binomtest(n, runs, 0.1, alternative="greater").pvalue > 0.005, (key, n)


@pytest.mark.parametrize("runs", [4, slow(100)])
def test_what_is_said_to_be_detectable_is_found(runs):
    """A difference of the size that `detectable` states is found in about four of five runs, and twice that always."""
    found: dict[bool, list[bool]] = {False: [], True: []}
    for seed in range(runs):
        for design in GRID[:3]:
            table = simulated(seed, *design, OWN)
            for _, row in table[table["measure"] == "accuracy"].iterrows():
                ratio = 100 * OWN / row["detectable"]
                if ratio > 0.95:
                    found[ratio > 1.5].append(row["p_value"] < LEVEL)
    assert np.mean(found[True]) > 0.95
    assert 0.6 < np.mean(found[False]) <= 1
