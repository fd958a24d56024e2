from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from culture_neurons import selectors
from culture_neurons.analysis import p_values, paired_changes, shuffled_labels, strengths
from culture_neurons.analysis.mask_effects import Baseline, Changes
from culture_neurons.errors import FileError
from culture_neurons.selectors import selection
from culture_neurons.types import Statistics
from tests.analysis.test_verdicts import change, world
from tests.conftest import slow

CULTURES = ["a", "b", "c", "d", "e"]
LAYERS, NEURONS, TOKENS = 2, 40, 50


def outcomes(base, permutations, rng):
    rows = [
        (p, q, bool(rng.random() < 0.7), rng.normal(-2, 1, 4).astype(np.float32))
        for p in range(permutations) for q in base.sample_id
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["permutation", "sample_id", "correct", "logprobs"]).sample(
        frac=1, random_state=1
    )


def test_own_changes_by_hand():
    _, base = world(2, 3)
    table = outcomes(base, 2, np.random.default_rng(0))
    own = shuffled_labels.null_changes(base, table, 2, "again", "base")
    for row in table.itertuples():
        at = row.permutation, list(base.sample_id).index(row.sample_id)
        assert own["accuracy"][at] == 100.0 * (int(row.correct) - 1)
        lp = row.logprobs.astype(float)
        assert own["logprob"][at] == pytest.approx(lp[0] - np.log(np.exp(lp).sum()))


@pytest.mark.parametrize("damage", ["missing", "twice", "strange", "number"])
def test_questions_that_do_not_fit_are_refused(damage):
    _, base = world(2, 3)
    table = outcomes(base, 2, np.random.default_rng(0))
    if damage == "missing":
        table = table.iloc[1:]
    elif damage == "twice":
        table = pd.concat([table, table.iloc[:1]])
    elif damage == "strange":
        table = table.assign(sample_id=["?", *table["sample_id"].iloc[1:]])
    with pytest.raises(FileError, match=r"^again\.parquet and base\.parquet do not hold the same questions"):
        shuffled_labels.null_changes(base, table, 3 if damage == "number" else 2, "again.parquet", "base.parquet")


def test_p_values_by_hand():
    names, base = world(2, 2)
    paired = paired_changes.pair(base, change(np.random.default_rng(0), names, base))
    for measure, scale in (("accuracy", 10.0), ("logprob", 1.0)):
        paired.own[measure][:] = np.array([-1, -3, -4, -4]) * scale  # means -2 and -4, in all -3
    null = np.array([[-3, -2, 0, 0], [-1, -2, -4, -4], [0, 0, -9, -1], [0, 0, 0, 0]])
    table = shuffled_labels.permutation_test(base, paired, {"accuracy": null * 10.0, "logprob": null * 1.0})
    assert table["culture"].tolist() == ["", "", "c0", "c0", "c1", "c1"]
    nats = table[table["measure"] == "logprob"].set_index("culture")
    assert nats["observed"].to_dict() == {"": -3, "c0": -2, "c1": -4}
    # Means per permutation: c0 -2.5, -1.5, 0, 0; c1 0, -4, -5, 0; in all -1.25, -2.75, -2.5, 0. Ties count.
    assert nats["null"].to_dict() == {"": -1.625, "c0": -1.0, "c1": -2.25}
    assert nats["p_value"].to_dict() == {"": 1 / 5, "c0": 2 / 5, "c1": 3 / 5}
    assert (table["permutations"] == 4).all()
    points = table[table["measure"] == "accuracy"]
    np.testing.assert_allclose(points["observed"].to_numpy(), 10 * nats["observed"].to_numpy())
    assert points["n"].tolist() == [4, 2, 2]


def unasked():
    """Two masks and no question of their cultures."""
    names, base = world(2, 3)
    made, none = change(np.random.default_rng(0), names, base), slice(0, 0)
    base = replace(base, **{f.name: getattr(base, f.name)[none] for f in fields(base)})
    return base, replace(made, **{f.name: getattr(made, f.name)[:, none] for f in fields(made) if f.name != "masks"})


