"""What holds for every selector."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from culture_neurons import selectors
from culture_neurons.errors import ConfigError
from culture_neurons.selectors.selection import select
from culture_neurons.types import Statistics
from tests.conftest import examples

NAMES = list(selectors.SELECTORS)
RANKED = [name for name in NAMES if not selectors.SELECTORS[name].control]


def scored(name: str, statistics: Statistics) -> np.ndarray:
    """Scores by a selector's defaults; `mad` normalises no two cultures."""
    options = {"normalise": len(statistics.cultures) > 2} if name == "mad" else {}
    return selectors.score(name, statistics, **options)


@st.composite
def worlds(draw: st.DrawFn) -> Statistics:
    """Small statistics with many ties and dead neurons."""
    n = draw(st.integers(2, 5))
    shape = (n, draw(st.integers(1, 3)), draw(st.integers(1, 6)))
    tokens = np.array(draw(st.lists(st.integers(1, 12), min_size=n, max_size=n)))
    size = int(np.prod(shape))
    share = np.array(draw(st.lists(st.sampled_from([0, 0, 0.25, 0.5, 1.0]), min_size=size, max_size=size)))
    fired = np.floor(share.reshape(shape) * tokens[:, None, None]).astype(int)
    height = np.array(draw(st.lists(st.sampled_from([0.1, 0.3, 2.0]), min_size=size, max_size=size)))
    names = draw(st.permutations(["Ägypten", "b/c", "'quoted'", "..", "日本"]))[:n]
    positive_sum = fired * height.reshape(shape)
    # Two questions per culture, whose means of g are 1.5 and 0.5 times their mean; what never fires stays at 0.
    mean = 0.5 * positive_sum / tokens[:, None, None]
    return Statistics(names, tokens, fired, positive_sum, -0.5 * positive_sum, np.full(n, 2), 2 * mean, 2.5 * mean**2)


@examples(25)
@given(worlds(), st.data())
def test_reordering_cultures_reorders_scores_bit_for_bit(statistics, data):
    order = data.draw(st.permutations(range(len(statistics.cultures))))
    moved = statistics.reordered(order)
    for name in NAMES:
        np.testing.assert_array_equal(scored(name, moved), scored(name, statistics)[order])
        if not selectors.SELECTORS[name].needs_reference:
            one = select(scored(name, statistics), statistics.cultures, 1.0, selector=name)
            two = select(scored(name, moved), moved.cultures, 1.0, selector=name)
            assert one.equals(two)


@examples(25)
@given(worlds(), st.integers(2, 50))
def test_recording_every_token_k_times_changes_nothing(statistics, k):
    sums = {name: k * getattr(statistics, name) for name in ("tokens", "fired", "positive_sum", "negative_sum")}
    more = replace(statistics, **sums)
    for name in NAMES:
        np.testing.assert_allclose(scored(name, more), scored(name, statistics), rtol=1e-9, atol=1e-9, err_msg=name)


@examples(25)
@given(worlds())
def test_dead_neurons_are_never_chosen_and_no_score_is_nan(statistics):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in NAMES:
            scores = scored(name, statistics)
            assert scores.shape == statistics.fired.shape
            assert scores.dtype == np.float64
            assert not np.isnan(scores).any()
            if name in RANKED:
                mask = select(scores, statistics.cultures, 1.0, selector=name)
                alive = (statistics.fired.sum(axis=0) > 0)[mask["layer"], mask["neuron"]]
                assert alive.all(), name


@examples(20)
@given(worlds())
def test_scoring_leaves_the_statistics_alone(statistics):
    before = {name: values.copy() for name, values in statistics.arrays.items()}
    for name in NAMES:
        scored(name, statistics)
    assert all((values == before[name]).all() for name, values in statistics.arrays.items())


def test_unknown_names_are_refused_with_the_nearest_known_one(statistics):
    with pytest.raises(ConfigError, match=r"unknown selector 'lapee' \(did you mean 'lape'\?\); known: lap, lape,"):
        selectors.score("lapee", statistics)
    with pytest.raises(ConfigError, match=r"mad: unknown option 'normalize' \(did you mean 'normalise'\?\)"):
        selectors.score("mad", statistics, normalize=True)
    with pytest.raises(ConfigError, match="cas: unknown option 'seed'; known: none"):
        selectors.score("cas", statistics, seed=1)


def test_options_and_their_defaults():
    assert selectors.options("lape") == {"activation_quantile": 0.95, "bar_quantile": 0.95}
    assert selectors.options("mad") == {"normalise": True}
    assert selectors.options("random-matched") == {"seed": 0, "match": "cas"}
    assert selectors.options("effect-size") == {"floor": 0.9}
    assert selectors.options("conact") == {}


@pytest.mark.parametrize("name", RANKED)
def test_a_shift_of_the_moments_changes_no_score(name):
    # Resamples hold x - x_0 instead of x: selectors may use only what that leaves as it is.
    rng = np.random.default_rng(0)
    n, x = np.array([4, 5, 6]), rng.normal(3.0, 1.0, (15, 2, 30))
    near, owner = rng.normal(3.0, 1.0, (2, 30)), np.repeat(np.arange(3), n)
    sums = {"tokens": n * 9, "fired": rng.integers(0, 36, (3, 2, 30)), "positive_sum": rng.random((3, 2, 30))}

    def scores(values):
        mean, square = (np.stack([v[owner == c].sum(axis=0) for c in range(3)]) for v in (values, values**2))
        return selectors.score(name, Statistics(list("abc"), **sums, samples=n, mean_sum=mean, square_sum=square))

    np.testing.assert_allclose(scores(x - near), scores(x), rtol=1e-9)


def test_methods_and_matches_of_a_config():
    chosen = {"cas": None, "mine": {"method": "lape"}, "mad": {"normalise": False}}
    assert selectors.methods_by_name(chosen) == {"cas": "cas", "mine": "lape", "mad": "mad"}
    assert selectors.matched_selector({"match": "mine"}) == "mine"
    assert selectors.matched_selector({}) == selectors.options("random-matched")["match"]
