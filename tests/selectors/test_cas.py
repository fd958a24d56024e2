from __future__ import annotations

import numpy as np
import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.selectors import score
from culture_neurons.types import Statistics


def test_naive_loop(statistics):
    n = len(statistics.cultures)
    expected = np.zeros(statistics.fired.shape)
    for layer in range(expected.shape[1]):
        for neuron in range(expected.shape[2]):
            p = [int(statistics.fired[c, layer, neuron]) / int(statistics.tokens[c]) for c in range(n)]
            best = p.index(max(p))
            expected[best, layer, neuron] = sorted(p)[-1] - sorted(p)[-2]
    np.testing.assert_array_equal(score("cas", statistics), expected)


def test_by_hand():
    fired = [[[5, 2, 0, 3]], [[2, 2, 0, 4]], [[3, 1, 0, 4]]]
    statistics = Statistics(["a", "b", "c"], [8, 8, 8], fired, np.zeros((3, 1, 4)))
    expected = [[[0.25, 0, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 0]]]  # 5/8 - 3/8; ties and the dead neuron: nobody
    np.testing.assert_array_equal(score("cas", statistics), expected)


def test_equal_shares_of_different_token_counts_tie():
    # 1/3, 2/6 and 7/21 are the same number: nobody leads.
    statistics = Statistics(["a", "b", "c"], [3, 6, 21], [[[1]], [[2]], [[7]]], np.zeros((3, 1, 1)))
    assert not score("cas", statistics).any()


def test_at_most_one_culture_per_neuron(statistics):
    scores = score("cas", statistics)
    assert ((scores > 0).sum(axis=0) <= 1).all()
    assert (scores >= 0).all()


def test_conact_is_another_name(statistics):
    np.testing.assert_array_equal(score("conact", statistics), score("cas", statistics))


def test_one_culture_is_refused():
    with pytest.raises(ConfigError, match=r"cas.*at least two"):
        score("cas", Statistics(["a"], [1], np.ones((1, 1, 1), int), np.ones((1, 1, 1))))
