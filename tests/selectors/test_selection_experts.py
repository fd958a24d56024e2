"""Selectors on a model with routed experts: the neurons that tokens of every culture reach, each by its own tokens."""

import logging

import numpy as np
import pytest

from culture_neurons import files, selectors, store
from culture_neurons.errors import ConfigError
from culture_neurons.selectors import selection
from culture_neurons.steps import select
from culture_neurons.types import Experts, Statistics
from tests import expert_statistics as made

FRACTION = "0.3"


@pytest.fixture
def statistics(tmp_path):
    return store.read_statistics(made.write(tmp_path / "statistics.h5", made.world()))[0]


def reached(layer, neuron):
    """Whether tokens of all cultures reach a neuron; None for one that is absent."""
    if neuron >= made.EXPERTS.widths[layer]:
        return None
    count = made.EXPERTS.counts[layer]
    expert = neuron // (made.EXPERTS.widths[layer] // count) if count else None
    return not any((layer, expert) in places for places in made.UNREACHED.values())


EVERYWHERE = [(layer, neuron) for layer in range(3) for neuron in range(12)]


@pytest.mark.parametrize("method", selectors.SELECTORS)
def test_only_neurons_that_all_cultures_reach_have_scores(statistics, method):
    scores = selectors.score(method, statistics)
    for layer, neuron in EVERYWHERE:
        of_neuron, wanted = scores[:, layer, neuron], reached(layer, neuron)
        if wanted is None:
            assert np.isnan(of_neuron).all()
        elif not wanted:
            assert (of_neuron == -np.inf).all()
        else:
            assert not np.isnan(of_neuron).any()
    assert selection.layer_widths(scores).tolist() == list(made.EXPERTS.widths)


def test_scores_are_those_of_a_loop(statistics):
    given = made.world()
    p, m = made.rates(given, given.fired), made.rates(given, given.positive)
    scores = {name: selectors.score(name, statistics) for name in ("lap", "cas", "mad")}
    for layer, neuron in EVERYWHERE:
        if not reached(layer, neuron):
            continue
        of_neuron = p[:, layer, neuron]
        np.testing.assert_allclose(scores["lap"][:, layer, neuron], of_neuron)
        largest, second = np.sort(of_neuron)[::-1][:2]
        cas = [largest - second if value == largest and largest > second else 0.0 for value in of_neuron]
        np.testing.assert_allclose(scores["cas"][:, layer, neuron], cas, atol=1e-12)
        means = m[:, layer, neuron]
        mad = [(means[c] - np.delete(means, c).mean()) / means.std() if means.std() else 0.0 for c in range(3)]
        np.testing.assert_allclose(scores["mad"][:, layer, neuron], mad, rtol=1e-9, atol=1e-9)


def test_effect_sizes_are_those_of_the_questions_that_reach_an_expert(statistics):
    given, expected, spreads = made.world(), {}, []
    for layer, neuron in EVERYWHERE:
        if not reached(layer, neuron):
            continue
        n = given.tokens[:, made.column(layer, neuron)]
        x = (given.positive + given.negative)[:, layer, neuron] / np.maximum(n, 1)
        for c, culture in enumerate("abc"):
            own = np.array([name == culture for name in given.cultures])
            one, rest = x[own & (n > 0)], x[~own & (n > 0)]
            within = ((one - one.mean()) ** 2).sum() + ((rest - rest.mean()) ** 2).sum()
            spread = np.sqrt(within / (len(one) + len(rest) - 2))
            expected[c, layer, neuron] = abs(one.mean() - rest.mean()), spread
            spreads.append(spread)
    s_0 = np.sort(spreads)[round(0.9 * len(spreads)) - 1]
    scores = selectors.score("effect-size", statistics)
    for place, (difference, spread) in expected.items():
        np.testing.assert_allclose(scores[place], difference / (spread + s_0), rtol=1e-9, atol=1e-12)


def test_a_question_or_two_show_no_effect():
    """Two neurons: of the first, two questions reach the expert; of the second, four."""
    column = np.array([[1, 2]])
    sums = np.array([[[1.0, 2.0]], [[5.0, 9.0]]])
    statistics = Statistics(["a", "b"], [[9, 1, 2], [9, 1, 2]], np.ones((2, 1, 2)), sums, samples=[[2, 1, 2]] * 2,
                            mean_sum=sums, square_sum=sums**2, column=column)  # fmt: skip
    scores = selectors.score("effect-size", statistics, floor=0)
    assert scores[:, 0, 0].tolist() == [0, 0]
    assert (scores[:, 0, 1] > 0).all()


