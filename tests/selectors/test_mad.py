from __future__ import annotations

import math

import numpy as np
import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.selectors import score
from culture_neurons.types import Statistics


def naive(statistics: Statistics, normalise: bool) -> np.ndarray:
    """One neuron and one culture at a time, in Python floats."""
    n = len(statistics.cultures)
    result = np.zeros(statistics.fired.shape)
    for layer in range(result.shape[1]):
        for neuron in range(result.shape[2]):
            means = [float(statistics.positive_sum[c, layer, neuron]) / int(statistics.tokens[c]) for c in range(n)]
            if max(means) - min(means) <= 1e-12 * max(means):
                continue
            spread = math.sqrt(sum((m - sum(means) / n) ** 2 for m in means) / n)
            for c in range(n):
                others = [m for i, m in enumerate(means) if i != c]
                result[c, layer, neuron] = (means[c] - sum(others) / (n - 1)) / (spread if normalise else 1.0)
    return result


@pytest.mark.parametrize("normalise", [True, False])
def test_naive_loop(statistics, normalise):
    np.testing.assert_allclose(
        score("mad", statistics, normalise=normalise), naive(statistics, normalise), rtol=1e-9, atol=1e-12
    )


def test_by_hand():
    # M = 3, 1, 2: mean 2, population standard deviation sqrt(2/3); 3 - 1.5, 1 - 2.5, 2 - 2.
    statistics = Statistics(["a", "b", "c"], [2, 2, 2], np.ones((3, 1, 1), int), [[[6.0]], [[2.0]], [[4.0]]])
    np.testing.assert_allclose(score("mad", statistics, normalise=False).ravel(), [1.5, -1.5, 0.0], atol=1e-15)
    sigma = math.sqrt(2 / 3)
    np.testing.assert_allclose(score("mad", statistics).ravel(), [1.5 / sigma, -1.5 / sigma, 0.0], atol=1e-15)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-300, 1e300])
def test_no_spread_scores_zero(value):
    # 0.1 is no binary fraction: sums over different numbers of tokens differ by rounding alone.
    tokens = np.array([3, 7, 11])
    statistics = Statistics(["a", "b", "c"], tokens, np.ones((3, 1, 1), int), (value * tokens)[:, None, None])
    np.testing.assert_array_equal(score("mad", statistics), np.zeros((3, 1, 1)))


def test_tiny_values_keep_their_spread():
    # M = 2, 1, 1: mean 4/3, standard deviation sqrt(2)/3.
    statistics = Statistics(["a", "b", "c"], [1, 1, 1], np.ones((3, 1, 1), int), [[[2e-300]], [[1e-300]], [[1e-300]]])
    np.testing.assert_allclose(score("mad", statistics).ravel(), np.array([1, -0.5, -0.5]) * 3 / np.sqrt(2))


def test_one_culture_is_refused():
    statistics = Statistics(["a"], [1], np.ones((1, 1, 1), int), np.ones((1, 1, 1)))
    with pytest.raises(ConfigError, match=r"mad.*at least two"):
        score("mad", statistics)


def test_two_cultures_can_be_ranked_by_plain_differences_alone():
    """Divided by the standard deviation of two numbers, every difference is 2: the first neurons would be chosen."""
    rng = np.random.default_rng(0)
    statistics = Statistics(["a", "b"], [9, 9], np.ones((2, 2, 30), int), rng.exponential(1.0, (2, 2, 30)))
    with pytest.raises(ConfigError, match=r"mad: of two cultures .* the same normalised score .* normalise: false"):
        score("mad", statistics)
    difference = statistics.mean_positive[0] - statistics.mean_positive[1]
    np.testing.assert_allclose(score("mad", statistics, normalise=False), np.stack([difference, -difference]))


def test_normalise_must_be_a_truth_value(statistics):
    with pytest.raises(ConfigError, match=r"normalise.*'yes'"):
        score("mad", statistics, normalise="yes")
