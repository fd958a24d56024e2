from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from culture_neurons.analysis import mask_effects
from culture_neurons.errors import FileError

HALF = np.log(np.array([0.2, 0.2], dtype=np.float32))


def logs(*p):
    with np.errstate(divide="ignore"):
        return np.log(np.array(p, dtype=np.float64))


SAMPLES = pd.DataFrame(
    [("q1", "a", "evaluate", 0, "i1"), ("q2", "a", "evaluate", 1, ""), ("q3", "b", "evaluate", 0, None),
     ("q4", "c", "identify", 0, "i4"), ("q5", "a", "identify", 1, "i5")],
    columns=["sample_id", "culture", "split", "label", "image_id"],
)  # fmt: skip
PREDICTIONS = pd.DataFrame(
    [("q3", "b", "evaluate", 0, True, True, logs(0.4, 0.1)), ("q2", "a", "evaluate", 0, False, True, logs(0.3, 0.1)),
     ("q1", "a", "evaluate", 0, True, False, logs(0.5, 0.25)), ("q4", "c", "identify", 0, True, True, HALF),
     ("q5", "a", "identify", -1, False, False, HALF)],
    columns=["sample_id", "culture", "split", "prediction", "correct", "well_formed", "logprobs"],
)  # fmt: skip
ABLATION = pd.DataFrame(
    [("a", "q1", "a", 1, False, True, logs(0.1, 0.4)), ("a", "q2", "a", 1, True, True, logs(0.1, 0.3)),
     ("a", "q3", "b", 0, True, True, logs(0.4, 0.1)), ("b", "q3", "b", -1, False, False, logs(0.1, 0.3)),
     ("b", "q1", "a", 0, True, True, logs(0.5, 0.25)), ("b", "q2", "a", 0, False, True, logs(0.3, 0.1))],
    columns=["mask_culture", "sample_id", "culture", "prediction", "correct", "well_formed", "logprobs"],
)  # fmt: skip
CULTURES = ["a", "b", "c"]


@pytest.fixture
def base():
    return mask_effects.baseline(SAMPLES, PREDICTIONS, "predictions.parquet")


def changes(base, ablation=ABLATION, sizes=None):
    sizes = {"a": 3, "b": 3} if sizes is None else sizes
    return mask_effects.changes(base, ablation, sizes, "ablation.parquet", "predictions.parquet")


@pytest.fixture
def effects(base):
    return mask_effects.effects(base, changes(base), CULTURES)


def test_right_logprob_by_hand():
    values = [logs(0.1, 0.3), logs(0.2, 0.2, 0.4)]
    result = mask_effects.right_logprob(values, np.array([1, 0]), "x")
    np.testing.assert_allclose(result, [math.log(0.75), math.log(0.25)])


def test_right_logprob_of_impossible_options():
    values = [logs(0.0, 0.3), logs(0.0, 0.0), logs(0.5, 0.0), np.array([-1000.0, 0.0])]
    result = mask_effects.right_logprob(values, np.array([0, 1, 0, 0]), "x")
    np.testing.assert_allclose(result, [mask_effects.LOGPROB_FLOOR, -math.log(2), 0.0, mask_effects.LOGPROB_FLOOR])


def test_right_logprob_of_nothing():
    assert mask_effects.right_logprob([], np.array([], dtype=int), "x").shape == (0,)


def test_right_logprob_refuses_nan_and_labels_outside():
    with pytest.raises(FileError, match=r"file\.parquet: row 1: .*nan"):
        mask_effects.right_logprob([HALF, np.array([np.nan, 0.0])], np.array([0, 0]), "file.parquet")
    with pytest.raises(FileError, match=r"file\.parquet: row 1: label 2, but logprobs of 2 options"):
        mask_effects.right_logprob([HALF, HALF], np.array([0, 2]), "file.parquet")


