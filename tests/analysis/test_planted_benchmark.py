"""The benchmark on made-up planted neurons: it finds selectors good and bad where they are."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from culture_neurons.analysis import mask_effects, planted_benchmark
from culture_neurons.analysis.planted_benchmark import (
    average_precision,
    benchmark,
    degrade_labels,
    precision_and_recall,
    select_masks,
    target_neurons,
)
from culture_neurons.errors import FileError
from culture_neurons.selectors import selection
from culture_neurons.types import Statistics

CULTURES, LAYERS, NEURONS, TOKENS = ["a", "b", "c", "d"], 2, 60, 20
CHOSEN = {
    "cas": {}, "lap": {}, "lape": {"activation_quantile": 0.8, "bar_quantile": 0.8}, "mad": {}, "effect-size": {},
    "random": {"seed": 1}, "matched": {"method": "random-matched", "match": "cas"},
}  # fmt: skip
#: 6 of 120 neurons are planted per culture.
FRACTION = "0.05"


def world(branch, per_culture=20, seed=0):
    """Recorded sums of questions, and planted neurons that act through one branch of g.

    branch   "fire": planted neurons fire for their own culture, and are silent else
             "negative": g < 0 for everyone, and only further from 0 for the own culture
    """
    rng = np.random.default_rng(seed)
    cultures = [name for name in CULTURES for _ in range(per_culture)]
    shape = (len(cultures), LAYERS, NEURONS)
    rate = rng.beta(0.5, 1.0, (LAYERS, NEURONS))  # how often other neurons fire, whatever the culture
    fired = rng.binomial(TOKENS, np.broadcast_to(rate, shape))
    positive = fired * rng.lognormal(0, 0.3, shape)
    negative = -(TOKENS - fired) * 0.1 * rng.lognormal(0, 0.3, shape)
    places = rng.permutation(LAYERS * NEURONS)[:24].reshape(4, 6)
    rows = []
    for c, name in enumerate(CULTURES):
        own = np.array([culture == name for culture in cultures])
        for flat in places[c]:
            layer, neuron = divmod(int(flat), NEURONS)
            if branch == "fire":
                fired[:, layer, neuron] = np.where(own, rng.binomial(TOKENS, 0.9, len(own)), 0)
                positive[:, layer, neuron] = fired[:, layer, neuron] * rng.lognormal(0, 0.3, len(own))
                negative[:, layer, neuron] = -(TOKENS - fired[:, layer, neuron]) * 0.1
            else:
                fired[:, layer, neuron] = 0
                positive[:, layer, neuron] = 0
                negative[:, layer, neuron] = -TOKENS * np.where(own, 0.2, 0.02) * rng.lognormal(0, 0.3, len(own))
            rows.append((name, "act_fn", layer, neuron))
    planted = pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron"])
    return cultures, (fired, positive, negative), planted


def reader(cultures, sums):
    """What `store.read_statistics` does, in memory."""
    fired, positive, negative = sums
    ids = [f"{i:03d}" for i in range(len(cultures))]

    def read(relabel):
        labels = relabel(ids, cultures)
        names = sorted(set(labels) - {""})
        own = np.array([[label == name for label in labels] for name in names], dtype=float)
        mean = (positive + negative) / TOKENS
        added = [np.tensordot(own, values, 1) for values in (fired, positive, negative, mean, mean**2)]
        n = own.sum(axis=1)
        return Statistics(names, TOKENS * n, added[0].round(), added[1], added[2], n, *added[3:])

    return read


def run(branch, chosen=CHOSEN, **options):
    cultures, sums, planted = world(branch)
    settings = {"samples": [5], "noise": [0.5], "repeats": 3, "seed": 1} | options
    return benchmark(reader(cultures, sums), planted, chosen, [FRACTION], **settings)


def plain(table):
    """Per selector, the rows of all questions with their own cultures."""
    part = table[(table["samples_per_culture"] == "all") & (table["label_noise"] == 0)]
    return part.set_index("selector")


def test_neurons_that_fire_are_found_by_selectors_that_count_firing():
    found = plain(run("fire"))
    for selector in ("cas", "lape", "mad", "effect-size"):
        assert found.loc[selector, "average_precision"] > 0.9, selector
        assert found.loc[selector, "precision"] > 0.9, selector
        assert found.loc[selector, "recall"] > 0.9, selector
    for control in ("random", "matched"):
        assert found.loc[control, "average_precision"] < 0.2, control
        assert found.loc[control, "precision"] < 0.25, control


def test_neurons_of_the_negative_branch_are_found_by_the_effect_size_alone():
    found = plain(run("negative"))
    chance = found["chance"].iloc[0]
    assert chance == 6 / 120
    for selector in ("cas", "lap", "lape", "mad", "random"):
        assert found.loc[selector, "average_precision"] < 3 * chance, selector
        assert not found.loc[selector, "precision"] > 3 * chance, selector
    assert found.loc["effect-size", "average_precision"] > 0.9
    assert found.loc["effect-size", "recall"] > 0.9


def test_wrong_labels_and_few_questions_make_a_good_selector_worse():
    chosen = {"cas": {}, "lap": {}}
    table = run("fire", chosen, samples=[2], noise=[0.9], repeats=4).set_index(
        ["selector", "samples_per_culture", "label_noise"]
    )
    good, few, wrong = (table.loc["cas"].loc[key] for key in (("all", 0.0), ("2", 0.0), ("all", 0.9)))
    assert good["average_precision"] >= few["average_precision"]
    assert wrong["average_precision"] < 0.8 * good["average_precision"]
    assert (good["repeats"], few["repeats"], wrong["repeats"]) == (1, 4, 4)
    assert np.isnan(good["average_precision_sd"])
    assert wrong["average_precision_sd"] > 0


def test_effective_neurons_are_a_target_of_their_own():
    cultures, sums, planted = world("fire")
    planted["logprob_drop"] = [-0.5, -0.05, 0, 0, 0, 0.3] * 3 + [0.0] * 6  # one in each of three cultures, none in d
    table = plain(benchmark(reader(cultures, sums), planted, {"cas": {}}, [FRACTION], [], [], 1, 0))
    assert table.set_index("target")[["n_cultures", "n_target"]].to_numpy().tolist() == [[4, 24], [3, 3]]
    effective = table.set_index("target").loc["effective"]
    assert effective["chance"] == 1 / 120
    assert effective["precision"] < 0.25
    assert effective["recall"] > 0.9


def naive(scores, target):
    """The same, one threshold after the other."""
    ranked = np.maximum(scores.astype(np.float32), 0)
    area, before = 0.0, 0.0
    for threshold in sorted(set(ranked.tolist()), reverse=True):
        taken = ranked >= threshold
        hits = sum(1 for t, chosen in zip(target, taken, strict=True) if t and chosen)
        recall = hits / sum(target)
        area += (recall - before) * hits / sum(taken)
        before = recall
    return area


@given(st.lists(st.tuples(st.sampled_from([-np.inf, -1.0, 0.0, 0.1, 0.5, 0.7, 2.0]), st.booleans()), min_size=1))
def test_average_precision_is_that_of_a_naive_loop(pairs):
    scores, target = np.array([s for s, _ in pairs]), np.array([t for _, t in pairs])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = average_precision(scores, target)
    if target.any():
        assert found == pytest.approx(naive(scores, target.tolist()))
    else:
        assert np.isnan(found)


def test_average_precision_by_hand():
    target = np.array([True, False, True, False])
    assert average_precision(np.array([4, 3, 2, 1.0]), target) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([0, -1, 0, -np.inf]), target) == 0.5  # never chosen: no order
    # The last digits of a float64 decide nothing, as in a mask.
    assert average_precision(np.array([1, 1 + 1e-12, 1, 1]), target) == 0.5


def test_precision_and_recall_are_those_of_the_tables():
    cultures, sums, planted = world("fire")
    statistics = reader(cultures, sums)(lambda ids, names: names)
    truth = target_neurons(planted, statistics.cultures, (LAYERS, NEURONS), "")["planted"]
    for _, of_fraction in select_masks(statistics, CHOSEN, ["0.02", "0.1"], "act_fn").values():
        for mask in of_fraction.values():
            expected = mask_effects.recovery(mask, planted, statistics.cultures)
            assert precision_and_recall(mask, statistics.cultures, truth) == pytest.approx(
                (expected["precision"].mean(), expected["recall"].mean()), nan_ok=True
            )


def test_masks_are_those_of_the_run():
    cultures, sums, _ = world("fire")
    statistics = reader(cultures, sums)(lambda ids, names: names)
    made = select_masks(statistics, CHOSEN, [FRACTION], "act_fn")
    assert list(made) == list(CHOSEN)
    scores, of_fraction = made["cas"]
    assert of_fraction[FRACTION].equals(selection.select(scores, statistics.cultures, FRACTION, selector="cas"))
    sizes = [made[name][1][FRACTION].groupby(["culture", "layer"]).size() for name in ("cas", "matched")]
    assert sizes[0].equals(sizes[1])


def test_a_mask_of_nothing_has_no_precision():
    truth = np.zeros((2, 1, 3), dtype=bool)
    truth[0, 0, 0] = True
    empty = pd.DataFrame({"culture": [], "layer": np.empty(0, int), "neuron": np.empty(0, int)})
    precision, recall = precision_and_recall(empty, ["a", "b"], truth)
    assert np.isnan(precision)
    assert recall == 0


def test_labels_are_drawn_and_exchanged():
    ids = [f"{i:02d}" for i in range(40)]
    cultures = ["a"] * 22 + ["b"] * 15 + ["c"] * 3
    assert degrade_labels(ids, cultures, None, 0.0, 1, 0) == cultures
    few = degrade_labels(ids, cultures, 5, 0.0, 1, 0)
    assert {name: few.count(name) for name in "abc"} == {"a": 5, "b": 5, "c": 3}
    assert all(new in ("", old) for new, old in zip(few, cultures, strict=True))
    more = degrade_labels(ids, cultures, 10, 0.0, 1, 0)
    assert {i for i, name in enumerate(few) if name} < {i for i, name in enumerate(more) if name}
    assert degrade_labels(ids, cultures, 5, 0.0, 1, 1) != few
    wrong = degrade_labels(ids, cultures, 5, 0.5, 1, 0)
    assert [bool(name) for name in wrong] == [bool(name) for name in few]
    assert sorted(wrong) == sorted(few)
    changed = sum(new != old for new, old in zip(wrong, few, strict=True))
    assert 0 < changed <= 6
    assert wrong == degrade_labels(ids, cultures, 5, 0.5, 1, 0)


@pytest.mark.parametrize(("samples", "noise", "repeats"), [
    ([1], [], 4), ([20], [], 1), ([99], [], 1), ([], [0.5], 4), ([], [0.01], 1), ([20], [0.018], 1), ([20], [0.019], 4),
])  # fmt: skip
def test_draws_that_cannot_differ_are_one_draw(samples, noise, repeats):
    """80 questions, 20 of each culture: 20 draw them all, and 0.018 of them are one label, exchanged with itself."""
    table = run("fire", {"cas": {}}, samples=samples, noise=noise, repeats=4)
    keys = (str(samples[0]) if samples else "all"), (noise[0] if noise else 0.0)
    row = table.set_index(["samples_per_culture", "label_noise"]).loc[keys]
    assert row["repeats"] == repeats
    assert np.isnan(row["recall_sd"]) == (repeats == 1)


def test_a_target_without_neurons_has_no_chance_level():
    cultures, sums, planted = world("fire")
    planted["logprob_drop"] = 0.0
    table = plain(benchmark(reader(cultures, sums), planted, {"cas": {}}, [FRACTION], [], [], 1, 0))
    row = table.set_index("target").loc["effective"]
    assert (row["n_cultures"], row["n_target"]) == (0, 0)
    assert row[["chance", "precision", "recall", "average_precision"]].isna().all()
    assert table.set_index("target").loc["planted", "chance"] == 6 / 120


def test_planted_neuron_outside_the_model_is_refused():
    cultures, sums, planted = world("fire")
    planted.loc[0, "neuron"] = NEURONS
    with pytest.raises(FileError, match=r"x/planted\.csv: a planted neuron is outside the model \(2 layers of 60"):
        benchmark(reader(cultures, sums), planted, {"cas": {}}, ["0.1"], [], [], 1, 0, source="x/planted.csv")


def test_columns_are_documented_ones_in_order():
    assert list(run("fire", {"cas": {}}, repeats=2)) == planted_benchmark.COLUMNS
