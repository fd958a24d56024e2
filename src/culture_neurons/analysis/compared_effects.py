"""Do masks of two runs do the same? Question by question, on the questions that both runs asked.

A question of two runs is the same where its sample id is. Each has the change under its own culture's mask (self), the
mean change under the other cultures' masks (cross), and self - cross (specificity), once per run; and its answer
without masks (baseline). What is estimated is each run's mean, and that of the first run's value minus the other's,
paired by question. Masks that were moved to the questions of another run stand against that run's own masks in the
same way.

Where the two runs group these questions alike, means are over cultures, as in the tables of one run; where they do not,
every question counts the same. Intervals and p-values are those of `intervals.estimate`: they speak of new questions
under these very masks, with questions about one image together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from culture_neurons.analysis import intervals, p_values
from culture_neurons.analysis.intervals import Column, Scale
from culture_neurons.analysis.mask_effects import Baseline
from culture_neurons.analysis.paired_changes import UNITS, Paired

BASELINE = "baseline"
#: Estimates of a row: of the first run, of the other, and of their difference.
ESTIMATES = (
    "value", "value_low", "value_high", "value_p", "other_value", "other_value_low", "other_value_high",
    "other_value_p", "difference", "ci_low", "ci_high", "p_value",
)  # fmt: skip
COLUMNS = ("culture", "other_culture", "measure", "what", "n", "averaged_over", *ESTIMATES)
#: Differences of two changes that have no baseline in common reach twice as far as one change.
_TWO_CHANGES = Scale(-200.0, 200.0)


@dataclass(frozen=True)
class Values:
    """What one run has to say of each of its questions.

    sample_id, culture, unit   str [question]
    logprob                    float64 [question]: of the right option without masks, nats
    columns                    (what, measure) -> float64 [question] in points or nats, and the masks to exchange
    """

    sample_id: np.ndarray
    culture: np.ndarray
    unit: np.ndarray
    logprob: np.ndarray
    columns: Mapping[tuple[str, str], Column]


def of_baseline(base: Baseline) -> Values:
    """Answers without masks: whether they are right (100 or 0 points), and the right option's log-probability."""
    columns = {
        (BASELINE, "accuracy"): Column(100.0 * base.correct, Scale(0.0, 100.0)),
        (BASELINE, "logprob"): Column(base.logprob, intervals.NATS),
    }
    return Values(base.sample_id, base.culture, base.unit, base.logprob, columns)


def of_masks(base: Baseline, paired: Paired) -> Values:
    """Changes under the masks of one file; cross and specificity where cultures have different masks."""
    keep = np.isin(base.culture.astype(str), paired.cultures)
    columns = {}
    for measure in UNITS:
        own, cross, others = paired.own[measure], paired.cross[measure], paired.others[measure]
        one = intervals.scale(measure)
        columns["self", measure] = Column(own, one)
        if len(paired.cultures) > 1 and not paired.single_mask:
            columns["cross", measure] = Column(cross, intervals.scale(measure, len(paired.cultures) > 2))
            columns["specificity", measure] = Column(own - cross, one, np.column_stack([own, others]))
    return Values(base.sample_id[keep], base.culture[keep], base.unit[keep], base.logprob[keep], columns)


def relabel(base: Baseline, names: Mapping[str, str]) -> Baseline:
    """The same questions under the names of another run's cultures; "" for one that has none there."""
    return replace(base, culture=np.array([names.get(str(name), "") for name in base.culture], dtype=object))


def compare(first: Values, second: Values, replicates: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Paired differences on the shared questions, columns `COLUMNS`; none without a question in common.

    A row without cultures is of all shared questions; others are of those of one culture in each run. What only one run
    has is left out.
    """
    ids, i, j = np.intersect1d(first.sample_id.astype(str), second.sample_id.astype(str), return_indices=True)
    names = [name for name in first.columns if name in second.columns]
    if not len(ids) or not names:
        return pd.DataFrame(columns=list(COLUMNS))
    cultures = first.culture[i].astype(str), second.culture[j].astype(str)
    unit = join_units(first.unit[i], second.unit[j])
    same_baseline = bool(np.array_equal(first.logprob[i], second.logprob[j]))
    pairs = {name: (_take(first.columns[name], i), _take(second.columns[name], j)) for name in names}
    alike = bool((cultures[0] == cultures[1]).all())
    strata = cultures[0] if alike else np.full(len(ids), "")
    everything = np.arange(len(ids))
    rows = _estimate(pairs, everything, strata, unit, same_baseline, replicates, seed)
    averaged_over = "cultures" if alike else "questions"
    tables = [rows.assign(averaged_over=averaged_over, culture=None, other_culture=None)]
    for pair in sorted(set(zip(*cultures, strict=True))):
        here = np.flatnonzero((cultures[0] == pair[0]) & (cultures[1] == pair[1]))
        rows = _estimate(pairs, here, np.full(len(ids), ""), unit, same_baseline, replicates, seed)
        tables.append(rows.assign(averaged_over="questions", culture=pair[0], other_culture=pair[1]))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def join_units(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Units [question] that are whole in both groupings: questions that either puts together are together.

    Each is called as the first of its names in `first`, so that no unit has another name for what else is there.
    """
    codes, names = pd.factorize(first)
    other = pd.factorize(second)[0] + len(names)
    size = len(names) + len(set(other))
    edges = coo_array((np.ones(len(codes)), (codes, other)), shape=(size, size))
    component = connected_components(edges, directed=False)[1][codes]
    smallest = pd.Series(np.asarray(first, dtype=object)).groupby(component).transform("min")
    return smallest.to_numpy(dtype=object)


def _take(column: Column, index: np.ndarray) -> Column:
    return Column(column.values[index], column.scale, None if column.masks is None else column.masks[index])


def _estimate(pairs: Mapping[tuple[str, str], tuple[Column, Column]], here: np.ndarray, strata: np.ndarray,
              unit: np.ndarray, same_baseline: bool, replicates: int, seed: int) -> pd.DataFrame:  # fmt: skip
    """Rows per (what, measure) of the questions `here`, without the columns that name cultures."""
    columns = []
    for (what, measure), pair in pairs.items():
        a, b = (_take(column, here) for column in pair)
        bounds = intervals.scale(measure)
        if measure == "accuracy" and what != BASELINE and not same_baseline:
            bounds = _TWO_CHANGES
        columns += [a, b, Column(a.values - b.values, bounds)]
    estimates = intervals.estimate(p_values.design(strata[here], unit[here]), columns, replicates, seed)
    numbers = np.stack([estimates.mean, estimates.low, estimates.high, estimates.p], axis=1).reshape(len(pairs), -1)
    table = pd.DataFrame(numbers, columns=list(ESTIMATES))
    # Against 0 points or nats, an accuracy or a log-probability is not tested.
    what, measure = zip(*pairs, strict=True)
    table = table.assign(what=what, measure=measure, n=len(here))
    table.loc[table["what"] == BASELINE, ["value_p", "other_value_p"]] = np.nan
    return table
