from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from culture_neurons.errors import ConfigError, CultureNeuronsError
from culture_neurons.types import (
    Attributions,
    NeuronMask,
    OwnMasks,
    Sample,
    Statistics,
    short_widths,
    widths_of_layers,
)


def statistics(**changes: object) -> Statistics:
    values = {
        "cultures": ["a", "b"],
        "tokens": [10, 4],
        "fired": np.array([[[1, 10, 0]], [[2, 4, 0]]]),
        "positive_sum": np.array([[[0.5, 20.0, 0.0]], [[1.0, 2.0, 0.0]]]),
    }
    return Statistics(**(values | changes))  # type: ignore[arg-type]


def test_statistics_have_wide_types() -> None:
    made = statistics(tokens=np.array([10, 4], dtype=np.int16), fired=np.ones((2, 1, 3), dtype=np.int8))
    assert made.tokens.dtype == made.fired.dtype == np.int64
    assert made.positive_sum.dtype == np.float64
    assert made.cultures == ["a", "b"]


def test_probability_and_mean() -> None:
    made = statistics()
    assert made.probability.tolist() == [[[0.1, 1.0, 0.0]], [[0.5, 1.0, 0.0]]]
    assert made.mean_positive.tolist() == [[[0.05, 2.0, 0.0]], [[0.25, 0.5, 0.0]]]


def test_a_culture_without_tokens_is_zero() -> None:
    made = statistics(tokens=[10, 0], fired=np.array([[[1, 10, 0]], [[0, 0, 0]]]))
    assert made.probability[1].tolist() == [[0.0, 0.0, 0.0]]
    assert np.isfinite(made.mean_positive).all()


def test_what_is_not_known_is_none_and_the_rest_follows_the_cultures() -> None:
    made = statistics(samples=[3, 1], negative_sum=-np.arange(6).reshape(2, 1, 3))
    assert made.mean_sum is None
    assert made.negative_sum.dtype == np.float64
    assert list(made.arrays) == ["tokens", "fired", "positive_sum", "negative_sum", "samples"]
    other = made.reordered([1, 0])
    assert (other.cultures, other.samples.tolist(), other.tokens.tolist()) == (["b", "a"], [1, 3], [4, 10])
    assert other.negative_sum.tolist() == made.negative_sum[::-1].tolist()
    assert other.square_sum is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cultures": ["a", "a"]}, "a culture occurs twice in"),
        ({"cultures": ["a"]}, r"1 cultures, but tokens \(2,\)"),
        ({"tokens": [10]}, r"tokens \(1,\)"),
        ({"fired": np.zeros((2, 3))}, r"fired \(2, 3\); expected"),
        ({"fired": np.zeros((2, 1, 4))}, r"\(2, 1, 4\) and positive_sum \(2, 1, 3\) differ"),
        ({"negative_sum": np.zeros((2, 1, 2))}, r"\(2, 1, 3\) and negative_sum \(2, 1, 2\) differ"),
        ({"samples": [1, 2, 3]}, r"and samples \(3,\) differ"),
        ({"tokens": [9, 4]}, "fired on more tokens than there are"),
    ],
)
def test_statistics_that_contradict_themselves(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        statistics(**changes)


def test_masks() -> None:
    mask = NeuronMask("a", "act_fn", [0, 0, 2], [5, 6, 5])
    assert len(mask) == 3
    assert mask.layer.dtype == mask.neuron.dtype == np.int64
    assert len(NeuronMask("a", "act_fn", [], [])) == 0


@pytest.mark.parametrize(
    ("site", "layer", "neuron", "message"),
    [
        ("mlp", [0], [0], "mask of 'a': unknown site 'mlp'; known: act_fn"),
        ("act_fn", [0, 1], [0], "two lists of one length"),
        ("act_fn", [[0]], [[0]], "two lists of one length"),
        ("act_fn", [0, 1, 0], [3, 3, 3], "a neuron is listed twice"),
    ],
)
def test_masks_that_are_none(site: str, layer: list, neuron: list, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NeuronMask("a", site, layer, neuron)


def test_nothing_can_be_changed() -> None:
    sample = Sample("s1", "a", "food", "What?", ("x", "y"), 0)
    with pytest.raises(ConfigError, match="factor nan; expected a finite number"):
        NeuronMask("a", "act_fn", [0], [0], float("nan"))
    with pytest.raises(ConfigError, match="a culture occurs twice"):
        OwnMasks([NeuronMask("a", "act_fn", [0], [0])] * 2)
    for value, field in ((sample, "label"), (statistics(), "tokens"), (NeuronMask("a", "act_fn", [], []), "layer")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field, 1)


def test_users_errors_have_one_base() -> None:
    assert issubclass(ConfigError, CultureNeuronsError)


def test_units_that_a_layer_does_not_have_are_its_last_ones() -> None:
    sums = np.zeros((2, 3, 4))
    sums[:, 1, 2:] = sums[:, 2] = np.nan
    attributions = Attributions(["a", "b"], [1, 2], {"q_proj": sums, "k_proj": np.zeros((2, 3, 0))})
    assert (attributions.widths("q_proj"), attributions.widths("k_proj")) == ([4, 2, 0], [0, 0, 0])
    assert Attributions([], [], {"q_proj": np.zeros((0, 2, 5))}).widths("q_proj") == [5, 5]
    for culture, layer, unit in ((0, 0, 3), (slice(None), 0, 0), (slice(None), 1, 0)):
        wrong = sums.copy()
        wrong[culture, layer, unit] = np.nan
        with pytest.raises(ConfigError, match=r"q_proj holds values that are no numbers \(nan\), and not for all cult"):
            Attributions(["a", "b"], [1, 2], {"q_proj": wrong})


def test_widths_are_one_number_or_one_per_layer() -> None:
    assert widths_of_layers(5, 3).tolist() == [5, 5, 5]
    assert widths_of_layers([5, 0, 2], 3).tolist() == [5, 0, 2]
    assert (short_widths([5, 5]), short_widths([5, 0])) == (5, [5, 0])
    for wrong, layers in (([5, 5], 3), (-1, 2), ([1.5, 2], 2), ("5", 2)):
        with pytest.raises(ConfigError, match=r"units per layer .*; expected a whole number from 0 on, or [23]"):
            widths_of_layers(wrong, layers)