def test_variants_of_a_question_to_one_culture_are_one_unit_unless_they_show_an_image():
    samples = SAMPLES.assign(question_id=["v", "v", "v", "v", "v"], image_id=["i1", "", None, "", ""])
    base = mask_effects.baseline(samples, PREDICTIONS, "predictions.parquet")
    assert base.unit.tolist() == ["image i1", "variants v of a", "variants v of b"]
    base = mask_effects.baseline(
        samples.assign(question_id=[None, "", "v", "", ""]), PREDICTIONS, "predictions.parquet"
    )
    assert base.unit.tolist() == ["image i1", "question q2", "variants v of b"]


def test_baseline_is_the_evaluate_half_sorted(base):
    assert base.sample_id.tolist() == ["q1", "q2", "q3"]
    assert base.unit.tolist() == ["image i1", "question q2", "question q3"]
    np.testing.assert_allclose(base.logprob, np.log([2 / 3, 1 / 4, 4 / 5]))


def test_effects_by_hand(effects):
    assert effects[["mask_culture", "eval_culture"]].to_numpy().tolist() == [
        ["a", "a"], ["a", "b"], ["a", "c"], ["b", "a"], ["b", "b"], ["b", "c"],
    ]  # fmt: skip
    cell = effects.set_index(["mask_culture", "eval_culture"])
    one = cell.loc["a", "a"]  # q1 is lost, q2 is gained: no drop, but both answers flip
    assert (one["n"], one["baseline_accuracy"], one["masked_accuracy"], one["drop"]) == (2, 0.5, 0.5, 0.0)
    assert (one["flip_rate"], one["well_formed_rate"], one["gained"], one["lost"]) == (1.0, 1.0, 1, 1)
    assert one["logprob_drop"] == pytest.approx((math.log(0.2 / (2 / 3)) + math.log(0.75 / 0.25)) / 2)
    own = cell.loc["b", "b"]
    assert (own["drop"], own["flip_rate"], own["well_formed_rate"]) == (-100.0, 1.0, 0.0)
    assert own["logprob_drop"] == pytest.approx(math.log(0.25 / 0.8))
    assert (cell.loc["b", "a"][["drop", "logprob_drop", "flip_rate"]] == 0).all()
    assert cell.loc["b", "a"]["well_formed_rate"] == 1.0


def test_a_culture_without_questions_has_empty_cells(effects):
    empty = effects[effects["eval_culture"] == "c"]
    assert (empty["n"] == 0).all()
    assert (
        empty[["baseline_accuracy", "masked_accuracy", "drop", "logprob_drop", "flip_rate", "mcnemar_p"]]
        .isna()
        .all(axis=None)
    )


def test_summary_by_hand(effects):
    result = mask_effects.summary(effects)
    assert result["self_drop"] == -50.0  # a: 0, b: -100
    assert result["cross_drop"] == 0.0
    assert result["specificity"] == -50.0
    assert result["self_flip_rate"] == 1.0


def test_summary_of_one_culture_has_no_cross_drop(base):
    table = mask_effects.effects(base, changes(base, ABLATION[ABLATION["mask_culture"] == "b"], {"b": 1}), CULTURES)
    only = table[table["eval_culture"] == "b"]
    assert math.isnan(mask_effects.summary(only)["cross_drop"])


def test_an_empty_mask_without_rows_changes_nothing(base):
    table = mask_effects.effects(base, changes(base, sizes={"a": 3, "b": 3, "c": 0}), CULTURES)
    mine = table[(table["mask_culture"] == "c") & (table["n"] > 0)]
    assert len(mine) == 2
    assert (mine[["drop", "logprob_drop", "flip_rate"]] == 0).all(axis=None)
    np.testing.assert_allclose(mine["well_formed_rate"], [0.5, 1.0])


@pytest.mark.parametrize(
    "broken",
    [
        ABLATION.iloc[:-1],  # a question is missing
        pd.concat([ABLATION, ABLATION.iloc[[0]]]),  # twice
        ABLATION.assign(sample_id=ABLATION["sample_id"].replace("q2", "q9")),  # unknown
    ],
)
def test_other_questions_are_refused(base, broken):
    with pytest.raises(FileError, match=r"ablation\.parquet and predictions\.parquet do not hold the same questions"):
        changes(base, broken)


