from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from culture_neurons.errors import ConfigError
from culture_neurons.selectors import score
from culture_neurons.types import Statistics


def test_a_culture_keeps_its_numbers_whatever_the_others_are(make_statistics):
    statistics = make_statistics(cultures=4)
    scores = score("random", statistics, seed=3)
    order = [2, 0]
    fewer = Statistics(
        [statistics.cultures[i] for i in order],
        statistics.tokens[order],
        statistics.fired[order],
        statistics.positive_sum[order],
    )
    np.testing.assert_array_equal(score("random", fewer, seed=3), scores[order])


def test_uniform_and_positive(make_statistics):
    scores = score("random", make_statistics(cultures=3, layers=4, neurons=500))
    assert scores.min() > 0
    assert scores.max() <= 1
    for row in scores:
        assert kstest(row.ravel(), "uniform").pvalue > 0.001


def test_seeds_cultures_and_methods_have_streams_of_their_own(make_statistics):
    statistics = make_statistics(cultures=2, layers=2, neurons=200)
    streams = [*score("random", statistics, seed=0), *score("random", statistics, seed=1)]
    streams += [*score("random-matched", statistics, seed=0)]
    for i, a in enumerate(streams):
        for b in streams[:i]:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("name", ["random", "random-matched"])
@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, None])
def test_the_seed_is_a_whole_number(statistics, name, seed):
    with pytest.raises(ConfigError, match=f"{name}: seed"):
        score(name, statistics, seed=seed)
