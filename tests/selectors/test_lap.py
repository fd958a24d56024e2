from __future__ import annotations

import numpy as np

from culture_neurons.selectors import score
from culture_neurons.types import Statistics


def test_by_hand():
    statistics = Statistics(["a", "b"], [10, 4], [[[5, 0]], [[1, 4]]], np.zeros((2, 1, 2)))
    np.testing.assert_array_equal(score("lap", statistics), [[[0.5, 0.0]], [[0.25, 1.0]]])


def test_naive_loop(statistics):
    scores = score("lap", statistics)
    assert scores.dtype == np.float64
    for (c, layer, n), k in np.ndenumerate(statistics.fired):
        assert scores[c, layer, n] == int(k) / int(statistics.tokens[c])


def test_a_culture_without_tokens_scores_zero():
    statistics = Statistics(["a", "b"], [0, 4], [[[0]], [[3]]], np.zeros((2, 1, 1)))
    np.testing.assert_array_equal(score("lap", statistics), [[[0.0]], [[0.75]]])
