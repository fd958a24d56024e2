from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.selectors import score
from culture_neurons.selectors.matched import activity_decile, choose_matched
from culture_neurons.selectors.selection import select
from culture_neurons.types import Statistics


def bins(statistics: Statistics, mask) -> dict[str, Counter]:
    """How many neurons of a mask lie in each (layer, decile), by a loop."""
    result = {}
    for c, name in enumerate(statistics.cultures):
        deciles = activity_decile(statistics.probability[c])
        rows = mask[mask["culture"] == name]
        result[name] = Counter((r.layer, int(deciles[r.layer, r.neuron])) for r in rows.itertuples())
    return result


def pairs(mask) -> set:
    return set(mask[["culture", "layer", "neuron"]].itertuples(index=False, name=None))


def matched(statistics, reference, seed=0, fraction=0.05):
    scores = score("random-matched", statistics, seed=seed)
    return select(scores, statistics.cultures, fraction, selector="random-matched", statistics=statistics,
                  reference=reference)  # fmt: skip


@pytest.mark.parametrize("method", ["cas", "mad", "lap", "random"])
def test_same_number_per_layer_and_decile(make_statistics, method):
    statistics = make_statistics(seed=1, cultures=4, layers=3, neurons=300)
    reference = select(score(method, statistics), statistics.cultures, 0.05)
    control = matched(statistics, reference)
    assert bins(statistics, control) == bins(statistics, reference)
    assert len(pairs(control)) == len(control)


def test_the_references_own_neurons_are_left_out_where_others_exist(make_statistics):
    statistics = make_statistics(seed=2, cultures=4, layers=2, neurons=2000)
    reference = select(score("mad", statistics), statistics.cultures, 0.005)
    assert not pairs(matched(statistics, reference)) & pairs(reference)


def test_a_full_bin_is_taken_as_a_whole():
    statistics = Statistics(["a", "b"], [10, 10], [[[9, 9, 1, 1]], [[1, 1, 1, 1]]], np.zeros((2, 1, 4)))
    reference = select(score("cas", statistics), ["a", "b"], 0.5)
    assert pairs(reference) == {("a", 0, 0), ("a", 0, 1)}  # the only neurons of their decile
    assert pairs(matched(statistics, reference, fraction=0.5)) == pairs(reference)


def by_a_loop(scores, probability, reference):
    """One neuron after the other, by score, others before the reference's own, as long as its bin wants more."""
    chosen = []
    for row, p, taken in zip(scores, probability, reference, strict=True):
        bin_of = list(zip(np.repeat(range(len(row)), row.shape[1]), activity_decile(p.ravel()), strict=True))
        wanted = Counter(bin_of[i] for i in taken)
        picked = []
        for i in sorted(range(row.size), key=lambda i: (i in taken, -row.ravel()[i], i)):
            if wanted[bin_of[i]]:
                wanted[bin_of[i]] -= 1
                picked.append(i)
        chosen.append(sorted(picked, key=lambda i: (-row.ravel()[i], i)))
    return chosen


@pytest.mark.parametrize("seed", range(20))
def test_choice_is_that_of_a_loop_with_ties_and_full_bins(seed):
    rng = np.random.default_rng(seed)
    layers, neurons = rng.integers(1, 4), rng.integers(1, 30)
    scores = rng.integers(1, 5, (3, layers, neurons)).astype(np.float32) / 5
    probability = rng.random((3, layers, neurons)).round(1)
    reference = [rng.choice(layers * neurons, rng.integers(0, layers * neurons + 1), replace=False) for _ in range(3)]
    chosen = choose_matched(scores, 0, probability=probability, reference=reference)
    assert [c.tolist() for c in chosen] == by_a_loop(scores, probability, [set(r.tolist()) for r in reference])


def test_seeds_differ_and_repeat(make_statistics):
    statistics = make_statistics(seed=3, cultures=3, layers=2, neurons=500)
    reference = select(score("cas", statistics), statistics.cultures, 0.02)
    assert matched(statistics, reference, seed=1).equals(matched(statistics, reference, seed=1))
    assert pairs(matched(statistics, reference, seed=1)) != pairs(matched(statistics, reference, seed=2))


def test_within_a_bin_all_are_equally_likely():
    statistics = Statistics(["a", "b"], [10, 10], [[[9, 9, 9, 9, 0]], [[1, 1, 1, 1, 0]]], np.zeros((2, 1, 5)))
    reference = select(np.array([[[1.0, 0, 0, 0, 0]], [[0.0, 0, 0, 0, 0]]]), ["a", "b"], 0.2)
    drawn = Counter(int(matched(statistics, reference, seed, 0.2)["neuron"].iloc[0]) for seed in range(150))
    assert set(drawn) == {1, 2, 3}
    assert min(drawn.values()) > 30


def test_an_empty_reference_gives_an_empty_mask(make_statistics):
    statistics = make_statistics(cultures=3)
    reference = select(np.zeros(statistics.fired.shape), statistics.cultures, 0.1)
    assert len(matched(statistics, reference)) == 0


def test_dead_neurons_are_a_bin_of_their_own():
    np.testing.assert_array_equal(activity_decile(np.array([0.0, 0.0, 0.5, 0.5])), [-1, -1, 0, 0])
    np.testing.assert_array_equal(activity_decile(np.zeros(3)), [-1, -1, -1])
    deciles = activity_decile(np.arange(101) / 100)
    assert deciles[0] == -1
    assert np.bincount(deciles[1:]).tolist() == [10] * 10


def test_it_needs_a_reference_that_fits(make_statistics):
    statistics = make_statistics(cultures=3)
    scores = score("random-matched", statistics)
    reference = select(score("cas", statistics), statistics.cultures, 0.1)
    with pytest.raises(ConfigError, match="reference mask"):
        select(scores, statistics.cultures, 0.1, selector="random-matched")
    with pytest.raises(FileError, match="another run"):
        matched(statistics, reference.assign(neuron=20), fraction=0.1)
    with pytest.raises(FileError, match="'Atlantis'"):
        matched(statistics, reference.assign(culture="Atlantis"), fraction=0.1)


def test_match_must_be_a_name(statistics):
    with pytest.raises(ConfigError, match="match"):
        score("random-matched", statistics, match=3)