def test_without_questions_nothing_is_compared():
    """p was 1 / (1 + permutations): a comparison with no number is none of a loss that is rare."""
    base, made = unasked()
    paired = paired_changes.pair(base, made)
    table = shuffled_labels.permutation_test(base, paired, {m: np.zeros((99, 0)) for m in paired_changes.UNITS})
    assert table[["culture", "measure", "n", "permutations"]].values.tolist() == [
        ["", "accuracy", 0, 99], ["", "logprob", 0, 99],
    ]  # fmt: skip
    assert table[["observed", "null", "null_low", "null_high", "p_value"]].isna().all(axis=None)
    table = strengths.dose_response(base, {1.0: paired}, 50, 0)
    assert (table["n"] == 0).all()
    assert table[strengths.COLUMNS[3:-1]].isna().all(axis=None)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_questions_have_a_change_and_p_no_smaller_than_permutations_say(n):
    names, base = world(2, n)
    paired = paired_changes.pair(base, change(np.random.default_rng(0), names, base, own=1.0))
    null = {"accuracy": np.zeros((3, 2 * n)), "logprob": np.zeros((3, 2 * n))}
    table = shuffled_labels.permutation_test(base, paired, null)
    assert (table["observed"] < 0).all()
    assert (table["p_value"] == 1 / 4).all()
    same = shuffled_labels.permutation_test(base, paired, {m: np.repeat(paired.own[m][None], 3, axis=0) for m in null})
    assert (same["p_value"] == 1).all()  # where nothing changes, nothing is shown


def test_labels_that_no_shuffle_changes_are_no_null():
    names, base = world(3, 4)
    paired = paired_changes.pair(base, change(np.random.default_rng(0), names, base, own=1.0))
    table = shuffled_labels.permutation_test(base, paired, {m: np.zeros((19, 12)) for m in paired_changes.UNITS})
    null = ["null", "null_low", "null_high", "p_value"]
    some = shuffled_labels.clear_unshuffled(table, {"c0": 7, "c1": 0, "c2": 12})
    empty = some[null].isna().all(axis=1)
    assert set(some.loc[empty, "culture"]) == {"c1"}
    assert some[null].isna().any(axis=1).equals(empty)
    pd.testing.assert_frame_equal(some.drop(columns=null), table.drop(columns=null))
    assert shuffled_labels.clear_unshuffled(table, {"c0": 0, "c1": 0, "c2": 0})[null].isna().all(axis=None)


def test_doses_are_means_with_intervals_on_the_same_draws():
    names, base = world(4, 15)
    by_strength = {}
    for strength in (1.0, 0.5):
        rng = np.random.default_rng(5)
        part = change(rng, names, base, own=0.5)
        part = Changes(part.masks, part.correct, part.gained, part.lost, part.flipped, part.well_formed,
                       part.logprob * strength)  # fmt: skip
        by_strength[strength] = paired_changes.pair(base, part)
    table = strengths.dose_response(base, by_strength, 300, 1)
    assert table["strength"].tolist() == [0.5, 0.5, 1.0, 1.0]
    half, whole = (table[(table["strength"] == s) & (table["measure"] == "logprob")].iloc[0] for s in (0.5, 1.0))
    for column in ("self", "self_low", "self_high", "cross", "cross_low", "specificity", "specificity_high"):
        assert half[column] == pytest.approx(whole[column] / 2)
    assert whole["specificity"] == pytest.approx(whole["self"] - whole["cross"])
    assert whole["self_low"] < whole["self"] < whole["self_high"] < whole["cross_low"]