def test_a_mask_with_neurons_but_without_rows_is_refused(base):
    with pytest.raises(FileError, match="the same questions"):
        changes(base, sizes={"a": 3, "b": 3, "c": 1})


def test_an_unknown_mask_is_refused(base):
    with pytest.raises(FileError, match="a mask of 'b'"):
        changes(base, sizes={"a": 3})


def test_predictions_of_other_samples_are_refused():
    with pytest.raises(FileError, match=r"predictions\.parquet and samples\.parquet .*'q5'"):
        mask_effects.baseline(SAMPLES, PREDICTIONS.iloc[:-1], "predictions.parquet")
    with pytest.raises(FileError, match="cultures or splits"):
        mask_effects.baseline(SAMPLES.assign(culture="a"), PREDICTIONS, "predictions.parquet")
    with pytest.raises(FileError, match="twice"):
        mask_effects.baseline(SAMPLES, pd.concat([PREDICTIONS, PREDICTIONS.iloc[[0]]]), "predictions.parquet")


def test_row_order_changes_nothing(base, effects):
    other = mask_effects.baseline(SAMPLES.iloc[::-1], PREDICTIONS.iloc[::-1], "predictions.parquet")
    pd.testing.assert_frame_equal(mask_effects.effects(other, changes(other, ABLATION.iloc[::-1]), CULTURES), effects)


def test_layers_lists_every_pair():
    mask = pd.DataFrame({"culture": ["a", "a", "b"], "site": "act_fn", "layer": [2, 2, 0]})
    units = mask_effects.units_per_layer({"neurons": 7})
    table = mask_effects.neurons_per_layer(mask, ["b", "a", "c"], 3, units, "m")
    assert table["count"].tolist() == [0, 0, 2, 1, 0, 0, 0, 0, 0]
    assert table["culture"].tolist() == list("aaabbbccc")
    assert mask_effects.neurons_per_layer(mask.iloc[:0], ["a"], 2, units, "m")["count"].tolist() == [0, 0]


def test_layers_of_several_sites_have_their_units():
    units = mask_effects.units_per_layer({"neurons": {"gate_proj": 20, "q_proj": 4}})
    mask = pd.DataFrame({"culture": ["a", "a", "b"], "site": ["gate_proj", "q_proj", "q_proj"], "layer": [1, 0, 0]})
    table = mask_effects.neurons_per_layer(mask, ["b", "a"], 2, units, "m.parquet")
    assert table[["culture", "site", "layer", "count", "units"]].values.tolist() == [
        ["a", "gate_proj", 0, 0, 20], ["a", "gate_proj", 1, 1, 20], ["a", "q_proj", 0, 1, 4], ["a", "q_proj", 1, 0, 4],
        ["b", "gate_proj", 0, 0, 20], ["b", "gate_proj", 1, 0, 20], ["b", "q_proj", 0, 1, 4], ["b", "q_proj", 1, 0, 4],
    ]  # fmt: skip
    with pytest.raises(FileError, match=r"m\.parquet: a neuron at 'q_proj', but it was made for gate_proj"):
        mask_effects.neurons_per_layer(mask, ["a", "b"], 2, {"gate_proj": 20}, "m.parquet")


def test_layers_with_experts_and_without_have_their_neurons():
    """The metadata's `neurons` is that of the widest layer."""
    experts = {"widths": [24, 80, 24], "counts": [0, 8, 0]}
    assert mask_effects.units_per_layer({"neurons": 80, "experts": experts}) == {"act_fn": [24, 80, 24]}
    alike = {"widths": [80, 80], "counts": [8, 8]}
    assert mask_effects.units_per_layer({"neurons": 80, "experts": alike}) == {"act_fn": 80}


def test_layers_may_have_different_numbers_of_units():
    mask = pd.DataFrame({"culture": ["a"], "site": ["q_proj"], "layer": [2]})
    units = mask_effects.units_per_layer({"neurons": {"q_proj": [4, 0, 8], "gate_proj": 20}})
    table = mask_effects.neurons_per_layer(mask, ["b", "a"], 3, units, "m")
    assert table["units"].tolist() == [4, 0, 8, 20, 20, 20] * 2
    assert table["count"].tolist() == [0, 0, 1] + [0] * 9


