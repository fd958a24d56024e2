import numpy as np
import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.selectors import score
from culture_neurons.selectors.effect_size import effect_size
from culture_neurons.types import Statistics


def statistics(x, cultures, fired=None):
    """Statistics of questions of ten tokens whose means of g are x [question, layer, neuron]."""
    x, names = np.asarray(x, float), sorted(set(cultures))
    own = np.array([[culture == name for culture in cultures] for name in names], float)
    n = own.sum(axis=1)
    shape = (len(names), *x.shape[1:])
    sums = np.einsum("cs,sln->cln", own, x)
    return Statistics(
        names, 10 * n, np.zeros(shape) if fired is None else fired, np.maximum(10 * sums, 0), np.minimum(10 * sums, 0),
        n, sums, np.einsum("cs,sln->cln", own, x**2),
    )  # fmt: skip


def naive(x, cultures, floor):
    names = sorted(set(cultures))
    spread = np.empty((len(names), *x.shape[1:]))
    difference = np.empty_like(spread)
    for c, name in enumerate(names):
        own = np.array([culture == name for culture in cultures])
        for layer, neuron in np.ndindex(x.shape[1:]):
            a, b = x[own, layer, neuron], x[~own, layer, neuron]
            difference[c, layer, neuron] = abs(a.mean() - b.mean())
            pooled = (((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / (len(a) + len(b) - 2)
            spread[c, layer, neuron] = np.sqrt(pooled)
    rank = max(round(floor * spread.size), 1)
    return difference / (spread + (np.sort(spread, axis=None)[rank - 1] if floor else 0))


@pytest.mark.parametrize("floor", [0, 0.5, 0.9, 1])
def test_it_is_that_of_a_naive_loop_over_questions(floor):
    rng = np.random.default_rng(0)
    cultures = list("aabbbccccccbbaadd")
    x = rng.normal(size=(len(cultures), 2, 7)) * rng.lognormal(size=(2, 7)) - 3
    np.testing.assert_allclose(effect_size(statistics(x, cultures), floor=floor), naive(x, cultures, floor), rtol=1e-9)


def test_by_hand():
    # a: 1 and 3, the rest 4, 5, 6: means 2 and 5, squares about them 2 and 2, spread sqrt(4 / 3).
    found = statistics(np.array([1, 3, 4, 5, 6.0])[:, None, None], list("aabbb"))
    np.testing.assert_allclose(effect_size(found, floor=0), np.full((2, 1, 1), 3 / np.sqrt(4 / 3)))
    np.testing.assert_allclose(effect_size(found, floor=1), np.full((2, 1, 1), 1.5 / np.sqrt(4 / 3)))


def test_a_neuron_that_never_fires_is_seen_and_a_dead_one_is_not():
    x = np.zeros((6, 1, 3))
    x[:, 0, 0] = [-0.2, -0.21, -0.01, -0.02, -0.01, -0.015]
    x[:, 0, 1] = -0.1  # the same for all
    cultures = list("aabbcc")
    scores = score("effect-size", statistics(x, cultures))
    assert scores[0, 0, 0] > scores[1:, 0, 0].max() > 0
    assert not scores[:, 0, 1:].any()
    for name in ("cas", "mad", "lap"):
        assert not (score(name, statistics(x, cultures)) > 0).any(), name


def test_no_spread_and_rounding_noise():
    x = np.zeros((4, 1, 2))
    x[:, 0, 0] = [1, 1, 2, 2]
    x[:, 0, 1] = [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2]
    scores = effect_size(statistics(x, list("aabb")), floor=0)
    assert np.isfinite(scores).all()
    assert scores[0, 0, 0] > 1e9
    assert not scores[:, 0, 1].any()


def test_a_culture_without_questions_scores_nothing():
    found = statistics(np.array([1, 2, 4.0])[:, None, None], list("aab"))
    empty = Statistics(
        ["a", "b", "c"], [*found.tokens, 0],
        **{k: np.append(v, np.zeros((1, 1, 1)), axis=0) for k, v in found.arrays.items() if v.ndim == 3},
        samples=[2, 1, 0],
    )  # fmt: skip
    np.testing.assert_allclose(effect_size(empty)[:2], effect_size(found, floor=0) / 2, rtol=0.5)
    assert effect_size(empty)[2] == 0


@pytest.mark.parametrize("floor", [-0.1, 1.1, "half", True])
def test_floors_that_there_can_not_be(floor):
    with pytest.raises(ConfigError, match=r"floor must be a number in \[0, 1\]"):
        score("effect-size", statistics(np.ones((3, 1, 1)), list("aab")), floor=floor)


def test_too_little_to_compare():
    with pytest.raises(ConfigError, match=r"at least two, with three questions in all; found \['a', 'b'\] with 2"):
        score("effect-size", statistics(np.ones((2, 1, 1)), list("ab")))


def test_statistics_without_the_negative_part():
    without = Statistics(["a", "b"], [5, 5], np.ones((2, 1, 1)), np.ones((2, 1, 1)), samples=[3, 3])
    with pytest.raises(ConfigError, match=r"was not recorded; set negative_sum: true under recording"):
        score("effect-size", without)
