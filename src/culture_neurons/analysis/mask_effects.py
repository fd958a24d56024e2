"""From answers to effects: what a mask does to each culture's questions.

A change is always masked - baseline, of one question: in accuracy -1, 0 or 1 (a drop is in points, 100 times
the mean change, negative = loss), in log-probability nats. Zhao et al. 2025 (arXiv 2510.24942) report
accuracies alone; the log-probability of the right option is continuous, so it shows smaller effects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.analysis import p_values
from culture_neurons.errors import FileError
from culture_neurons.question_groups import OPTIONAL, units
from culture_neurons.types import MLP_SITES, Widths, short_widths, widths_of_layers

#: Normalised log-probabilities (nats) are raised to at least this (p = 1e-13), so that one hopeless answer, or an
#: underflow to -inf, does not decide a mean.
LOGPROB_FLOOR = -30.0


#: Columns of samples.parquet that `baseline` needs, and those that it uses where they exist: `question_id` is the same
#: for variants of one question (with other wrong options, for example).
REQUIRED_COLUMNS = ["sample_id", "culture", "split", "label", "image_id"]
OPTIONAL_COLUMNS = list(OPTIONAL)


@dataclass(frozen=True)
class Baseline:
    """The evaluate questions of one model without intervention, sorted by (culture, sample_id).

    sample_id, culture, unit   str [question]; questions of one unit show the same image, or are variants of one
                               question to one culture
    label, prediction          int64 [question]: indices of options; -1: no answer
    correct, well_formed       bool [question]
    logprob                    float64 [question]: of the right option among the options, nats
    options                    int64 [question]: number of options
    """

    sample_id: np.ndarray
    culture: np.ndarray
    unit: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    correct: np.ndarray
    well_formed: np.ndarray
    logprob: np.ndarray
    options: np.ndarray


@dataclass(frozen=True)
class Changes:
    """What the masks of one file do, per question of the baseline.

    masks                   names of the masks' cultures, sorted
    correct, gained, lost   bool [mask, question]: right under the mask; became right; became wrong
    flipped, well_formed    bool [mask, question]: the answer changed; the masked answer is well formed
    logprob                 float64 [mask, question]: change of the right option's log-probability, nats
    """

    masks: list[str]
    correct: np.ndarray
    gained: np.ndarray
    lost: np.ndarray
    flipped: np.ndarray
    well_formed: np.ndarray
    logprob: np.ndarray


def right_logprob(logprobs: Sequence[np.ndarray], label: np.ndarray, source: str) -> np.ndarray:
    """log p(right option) - logsumexp over the question's options, float64 [question], at least LOGPROB_FLOOR.

    logprobs   per question, one value per option, in the original order; -inf is allowed
    label      int [question]: the right option

    Where all options are -inf, nothing tells them apart: -log(number of options).
    Raises FileError, naming `source`, for nan or a label outside the options.
    """
    if not len(logprobs):
        return np.empty(0)
    sizes = np.fromiter(map(len, logprobs), dtype=np.int64, count=len(logprobs))
    invalid = np.flatnonzero((label < 0) | (label >= sizes))
    if invalid.size:
        raise FileError(
            f"{source}: row {invalid[0]}: label {label[invalid[0]]}, but logprobs of {sizes[invalid[0]]} options"
        )
    flat = np.concatenate(logprobs).astype(np.float64)
    starts = np.cumsum(sizes) - sizes
    if np.isnan(flat).any():
        row = int(np.searchsorted(starts, np.flatnonzero(np.isnan(flat))[0], side="right")) - 1
        raise FileError(f"{source}: row {row}: a log-probability is not a number (nan); try another dtype")
    largest = np.maximum.reduceat(flat, starts)
    impossible = np.isneginf(largest)
    flat[np.repeat(impossible, sizes)] = 0.0
    largest[impossible] = 0.0
    total = largest + np.log(np.add.reduceat(np.exp(flat - np.repeat(largest, sizes)), starts))
    return np.maximum(flat[starts + label] - total, LOGPROB_FLOOR)


def baseline(samples: pd.DataFrame, predictions: pd.DataFrame, source: str) -> Baseline:
    """The evaluate questions of predictions.parquet, with labels and images of samples.parquet.

    samples   columns `REQUIRED_COLUMNS`, and `OPTIONAL_COLUMNS` where they exist

    Raises FileError, naming `source`, when the two do not hold the same questions.
    """
    by_id = samples.set_index("sample_id")
    if not by_id.index.is_unique or not predictions["sample_id"].is_unique:
        raise FileError(f"{source}: a sample id occurs twice here or in samples.parquet")
    _same_ids(by_id.index, predictions["sample_id"], "samples.parquet", source)
    table = predictions[predictions["split"] == "evaluate"].sort_values(["culture", "sample_id"])
    rows = by_id.loc[table["sample_id"]]
    if (rows["culture"].to_numpy() != table["culture"].to_numpy()).any() or (rows["split"] != "evaluate").any():
        raise FileError(f"{source}: cultures or splits differ from samples.parquet; delete it and run again")
    ids = table["sample_id"].to_numpy(dtype=object)
    label = rows["label"].to_numpy(dtype=np.int64)
    logprobs = table["logprobs"].tolist()
    return Baseline(
        sample_id=ids,
        culture=table["culture"].to_numpy(dtype=object),
        unit=units(rows.reset_index()),
        label=label,
        prediction=table["prediction"].to_numpy(dtype=np.int64),
        correct=table["correct"].to_numpy(dtype=bool),
        well_formed=table["well_formed"].to_numpy(dtype=bool),
        logprob=right_logprob(logprobs, label, source),
        options=np.fromiter(map(len, logprobs), dtype=np.int64, count=len(logprobs)),
    )  # fmt: skip


def changes(base: Baseline, ablation: pd.DataFrame, sizes: dict[str, int], source: str, base_source: str) -> Changes:
    """Compare the answers under each culture's mask with the baseline, question by question.

    ablation   rows of one ablation file
    sizes      culture -> number of neurons in its mask; every culture of the mask file, empty masks among them

    A culture whose mask is empty may be absent from the file: nothing changes.
    Raises FileError, naming both files, when a mask's questions are not those of the baseline.
    """
    masks = sorted(sizes)
    shape = (len(masks), len(base.sample_id))
    row = pd.Index(masks).get_indexer(ablation["mask_culture"])
    if (row < 0).any():
        unknown = ablation["mask_culture"].iloc[int(np.argmax(row < 0))]
        raise FileError(f"{source}: a mask of {unknown!r}, which its mask file does not know; delete it and run again")
    column = pd.Index(base.sample_id).get_indexer(ablation["sample_id"])
    cells = np.bincount(row[column >= 0] * shape[1] + column[column >= 0], minlength=shape[0] * shape[1])
    times = cells.reshape(shape)
    expected = np.ones(shape, dtype=np.int64)
    for m, name in enumerate(masks):
        if sizes[name] == 0 and not (row == m).any():
            expected[m] = 0
    if (column < 0).any() or (times != expected).any():
        where = np.argwhere(times != expected)
        example = ablation["sample_id"].iloc[int(np.argmax(column < 0))] if (column < 0).any() else (
            base.sample_id[where[0][1]])  # fmt: skip
        raise FileError(
            f"{source} and {base_source} do not hold the same questions (such as {str(example)!r});"
            " delete the older file and run again"
        )

    def spread(values: np.ndarray, unchanged: np.ndarray) -> np.ndarray:
        result = np.tile(unchanged, (shape[0], 1))
        result[row, column] = values
        return result

    correct = spread(ablation["correct"].to_numpy(dtype=bool), base.correct)
    logprob = right_logprob(ablation["logprobs"].tolist(), base.label[column], source)
    return Changes(
        masks=masks,
        correct=correct,
        gained=correct & ~base.correct,
        lost=~correct & base.correct,
        flipped=spread(ablation["prediction"].to_numpy(dtype=np.int64), base.prediction) != base.prediction,
        well_formed=spread(ablation["well_formed"].to_numpy(dtype=bool), base.well_formed),
        logprob=spread(logprob, base.logprob) - base.logprob,
    )


def effects(base: Baseline, change: Changes, cultures: Sequence[str]) -> pd.DataFrame:
    """One row per (mask_culture, eval_culture), both sorted; `cultures` are those of the data set.

    n questions; accuracies and rates in 0..1; drop in points and logprob_drop in nats, both masked - baseline;
    gained and lost: answers that became right and wrong; mcnemar_p: exact McNemar test of the two, the questions about
    one image together (`p_values.mcnemar_units`). A culture without questions has n = 0 and empty values.
    """
    names = sorted(set(cultures) | set(base.culture))
    group = (base.culture[:, None] == np.array(names, dtype=object)).astype(np.float64)  # [question, culture]
    n = group.sum(axis=0)
    divisor = np.where(n > 0, n, np.nan)

    def rate(values: np.ndarray) -> np.ndarray:
        return np.atleast_2d(values).astype(np.float64) @ group / divisor

    shape = (len(change.masks), len(names))
    gained, lost = (values.astype(np.float64) @ group for values in (change.gained, change.lost))
    p = np.full(shape, np.nan)
    for c in np.flatnonzero(n):
        in_culture = base.culture == names[c]
        plan = p_values.design(base.culture[in_culture], base.unit[in_culture])
        net = p_values.unit_sums(
            plan, (change.gained[:, in_culture].astype(float) - change.lost[:, in_culture]).T
        )  # [unit, mask]
        p[:, c] = p_values.mcnemar_units(np.rint(net).astype(np.int64))
    columns = {
        "n": np.tile(n.astype(np.int64), (shape[0], 1)),
        "baseline_accuracy": np.tile(rate(base.correct), (shape[0], 1)),
        "masked_accuracy": rate(change.correct),
        "drop": 100 * (gained - lost) / divisor,
        "logprob_drop": rate(change.logprob),
        "flip_rate": rate(change.flipped),
        "well_formed_rate": rate(change.well_formed),
        "gained": gained.astype(np.int64),
        "lost": lost.astype(np.int64),
        "mcnemar_p": p,
    }
    table = pd.DataFrame({name: values.ravel() for name, values in columns.items()})
    table.insert(0, "mask_culture", np.repeat(np.array(change.masks, dtype=object), shape[1]))
    table.insert(1, "eval_culture", np.tile(np.array(names, dtype=object), shape[0]))
    return table


def summary(table: pd.DataFrame) -> dict[str, float]:
    """Macro averages of one effects table: self (the diagonal) and cross (each mask on the other cultures).

    self_drop is the mean over cultures of the drop under the own mask; cross_drop the mean over masks of the
    mean drop on the other cultures; specificity = self_drop - cross_drop. NaN where no cell has questions.
    Only cultures that have both a mask and questions count, as in `paired_changes.pair`, so that self and cross are
    over the same questions and the same masks.
    """
    evaluated = set(table["mask_culture"]) & set(table.loc[table["n"] > 0, "eval_culture"])
    cells = table[table["mask_culture"].isin(evaluated) & table["eval_culture"].isin(evaluated)]
    diagonal = cells["mask_culture"] == cells["eval_culture"]
    result = {}
    for column in ("drop", "logprob_drop", "flip_rate", "well_formed_rate"):
        result[f"self_{column}"] = float(cells.loc[diagonal, column].mean())
        off_diagonal = cells[~diagonal].groupby("mask_culture")[column].mean()
        result[f"cross_{column}"] = float(off_diagonal.mean()) if len(off_diagonal) else float("nan")
    result["specificity"] = result["self_drop"] - result["cross_drop"]
    result["logprob_specificity"] = result["self_logprob_drop"] - result["cross_logprob_drop"]
    return result


def units_per_layer(metadata: Mapping[str, Any]) -> dict[str, Widths]:
    """Units per layer by site, from a mask file's metadata: its `neurons` is one number for masks at act_fn, and what
    it has of `experts` says where layers differ."""
    if experts := metadata.get("experts"):
        return {"act_fn": short_widths(experts["widths"])}
    return dict(metadata["neurons"]) if isinstance(metadata["neurons"], Mapping) else {"act_fn": metadata["neurons"]}


def neurons_per_layer(
    mask: pd.DataFrame, cultures: Sequence[str], n_layers: int, units: Mapping[str, Widths], source: str
) -> pd.DataFrame:
    """Number of chosen neurons per (culture, site, layer), all of them present: culture, site, layer, count, units.

    units   by site, in the order of the rows: how many a layer has, chosen or not; 0 where it has none

    Raises FileError, naming `source`, for a neuron at another site.
    """
    if unknown := sorted(set(mask["site"]) - set(units)):
        raise FileError(f"{source}: a neuron at {unknown[0]!r}, but it was made for {', '.join(units)}; run again")
    names = ["culture", "site", "layer"]
    index = pd.MultiIndex.from_product([sorted(cultures), list(units), range(n_layers)], names=names)
    counts = mask.groupby(names, observed=True).size().reindex(index, fill_value=0)
    table = counts.rename("count").reset_index()
    by_layer = np.concatenate([widths_of_layers(of_site, n_layers) for of_site in units.values()])
    return table.assign(units=np.tile(by_layer, len(set(cultures))))


def baseline_table(predictions: pd.DataFrame, base: Baseline, cultures: Sequence[str]) -> pd.DataFrame:
    """Per culture: n, accuracy, well_formed_rate, chance and logprob of the evaluate questions; n_identify questions
    of the other half, and n_identify_correct, on which statistics are recorded.

    chance is the expected accuracy of guessing; logprob the mean log-probability of the right option, nats.
    """
    identify = predictions[predictions["split"] == "identify"]
    rows = []
    for name in sorted(set(cultures) | set(predictions["culture"])):
        in_culture = base.culture == name
        half = identify.loc[identify["culture"] == name, "correct"]
        values = [
            base.correct[in_culture],
            base.well_formed[in_culture],
            1 / base.options[in_culture],
            base.logprob[in_culture],
        ]
        means = [float(v.mean()) if len(v) else float("nan") for v in values]
        rows.append((name, int(in_culture.sum()), means[0], means[1], len(half), int(half.sum()), means[2], means[3]))
    columns = ["culture", "n", "accuracy", "well_formed_rate", "n_identify", "n_identify_correct", "chance", "logprob"]
    return pd.DataFrame(rows, columns=columns)


def recovery(mask: pd.DataFrame, planted: pd.DataFrame, cultures: Sequence[str]) -> pd.DataFrame:
    """How well masks find neurons that are culture neurons by construction, per culture.

    n_selected, n_planted and hits, the planted neurons that the mask has; precision = hits / n_selected and recall =
    hits / n_planted, empty where the divisor is 0. A unit of a gated MLP is one neuron, whichever of `MLP_SITES`
    names it; units of the attention are selected too, and never planted.
    """
    key = ["culture", "site", "layer", "neuron"]
    mask, planted = (
        table[key].assign(site=table["site"].astype(str).replace(dict.fromkeys(MLP_SITES, "mlp"))).drop_duplicates()
        for table in (mask, planted)
    )
    hits_table = mask.merge(planted, on=key)
    rows = []
    for name in sorted(set(cultures) | set(planted["culture"])):
        n_selected, n_planted, hits = (int((table["culture"] == name).sum()) for table in (mask, planted, hits_table))
        rows.append((name, n_selected, n_planted, hits, hits / n_selected if n_selected else np.nan,
                     hits / n_planted if n_planted else np.nan))  # fmt: skip
    return pd.DataFrame(rows, columns=["culture", "n_selected", "n_planted", "hits", "precision", "recall"])


def _same_ids(ids: pd.Index, other_ids: pd.Series, one_source: str, other_source: str) -> None:
    difference = sorted(set(ids) ^ set(other_ids))
    if difference:
        raise FileError(
            f"{other_source} and {one_source} do not hold the same questions (such as {difference[0]!r});"
            " delete the older file and run again"
        )
