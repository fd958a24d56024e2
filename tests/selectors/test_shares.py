"""Counts against exact fractions of the decimal texts, and against the published order of multiplication."""

from fractions import Fraction

import numpy as np
import pytest

from culture_neurons.analysis.planted_benchmark import degrade_labels
from culture_neurons.selectors import shares
from culture_neurons.selectors.lape import rank_value
from culture_neurons.selectors.module_choice import split_held_out
from culture_neurons.selectors.selection import budget

FRACTIONS = ["0.0005", "0.001", "0.003", "0.01", "0.015", "0.02", "0.05", "0.07", "0.1", "0.29", "0.35", "0.5", "0.95"]
NEURONS = (110, 150, 256, 455, 1000, 1536, 18944)
SHAPES = [(layers, neurons) for layers in (1, 3, 4, 7, 24, 28, 32) for neurons in NEURONS]


@pytest.mark.parametrize(("text", "layers", "neurons", "right"), [
    ("0.01", 7, 150, 10), ("0.1", 7, 455, 318), ("0.05", 3, 110, 16), ("0.01", 28, 18944, 5304), ("0.5", 1, 5, 2),
])  # fmt: skip
def test_budgets_by_hand(text, layers, neurons, right):
    assert budget(text, layers, neurons) == right


@pytest.mark.parametrize("text", FRACTIONS)
def test_budgets_are_the_published_product(text):
    """LAPE's code: round(len(entropies) * rate). Where the exact product is no half, it is the exact one rounded."""
    halves = 0
    for layers, neurons in SHAPES:
        exact = Fraction(text) * layers * neurons
        if round(exact) < 1:
            continue
        found = budget(text, layers, neurons)
        assert found == round(len(range(layers * neurons)) * float(text))
        if exact % 1 == Fraction(1, 2):
            halves += 1
            assert abs(found - exact) == Fraction(1, 2)
        else:
            assert found == round(exact)
    assert halves or text not in ("0.01", "0.05", "0.1", "0.5")


@pytest.mark.parametrize("text", FRACTIONS)
def test_ranks_and_shares_have_the_same_arithmetic(text):
    for n in (2, 10, 30, 50, 90, 110, 150, 330, 1050):
        published = round(n * float(text))
        assert rank_value(np.arange(1, n + 1), float(text)) == max(published, 1)
        assert len(split_held_out([f"q{i}" for i in range(n)], float(text))[1]) == min(max(published, 1), n - 1)
        labels = [f"c{i:04}" for i in range(n)]  # each label once, so that the exchanged ones can be counted
        changed = sum(
            a != b for a, b in zip(degrade_labels(labels, labels, None, float(text), 0, 0), labels, strict=True)
        )
        assert changed <= published


@pytest.mark.parametrize(("fraction", "size", "expected"), [(0.29, 100, 29), (0.01, 530_432, 5304), (0.1, 9, 0)])
def test_counts_are_floored_as_written(fraction, size, expected):
    assert shares.floored(fraction, size) == expected


@pytest.mark.parametrize("text", FRACTIONS)
def test_floors_are_those_of_exact_fractions(text):
    for n in range(0, 3000, 7):
        assert shares.floored(float(text), n) == int(Fraction(text) * n)


def test_products_of_written_numbers_are_exact():
    assert shares.scaled(0.01, 0.03, 0.01) == 0.03
    assert shares.scaled(0.002, 0.3, 0.01) == 0.06
    assert shares.scaled(0.01, 1.0, 0.01) == shares.scaled(0.3, 0.9, 0.01) == 1.0