class Simulation:
    """A made-up model: neurons with an importance of their own, that fire alike for all cultures or do not.

    Zeroing a mask costs a question the importance of its neurons, times how strongly they fire on this question.
    """

    def __init__(self, seed: int, effect: float) -> None:
        self.rng = np.random.default_rng(seed)
        per_culture = 12
        self.culture = np.repeat(CULTURES, per_culture)
        rate = self.rng.beta(1, 3, (LAYERS, NEURONS))
        shift = np.zeros((len(CULTURES), LAYERS, NEURONS))
        for c in range(len(CULTURES)):
            shift[c, :, 4 * c : 4 * c + 4] = effect  # neurons of this culture
        p = np.clip(rate + np.repeat(shift, per_culture, axis=0), 0, 1)
        self.fired = self.rng.binomial(TOKENS, p)  # of the identify questions
        self.on_question = self.rng.binomial(TOKENS, p) / TOKENS  # of the evaluate questions
        self.importance = self.rng.exponential(0.05, (LAYERS, NEURONS))
        n = len(self.culture)
        ids = np.array([f"q{i:03d}" for i in range(n)], dtype=object)
        self.noise = self.rng.normal(0, 0.02, (n,))
        yes = np.ones(n, dtype=bool)
        self.base = Baseline(ids, self.culture.astype(object), ids, np.zeros(n, int), np.zeros(n, int), yes, yes,
                             np.zeros(n), np.full(n, 4))  # fmt: skip

    def masks(self, labels) -> dict[str, np.ndarray]:
        """culture -> bool [layer, neuron], by the real selector and choice."""
        fired = np.stack([self.fired[labels == name].sum(axis=0) for name in CULTURES])
        tokens = np.array([TOKENS * (labels == name).sum() for name in CULTURES])
        statistics = Statistics(CULTURES, tokens, fired, fired.astype(float))
        table = selection.select(selectors.score("cas", statistics), CULTURES, 0.05)
        found = {name: np.zeros((LAYERS, NEURONS), dtype=bool) for name in CULTURES}
        for row in table.itertuples():
            found[row.culture][row.layer, row.neuron] = True
        return found

    def cost(self, mask: np.ndarray) -> np.ndarray:
        """Change in nats, per question."""
        return -(self.on_question * self.importance * mask).sum(axis=(1, 2)) + self.noise

    def test(self, permutations: int) -> pd.DataFrame:
        nats = np.stack([self.cost(mask) for mask in self.masks(self.culture).values()])
        no = np.zeros(nats.shape, dtype=bool)
        paired = paired_changes.pair(self.base, Changes(CULTURES, ~no, no, no, no, ~no, nats))
        own = np.empty((permutations, len(self.culture)))
        for number in range(permutations):
            labels = np.array(p_values.shuffle_labels(self.culture, self.base.unit, 0, number))
            for name, mask in self.masks(labels).items():
                part = self.culture == name
                own[number, part] = self.cost(mask)[part]
        table = shuffled_labels.permutation_test(self.base, paired, {"logprob": own, "accuracy": np.zeros_like(own)})
        return table[table["measure"] == "logprob"]


@pytest.mark.parametrize("runs", [12, slow(100)])
def test_without_a_culture_effect_the_chain_finds_one_as_often_as_it_may(runs):
    """Labels say nothing about neurons: 5 % of the cultures are significant at 5 %, and of the means over cultures."""
    found = pd.concat([Simulation(seed, effect=0.0).test(19).assign(run=seed) for seed in range(runs)])
    for whole in (True, False):
        p = found.loc[(found["culture"] == "") == whole, "p_value"]
        hits = int((p <= 0.05).sum())
        assert binomtest(hits, len(p), 0.05).pvalue > 0.001, (whole, hits, len(p))
        half = int((p <= 0.5).sum())
        assert binomtest(half, len(p), 0.5).pvalue > 0.001, (whole, half, len(p))
    cultures = found[found["culture"] != ""]
    adjusted = cultures.groupby("run")["p_value"].transform(p_values.benjamini_hochberg)
    assert (adjusted <= 0.05).groupby(cultures["run"]).any().mean() <= 0.1


def test_with_a_culture_effect_the_chain_finds_it():
    table = Simulation(1, effect=0.5).test(39)
    whole = table[table["culture"] == ""].iloc[0]
    assert whole["p_value"] == 1 / 40
    assert whole["observed"] < whole["null_low"]
    assert (table["observed"] < table["null"]).all()  # a single culture has too few questions to be sure
