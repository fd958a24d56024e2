"""Stability of masks on a model with routed experts: resamples count the tokens of each expert anew."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from culture_neurons import selectors, store
from culture_neurons.analysis import neuron_cards, stability
from culture_neurons.selectors import selection
from tests import expert_statistics as made

FRACTION = "0.2"


@pytest.fixture
def path(tmp_path):
    return made.write(tmp_path / "statistics.h5", made.world())


def test_resamples_are_sums_over_the_tokens_that_reach_an_expert(path):
    given = made.world()
    with store.sample_sums(path) as sums, ThreadPoolExecutor(1) as pool:
        unit = [np.arange(len(ids)) for ids in sums.sample_ids]
        weights = stability.bootstrap_weights(sums.cultures, unit, 9, 0)
        blocks = [list(block) for block in stability.resample(sums, weights, pool, 16)]
    resample = blocks[0][5]
    drawn = {i: w for ids, w in zip(sums.sample_ids, weights, strict=True) for i, w in zip(ids, w[5], strict=True)}
    times = np.array([drawn[i] for i in given.ids])[:, None]
    mine = [np.array(given.cultures) == culture for culture in "abc"]
    np.testing.assert_array_equal(resample.tokens, [(times * given.tokens)[rows].sum(axis=0) for rows in mine])
    np.testing.assert_array_equal(resample.samples, [(times * (given.tokens > 0))[rows].sum(axis=0) for rows in mine])
    np.testing.assert_array_equal(resample.fired, [(times[..., None] * given.fired)[rows].sum(axis=0) for rows in mine])
    # Means of questions, up to one number for each neuron; questions that do not reach an expert add nothing.
    number = np.array([[made.column(layer, neuron) for neuron in range(12)] for layer in range(3)])
    n = given.tokens[:, number]
    x = np.where(n > 0, (given.positive + given.negative) / np.maximum(n, 1), 0)
    kept = resample.reached()
    questions = [resample.samples[c][number][kept] for c in range(3)]
    wanted = [(times[..., None] * x)[rows].sum(axis=0)[kept] / n for rows, n in zip(mine, questions, strict=True)]
    means = [sums[kept] / n for sums, n in zip(resample.mean_sum, questions, strict=True)]
    np.testing.assert_allclose(means[0] - means[2], wanted[0] - wanted[2], rtol=1e-4, atol=1e-5)


def test_masks_of_a_model_with_experts_are_measured(path):
    statistics, _ = store.read_statistics(path)
    chosen = []
    for method in ("lap", "cas", "mad", "effect-size"):
        scores = selectors.score(method, statistics).astype(np.float32)
        size = selection.budget_of_layers(FRACTION, made.EXPERTS.widths)
        flat = selection.select_indices(scores, [size], method)[0]
        values = [row.ravel()[indices] for row, indices in zip(scores, flat, strict=True)]
        chosen.append(stability.SelectedMasks(method, method, {}, [FRACTION], [flat], [values]))
    with store.sample_sums(path) as sums:
        table, neurons = stability.measure(sums, {}, chosen, statistics.probability, 20, 5, 0)
    rows = list(neurons)
    assert (table["n_neurons"] > 0).all()
    assert np.isfinite(table[["selected_again", "jaccard_bootstrap", "rank_correlation"]]).all(axis=None)
    # Of 23 neurons, not of the 36 that the widest layer would make.
    lap = table[table["selector"] == "lap"].iloc[0]
    assert lap["jaccard_chance"] == pytest.approx((5 * 5 / 23) / (10 - 5 * 5 / 23), rel=1e-6)
    assert all(np.isfinite(part["probability"]).all() for part in rows)


def test_cards_show_how_often_a_neuron_fires_where_its_expert_is_reached():
    given = made.world()
    layers, neurons = [1, 1, 2, 0], [5, 0, 0, 2]  # the first of an expert that b does not reach, the third of none's
    tokens = given.tokens[:, [made.column(*place) for place in zip(layers, neurons, strict=True)]]
    shown = neuron_cards.estimate_probabilities(given.cultures, given.ids, tokens, given.fired[:, layers, neurons], 50)
    np.testing.assert_allclose(shown.value, made.rates(given, given.fired)[:, layers, neurons].T)
    assert np.isnan(shown.low)[2].all()
    assert (shown.low[3] < shown.value[3]).all()
    active = neuron_cards.most_active(tokens, given.positive[:, layers, neurons], 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = given.positive[:, 1, 5] / tokens[:, 0]
    assert active[0][0] == (int(np.nanargmax(means)), pytest.approx(np.nanmax(means)))
    assert active[2] == []
