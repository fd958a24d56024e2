"""Single neurons: probabilities worked by hand, intervals that follow the samples, ranks, and what activates most."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from culture_neurons.analysis import neuron_cards


def test_the_strongest_are_the_first_of_each_culture():
    mask = pd.DataFrame({
        "culture": ["b", "b", "b", "a"], "site": "act_fn", "layer": [0, 1, 2, 3], "neuron": [5, 6, 7, 8],
        "score": [0.1, 0.3, 0.2, 0.9], "rank": [3, 1, 2, 1],
    })  # fmt: skip
    found = neuron_cards.top_neurons(mask, 2)
    assert found[["culture", "layer", "rank"]].to_numpy().tolist() == [["a", 3, 1], ["b", 1, 1], ["b", 2, 2]]


def test_probabilities_are_tokens_that_fire_over_tokens():
    cultures, tokens = ["b", "a", "b", "b"], np.array([10, 4, 10, 20])
    fired = np.array([[1, 10], [2, 0], [3, 10], [4, 20]])
    found = neuron_cards.estimate_probabilities(cultures, list("wxyz"), tokens, fired, resamples=500, seed=3)
    assert found.cultures == ["a", "b"]
    assert_allclose(found.value, [[0.5, 8 / 40], [0, 1]])
    assert np.isnan(found.low[:, 0]).all()  # one sample says nothing of its spread
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((0.1, 0.3), abs=0.03)
    assert np.isnan([found.low[1, 1], found.high[1, 1]]).all()  # it fires at every token: no draw differs
    assert found.units == [1, 3]


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(5)
    hits = 0
    for i in range(200):
        p = random.beta(3, 7, size=40)  # samples differ: tokens of one sample go together
        tokens = random.integers(20, 60, 40)
        fired = random.binomial(tokens, p)[:, None]
        found = neuron_cards.estimate_probabilities(["x"] * 40, range(40), tokens, fired, resamples=200, seed=i)
        hits += found.low[0, 0] <= 0.3 <= found.high[0, 0]
    assert 0.88 <= hits / 200 <= 0.98


@pytest.mark.parametrize(("units", "known"), [("xxxx", False), ("xxyy", True), ("wxyz", True)])
def test_questions_about_one_image_are_drawn_together(units, known):
    tokens, fired = np.full(4, 10), np.array([[1, 5], [3, 5], [7, 5], [9, 5]])
    found = neuron_cards.estimate_probabilities(["a"] * 4, list(units), tokens, fired, resamples=400, seed=1)
    assert_allclose(found.value[:, 0], [0.5, 0.5])
    assert found.units == [len(set(units))]
    assert np.isfinite([found.low[0, 0], found.high[0, 0]]).all() == known
    assert np.isnan([found.low[1, 0], found.high[1, 0]]).all()  # the same in all: no draw differs
    if units == "xxyy":
        assert (found.low[0, 0], found.high[0, 0]) == (0.2, 0.8)  # of three different draws


@given(st.permutations(range(6)))
def test_other_neurons_and_cultures_change_nothing(order):
    cultures, tokens = list("aabbcc"), np.array([5, 6, 7, 8, 9, 10])
    fired = np.arange(18).reshape(6, 3) % 5
    whole = neuron_cards.estimate_probabilities(cultures, list("uvwxyz"), tokens, fired, resamples=50, seed=1)
    own = [0, 1]
    alone = neuron_cards.estimate_probabilities(
        ["a", "a"], list("uv"), tokens[own], fired[own][:, [2]], resamples=50, seed=1
    )
    for end in ("value", "low", "high"):
        assert getattr(whole, end)[2, 0] == getattr(alone, end)[0, 0]
    order = list(order)
    names = ["uvwxyz"[i] for i in order]
    again = neuron_cards.estimate_probabilities([cultures[i] for i in order], names, tokens[order], fired[order], 50, 1)
    for end in ("value", "low", "high"):
        assert_allclose(getattr(again, end), getattr(whole, end))


def test_without_tokens_nothing_is_known():
    found = neuron_cards.estimate_probabilities(
        ["a", "a"], list("xy"), np.zeros(2, int), np.zeros((2, 1), int), resamples=10
    )
    assert np.isnan([found.value, found.low, found.high]).all()
    mixed = neuron_cards.estimate_probabilities(
        ["a", "a"], list("xy"), np.array([0, 4]), np.array([[0], [2]]), resamples=50
    )
    assert mixed.value[0, 0] == 0.5
    assert np.isnan([mixed.low, mixed.high]).all()  # what has tokens is one sample


def test_blocks_of_the_bootstrap_change_nothing(monkeypatch):
    given = (["a"] * 9, list("abcdefghi"), np.arange(1, 10), np.arange(9)[:, None], 30, 7)
    whole = neuron_cards.estimate_probabilities(*given)
    monkeypatch.setattr(neuron_cards, "_BLOCK", 45)
    parts = neuron_cards.estimate_probabilities(*given)
    assert_array_equal([parts.low, parts.high], [whole.low, whole.high])


def test_ranks_count_better_neurons_of_the_culture():
    scores = np.array([[[3.0, 1.0], [2.0, -np.inf]], [[0.0, 5.0], [5.0, 1.0]]], np.float32)  # (culture, layer, neuron)
    culture = ["a", "a", "a", "b", "b", "c"]
    layer, neuron = np.array([0, 1, 1, 0, 0, 0]), np.array([0, 0, 1, 0, 1, 0])
    assert neuron_cards.rank_neurons(scores, ["a", "b"], culture, layer, neuron) == [1, 2, None, None, 1, None]


def test_the_most_active_samples():
    tokens = np.array([10, 2, 0, 5])
    sums = np.array([[10.0, 0.0], [4.0, 0.0], [0.0, 0.0], [5.0, 1.0]])
    assert neuron_cards.most_active(tokens, sums, 2) == [[(1, 2.0), (0, 1.0)], [(3, 0.2)]]
