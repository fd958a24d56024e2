from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from culture_neurons.errors import ConfigError
from culture_neurons.selectors.selection import COLUMNS, budget, fraction, select, top_indices
from tests.conftest import examples


def test_by_hand():
    scores = np.array([[[0.1, 0.9], [0.5, 0.0]], [[-np.inf, -1.0], [2.0, 2.0]]])
    mask = select(scores, ["b", "a"], 0.75)  # 3 neurons each
    assert list(mask.columns) == list(COLUMNS)
    assert mask[["culture", "layer", "neuron", "rank"]].to_numpy().tolist() == [
        ["a", 1, 0, 1], ["a", 1, 1, 2],
        ["b", 0, 1, 1], ["b", 1, 0, 2], ["b", 0, 0, 3],
    ]  # fmt: skip
    assert mask["score"].to_numpy().tolist() == [2.0, 2.0, np.float32(0.9), 0.5, np.float32(0.1)]
    assert mask["score"].dtype == np.float32
    assert set(mask["site"]) == {"act_fn"}


@examples(150)
@given(
    st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 0.5 + 1e-12, 1.0, np.inf]), min_size=12, max_size=12),
    st.integers(1, 12),
)
def test_naive_sort(values, size):
    scores = np.array(values).reshape(1, 3, 4)
    mask = select(scores, ["a"], size / 12)
    eligible = [(-float(np.float32(v)), i) for i, v in enumerate(values) if v > 0]
    expected = [divmod(i, 4) for _, i in sorted(eligible)[:size]]
    assert list(mask[["layer", "neuron"]].itertuples(index=False, name=None)) == expected


def test_masks_are_nested_in_the_fraction():
    scores = np.random.default_rng(0).integers(-3, 5, (2, 4, 50)).astype(float)
    large = select(scores, ["a", "b"], 0.3)
    small = select(scores, ["a", "b"], 0.1)
    assert small.equals(large[large["rank"] <= 20].reset_index(drop=True))


def test_ranking_happens_in_float32():
    # Equal once they are stored, so the order is that of the index, from memory and from a file alike.
    scores = np.array([[[0.5, 0.5 + 1e-12, 0.25]]])
    mask = select(scores, ["a"], 1 / 3)
    assert mask["neuron"].tolist() == [0]
    assert mask.equals(select(scores.astype(np.float32), ["a"], 1 / 3))


def test_a_budget_is_not_filled_with_scores_that_are_not_positive():
    scores = np.array([[[0.0, -1.0, -np.inf]], [[1.0, 0.0, 0.0]]])
    mask = select(scores, ["a", "b"], 1.0)
    assert mask[["culture", "neuron"]].to_numpy().tolist() == [["b", 0]]


def test_an_empty_mask_keeps_its_columns():
    mask = select(np.zeros((2, 1, 5)), ["a", "b"], 0.5)
    assert len(mask) == 0
    assert {c: str(t) for c, t in mask.dtypes.items()} == COLUMNS


def test_fraction_as_text_of_the_config():
    scores = np.random.default_rng(0).random((1, 1, 200))
    pd.testing.assert_frame_equal(select(scores, ["a"], "0.01"), select(scores, ["a"], 0.01))


@pytest.mark.parametrize("value", [0, -0.1, 1.0001, 5, "1 %", "", None, True, float("nan"), float("inf")])
def test_fraction_outside_the_range(value):
    with pytest.raises(ConfigError, match="top fraction"):
        fraction(value)


def test_budget():
    assert budget(0.01, 28, 18944) == 5304  # 5304.32
    assert budget(1, 4, 256) == 1024
    assert budget(0.5, 1, 5) == 2  # 2.5: a half goes to the even number
    with pytest.raises(ConfigError, match=r"0\.0001 of 4 layers x 256 neurons leaves no neuron"):
        budget(0.0001, 4, 256)


def test_top_of_many_ties():
    scores = np.ones(1000, dtype=np.float32)
    np.testing.assert_array_equal(top_indices(scores, 10), np.arange(10))


@pytest.mark.parametrize(("shape", "cultures"), [((2, 3), ["a", "b"]), ((2, 1, 3), ["a"]), ((2, 1, 3), ["a", "a"])])
def test_shapes_and_names_are_checked(shape, cultures):
    with pytest.raises(ConfigError, match="one name per culture"):
        select(np.ones(shape), cultures, 1.0)


def test_nan_scores_are_refused():
    with pytest.raises(ConfigError, match=r"culture 'b'.*nan"):
        select(np.array([[[1.0]], [[np.nan]]]), ["a", "b"], 1.0)


def test_unknown_site_and_selector():
    with pytest.raises(ConfigError, match="unknown site 'mlp'"):
        select(np.ones((1, 1, 1)), ["a"], 1.0, site="mlp")
    with pytest.raises(ConfigError, match="unknown selector"):
        select(np.ones((1, 1, 1)), ["a"], 1.0, selector="caz")
