from __future__ import annotations

import math

import numpy as np
import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.selectors import score
from culture_neurons.selectors.selection import select
from culture_neurons.types import Statistics


def published(statistics: Statistics, ratio: float, quantile: float, bar_quantile: float) -> dict[str, set]:
    """The published algorithm (Tang et al. 2024) as described, in plain loops over Python floats.

    Sort all probabilities and read off the value whose place, counted from one, is round(quantile * count).
    Discard every neuron that exceeds it for no language. Of the rest keep the round(ratio * neurons) with the
    smallest entropy, and list each under all languages where it exceeds the bar.
    """
    n, layers, neurons = statistics.fired.shape
    p = [[int(k) / int(t) for k in row.ravel()] for row, t in zip(statistics.fired, statistics.tokens, strict=True)]
    everything = sorted(value for row in p for value in row)
    tau = everything[round(quantile * len(everything)) - 1]
    bar = everything[round(bar_quantile * len(everything)) - 1]
    ranked = []
    for i in range(layers * neurons):
        values = [p[c][i] for c in range(n)]
        if max(values) > tau:
            q = [v / sum(values) for v in values]
            ranked.append((-sum(x * math.log(x) for x in q if x > 0), i))
    ranked = sorted(ranked)[: round(layers * neurons * ratio)]
    sets: dict[str, set] = {name: set() for name in statistics.cultures}
    for _, i in ranked:
        for c, name in enumerate(statistics.cultures):
            if p[c][i] > bar:
                sets[name].add(divmod(i, neurons))
    return sets


def chosen(mask, cultures) -> dict[str, set]:
    return {
        name: set(mask.loc[mask["culture"] == name, ["layer", "neuron"]].itertuples(index=False, name=None))
        for name in cultures
    }


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ratio", [0.02, 0.05, 0.2, 1.0])
@pytest.mark.parametrize(("quantile", "bar"), [(0.95, 0.95), (0.8, 0.8), (0.7, 0.9), (0.9, 0.5)])
def test_original_gives_the_published_sets(make_statistics, seed, ratio, quantile, bar):
    statistics = make_statistics(seed, cultures=5, layers=4, neurons=60)
    scores = score("lape-original", statistics, activation_quantile=quantile, bar_quantile=bar)
    mask = select(scores, statistics.cultures, ratio, selector="lape-original")
    assert chosen(mask, statistics.cultures) == published(statistics, ratio, quantile, bar)


def test_original_sets_overlap_and_share_one_budget():
    # P: neuron 0 = (.9, .8, 0), 1 = (.7, .6, .8), 2 = (0, 0, .5), 3 = (.1, .1, .1). tau = bar: place round(.5 * 12)
    # = 6 of 0 0 0 .1 .1 .1 .5 .6 .7 .8 .8 .9 -> .1, so neuron 3 is out. Entropies: 2 < 0 < 1.
    fired = np.array([[[9, 7, 0, 1]], [[8, 6, 0, 1]], [[0, 8, 5, 1]]])
    statistics = Statistics(["a", "b", "c"], [10, 10, 10], fired, np.zeros((3, 1, 4)))
    scores = score("lape-original", statistics, activation_quantile=0.5, bar_quantile=0.5)
    mask = select(scores, statistics.cultures, 0.5, selector="lape-original")
    assert chosen(mask, "abc") == {"a": {(0, 0)}, "b": {(0, 0)}, "c": {(0, 2)}}
    everything = select(scores, statistics.cultures, 1.0, selector="lape-original")
    assert chosen(everything, "abc") == {"a": {(0, 0), (0, 1)}, "b": {(0, 0), (0, 1)}, "c": {(0, 1), (0, 2)}}
    assert everything.loc[everything["culture"] == "c", "neuron"].tolist() == [2, 1]  # lowest entropy first


def test_a_culture_without_neurons_keeps_its_name():
    # Published code drops trailing languages without a neuron; b, in the middle, must not take c's.
    fired = np.array([[[9, 0, 0, 0]], [[0, 0, 0, 1]], [[0, 8, 5, 0]]])
    statistics = Statistics(["a", "b", "c"], [10, 10, 10], fired, np.zeros((3, 1, 4)))
    scores = score("lape-original", statistics, activation_quantile=0.8, bar_quantile=0.8)
    mask = select(scores, statistics.cultures, 1.0, selector="lape-original")
    assert chosen(mask, "abc") == {"a": {(0, 0)}, "b": set(), "c": {(0, 1)}}


@pytest.mark.parametrize(("quantile", "bar"), [(0.95, 0.95), (0.7, 0.9), (0.9, 0.5)])
def test_naive_loop(statistics, quantile, bar):
    n, layers, neurons = statistics.fired.shape
    p = statistics.fired / statistics.tokens[:, None, None]
    places = sorted(p.ravel().tolist())
    tau, above = places[round(quantile * p.size) - 1], places[round(bar * p.size) - 1]
    expected = np.full(p.shape, -np.inf)
    for layer in range(layers):
        for neuron in range(neurons):
            values = [float(p[c, layer, neuron]) for c in range(n)]
            if max(values) <= tau:
                continue
            h = -sum(v / sum(values) * math.log(v / sum(values)) for v in values if v > 0)
            for c in range(n):
                if values[c] > above:
                    expected[c, layer, neuron] = math.exp(-h)
    scores = score("lape", statistics, activation_quantile=quantile, bar_quantile=bar)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert np.isfinite(scores).any()


def test_by_hand():
    # Neuron 0 fires for a alone: H = 0. Neuron 1 fires alike for a and b: H = ln 2. Both are above the bar.
    fired = np.array([[[8, 6, 1]], [[0, 6, 1]]])
    statistics = Statistics(["a", "b"], [10, 10], fired, np.zeros((2, 1, 3)))
    scores = score("lape", statistics, activation_quantile=0.5, bar_quantile=0.5)  # place 3 of 0 1 1 6 6 8: .1
    np.testing.assert_allclose(scores, [[[1.0, 0.5, -np.inf]], [[-np.inf, 0.5, -np.inf]]], rtol=1e-15)


def test_a_neuron_that_fires_for_all_alike_ranks_last_but_can_be_chosen():
    fired = np.array([[[5, 6]], [[5, 2]]])
    statistics = Statistics(["a", "b"], [10, 10], fired, np.zeros((2, 1, 2)))
    mask = select(score("lape", statistics, activation_quantile=0.25, bar_quantile=0.25), ["a", "b"], 1.0)
    assert mask.loc[mask["culture"] == "a", "neuron"].tolist() == [1, 0]


@pytest.mark.parametrize("name", ["lape", "lape-original"])
@pytest.mark.parametrize("option", ["activation_quantile", "bar_quantile"])
@pytest.mark.parametrize("value", [0, -0.1, 1.01, "0.95", True, float("nan")])
def test_quantiles_are_checked(statistics, name, option, value):
    with pytest.raises(ConfigError, match=option):
        score(name, statistics, **{option: value})


def test_one_culture_is_refused():
    with pytest.raises(ConfigError, match=r"lape.*at least two"):
        score("lape", Statistics(["a"], [1], np.ones((1, 1, 1), int), np.ones((1, 1, 1))))
