"""Masks of two runs, against examples by hand, plain loops and random masks."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from culture_neurons.analysis import compared_masks
from culture_neurons.analysis.compared_masks import BY_NAME, BY_QUESTIONS, match_cultures, tail
from tests.analysis.test_overlaps import masks


def questions(**cultures):
    """samples: culture -> numbers of its questions."""
    rows = [(f"q{i}", culture) for culture, numbers in cultures.items() for i in numbers]
    return pd.DataFrame(rows, columns=["sample_id", "culture"])


def test_cultures_are_the_same_by_name_or_by_their_questions():
    by_country = questions(Japan=[0, 1, 2], Kenya=[3, 4], Peru=[5])
    assert match_cultures(by_country, questions(Kenya=[9], Japan=[3])) == {
        "Japan": ("Japan", BY_NAME), "Kenya": ("Kenya", BY_NAME),
    }  # fmt: skip
    by_language = questions(Japanese=[0, 1], Swahili=[2, 3, 4], English=[8])
    assert match_cultures(by_country, by_language) == {
        "Japan": ("Japanese", BY_QUESTIONS), "Kenya": ("Swahili", BY_QUESTIONS),
    }  # fmt: skip
    # Of equals the first by name.
    assert match_cultures(questions(a=[0, 1]), questions(z=[0], y=[1])) == {"a": ("y", BY_QUESTIONS)}
    assert match_cultures(by_country, questions(Welsh=[8])) == {}


def test_shared_neurons_of_all_pairs_and_of_layers_by_hand():
    # Two layers of 10 neurons.
    one, other = masks(a=[0, 1, 2, 19], b=[3]), masks(a=[1, 2, 10, 11], c=[3])
    rows = list(compared_masks.compare(one, other, {"a": ("a", BY_NAME)}))
    assert [(r["culture"], r["other_culture"], r["layer"]) for r in rows] == [
        ("a", "a", None), ("a", "a", 0), ("a", "a", 1), ("a", "c", None), ("b", "a", None), ("b", "c", None),
    ]  # fmt: skip
    assert [r["matched"] for r in rows] == [BY_NAME] * 3 + [""] * 3
    whole, first, second = rows[:3]
    assert [(r["n_a"], r["n_b"], r["n_shared"]) for r in rows[:3]] == [(4, 4, 2), (3, 2, 2), (1, 2, 0)]
    assert [r["overlap"] for r in rows[:3]] == pytest.approx([2 / 6, 2 / 3, 0])
    assert whole["expected"] == pytest.approx(0.8 / 7.2)
    assert first["expected"] == pytest.approx(0.6 / 4.4)
    # Both of layer 0's two neurons among the other's three: C(3, 2) of C(10, 2) pairs; layer 1: none is sure.
    assert first["p_value"] == pytest.approx(3 / 45)
    assert second["p_value"] == pytest.approx(1)
    assert rows[5]["n_shared"] == 1
    assert rows[5]["p_value"] == pytest.approx(1 / 10)
    # Three quarters against one half of the neurons lie in the first layer.
    assert whole["depth_overlap"] == pytest.approx(0.75)
    assert 0 < whole["depth_expected"] < 1


def test_the_tail_is_that_of_all_masks():
    """Against a plain loop over all masks of these numbers of neurons per layer."""
    width, first, second = 5, (2, 1), (3, 2)
    fixed = [set(range(n)) for n in first]
    counts = np.zeros(4)
    for a in combinations(range(width), second[0]):
        for b in combinations(range(width), second[1]):
            counts[len(fixed[0] & set(a)) + len(fixed[1] & set(b))] += 1
    for shared in range(4):
        assert tail(shared, first, second, width) == pytest.approx(counts[shared:].sum() / counts.sum())
    assert np.isnan(tail(0, (0, 0), (1, 1), width))


def test_p_values_of_random_masks_are_fair():
    rng, shape, n = np.random.default_rng(0), (3, 40), (12, 3, 6)

    def draw():
        return masks(shape, a=np.concatenate([
            layer * shape[1] + np.sort(rng.choice(shape[1], k, replace=False)) for layer, k in enumerate(n)
        ]))  # fmt: skip

    p = [next(compared_masks.compare(draw(), draw(), {}))["p_value"] for _ in range(500)]
    for level in (0.05, 0.25):
        assert np.mean(np.array(p) <= level) <= level + 2.5 * np.sqrt(level * (1 - level) / 500)
    assert np.mean(p) == pytest.approx(0.58, abs=0.06)  # above a half: the number is whole


def test_models_of_other_sizes_are_compared_by_depth_alone():
    one, other = masks((2, 10), a=[0, 1]), masks((4, 10), a=[0, 12])
    (row,) = compared_masks.compare(one, other, {"a": ("a", BY_NAME)}, same_neurons=False)
    assert row["depth_overlap"] == pytest.approx(1.0)
    assert row["n_shared"] is None
    assert np.isnan([row["overlap"], row["expected"], row["p_value"]]).all()
    with pytest.raises(ValueError, match="no neurons in common"):
        list(compared_masks.compare(one, other, {}))