def test_baseline_table_by_hand(base):
    table = mask_effects.baseline_table(PREDICTIONS, base, CULTURES).set_index("culture")
    columns = ["n", "accuracy", "well_formed_rate", "n_identify", "n_identify_correct", "chance"]
    assert table.loc["a", columns].tolist() == [2, 0.5, 0.5, 1, 0, 0.5]
    assert table.loc["c", ["n", "n_identify", "n_identify_correct"]].tolist() == [0, 1, 1]
    assert math.isnan(table.loc["c", "accuracy"])


def test_recovery_by_hand():
    def neurons(*rows):
        return pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron"])

    mask = neurons(("a", "act_fn", 0, 1), ("a", "act_fn", 0, 2), ("b", "act_fn", 1, 1))
    planted = neurons(("a", "act_fn", 0, 1), ("a", "act_fn", 3, 3), ("a", "act_fn", 3, 4), ("b", "act_fn", 0, 1))
    table = mask_effects.recovery(mask, planted, ["a", "b", "c"]).set_index("culture")
    assert table.loc["a"].tolist() == [2, 3, 1, 0.5, pytest.approx(1 / 3)]
    assert table.loc["b"].tolist() == [1, 1, 0, 0.0, 0.0]
    assert table.loc["c", ["n_selected", "n_planted", "hits"]].tolist() == [0, 0, 0]
    assert table.loc["c", ["precision", "recall"]].isna().all()
    # By attribution: the MLP's projections name the same neurons, once each; those of the attention name others.
    mask = neurons(
        ("a", "gate_proj", 0, 1), ("a", "up_proj", 0, 1), ("a", "up_proj", 3, 3), ("a", "q_proj", 3, 4),
        ("b", "v_proj", 0, 1), ("c", "gate_proj", 0, 1),
    )  # fmt: skip
    table = mask_effects.recovery(mask, planted, ["a", "b", "c"]).set_index("culture")
    assert table.loc["a"].tolist() == [3, 3, 2, pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert table.loc["b"].tolist() == [1, 1, 0, 0.0, 0.0]
    assert table.loc["c", ["n_selected", "n_planted", "hits"]].tolist() == [1, 0, 0]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_questions_and_masks_that_change_nothing(n):
    """Means are there as soon as one question is; nothing changed is 0, and a p of 1: no evidence."""
    samples = pd.DataFrame(
        {"sample_id": ["p", "q"][:n], "culture": "a", "split": "evaluate", "label": 0, "image_id": ""}
    )
    answers = samples[["sample_id", "culture", "split"]].assign(
        prediction=0, correct=True, well_formed=True, logprobs=[HALF] * n
    )
    base = mask_effects.baseline(samples, answers, "p")
    same = mask_effects.changes(base, answers.assign(mask_culture="a"), {"a": 3, "b": 0}, "x", "p")
    table = mask_effects.effects(base, same, ["a", "b"]).set_index(["mask_culture", "eval_culture"])
    own, other = table.loc["a", "a"], table.loc["a", "b"]
    assert (own["n"], own["gained"], own["lost"], other["n"]) == (n, 0, 0, 0)
    values = [
        "baseline_accuracy",
        "masked_accuracy",
        "drop",
        "logprob_drop",
        "flip_rate",
        "well_formed_rate",
        "mcnemar_p",
    ]
    assert other[values].isna().all()
    assert own[values].isna().all() if n == 0 else own[values].tolist() == [1, 1, 0, 0, 0, 1, 1]
    of = mask_effects.summary(table.reset_index())
    assert np.isnan(of["cross_drop"])  # one culture has no other
    assert np.isnan(of["specificity"])
    assert np.isnan(of["self_drop"]) if n == 0 else of["self_drop"] == 0
    row = mask_effects.baseline_table(answers, base, ["a", "b"]).set_index("culture").loc["a"]
    assert row[["accuracy", "well_formed_rate", "chance", "logprob"]].isna().all() == (n == 0)