@pytest.mark.parametrize("method", selectors.SELECTORS)
def test_where_all_neurons_are_reached_scores_are_those_of_a_model_without_experts(method):
    """As many tokens reach each of two experts as there are: only the bookkeeping differs."""
    rng = np.random.default_rng(0)
    fired, sums = rng.integers(0, 9, (3, 2, 6)), rng.exponential(size=(3, 2, 6))
    more = {"mean_sum": sums, "square_sum": sums**2}
    plain = Statistics(list("abc"), [9] * 3, fired, sums, samples=[4] * 3, **more)
    column = np.repeat([[1, 2]], 3, axis=1).repeat(2, axis=0)
    routed = Statistics(list("abc"), [[9] * 3] * 3, fired, sums, samples=[[4] * 3] * 3, **more, column=column)
    np.testing.assert_allclose(selectors.score(method, routed), selectors.score(method, plain), rtol=1e-12)


def test_cultures_in_another_order_give_the_same_scores(statistics):
    for method in selectors.SELECTORS:
        other = selectors.score(method, statistics.reordered([2, 0, 1]))
        np.testing.assert_array_equal(other, selectors.score(method, statistics)[[2, 0, 1]])


@pytest.mark.parametrize("method", selectors.SELECTORS)
def test_masks_hold_reached_neurons_alone(statistics, method):
    size = selection.budget_of_layers(FRACTION, made.EXPERTS.widths)
    assert size == round(0.3 * 23)
    cas = selection.select(selectors.score("cas", statistics), statistics.cultures, FRACTION)
    more = {"statistics": statistics, "reference": cas} if method == "random-matched" else {}
    mask = selection.select(selectors.score(method, statistics), statistics.cultures, FRACTION, selector=method, **more)
    assert len(mask)
    assert all(reached(layer, neuron) for layer, neuron in zip(mask["layer"], mask["neuron"], strict=True))
    if method == "random":
        assert mask["culture"].value_counts().to_dict() == dict.fromkeys("abc", size)
    if method == "random-matched":
        assert mask.groupby(["culture", "layer"], observed=True).size().equals(
            cas.groupby(["culture", "layer"], observed=True).size()
        )


def test_scores_without_a_number_inside_of_a_layer_are_refused():
    scores = np.ones((2, 2, 4))
    scores[:, 1, 2] = np.nan
    with pytest.raises(ConfigError, match="no numbers"):
        selection.select(scores, ["a", "b"], "0.5")
    scores[:, 1, 3] = np.nan
    assert len(selection.select(scores, ["a", "b"], "0.5")) == 2 * 3
    scores[1, 1, 2] = 1
    with pytest.raises(ConfigError, match="no numbers"):
        selection.select(scores, ["a", "b"], "0.5")


def test_where_no_expert_is_reached_by_all_cultures_nothing_is_scored(tmp_path):
    fired = np.zeros((2, 1, 2))
    statistics = Statistics(["a", "b"], [[1, 1, 0], [1, 0, 1]], fired, fired, column=np.array([[1, 2]]))
    assert (selectors.score("lap", statistics) == -np.inf).all()
    with store.statistics_writer(
        tmp_path / "s.h5", ["0", "1"], ["a", "b"], "act_fn", 1, 2, {}, experts=Experts((2,), (2,))
    ) as writer:  # fmt: skip
        writer.write(["0", "1"], np.array([[1, 1, 0], [1, 0, 1]]), fired.astype(int), fired)
    words = ["--statistics", tmp_path / "s.h5", "--selector", "lap", "--top-fraction", "0.5",
             "--scores-out", tmp_path / "lap.h5", "--masks-out", tmp_path / "m.parquet"]  # fmt: skip
    with pytest.raises(ConfigError, match="no expert is reached by tokens of every culture"):
        select.main(select.arguments().parse_args(list(map(str, words))))


def test_the_step_says_how_many_experts_are_left_out(tmp_path, caplog):
    made.write(tmp_path / "statistics.h5", made.world())
    caplog.set_level(logging.INFO)
    words = ["--statistics", tmp_path / "statistics.h5", "--selector", "cas", "--top-fraction", FRACTION,
             "--scores-out", tmp_path / "s.h5", "--masks-out", tmp_path / "m.parquet"]  # fmt: skip
    select.main(select.arguments().parse_args(list(map(str, words))))
    assert "b: no token reaches 2 of 5 experts" in caplog.text
    assert "2 of 5 experts are left out, which tokens of some culture never reach; 16 of 23 neurons" in caplog.text
    metadata = files.read_table(tmp_path / "m.parquet")[1]
    assert metadata["experts"] == {"widths": [5, 12, 6], "counts": [0, 3, 2]}
    assert (metadata["layers"], metadata["neurons"], metadata["budget"]) == (3, 12, 7)
