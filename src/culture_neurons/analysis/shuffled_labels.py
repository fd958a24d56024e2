"""A permutation null: the masks that shuffled culture labels choose, and what they do.

Shuffled labels are the null hypothesis itself: culture labels say nothing about neurons. Whatever the chain from
per-sample statistics over scores to masks and drops finds under them, it finds by luck: of the questions, of the
neurons, and of the selector's way of choosing. p-values are one-sided (a loss as large or larger), and exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from culture_neurons.analysis import intervals
from culture_neurons.analysis.mask_effects import Baseline, right_logprob
from culture_neurons.analysis.verdicts import UNITS, Paired
from culture_neurons.errors import FileError

#: Columns of a table of permutations, without what names the mask file; culture "" is the mean over cultures.
PERMUTED = [
    "culture", "measure", "n", "permutations", "observed", "null", "null_low", "null_high", "p_value",
    "p_adjusted", "unit",
]  # fmt: skip
#: Changes that differ by less are equal: other batches change the last digits of log-probabilities.
NOISE = {"accuracy": 1e-9, "logprob": 1e-5}


def own_changes(
    base: Baseline, ablation: pd.DataFrame, permutations: int, source: str, base_source: str
) -> dict[str, np.ndarray]:
    """What masks of shuffled labels do to the questions of their own culture, one mask per permutation and culture.

    ablation   permutation, sample_id, correct, logprobs: each question once per permutation

    Returns measure -> float64 [permutation, question of the baseline]: changes in points, in nats.
    Raises FileError, naming both files, when the questions of a permutation are not those of the baseline.
    """
    column = pd.Index(base.sample_id).get_indexer(ablation["sample_id"])
    row = ablation["permutation"].to_numpy(dtype=np.int64)
    shape = (permutations, len(base.sample_id))
    inside = (column >= 0) & (row >= 0) & (row < permutations)
    times = np.bincount(row[inside] * shape[1] + column[inside], minlength=shape[0] * shape[1])
    if not inside.all() or (times != 1).any():
        raise FileError(
            f"{source} and {base_source} do not hold the same questions, once per permutation;"
            " delete the older file and run again"
        )
    points, nats = np.empty(shape), np.empty(shape)
    points[row, column] = ablation["correct"].to_numpy(dtype=np.float64)
    nats[row, column] = right_logprob(ablation["logprobs"].tolist(), base.label[column], source)
    return {"accuracy": 100 * (points - base.correct), "logprob": nats - base.logprob}


def permutation_test(base: Baseline, paired: Paired, own: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Self drops against those under shuffled labels, per culture and as mean over cultures: columns `PERMUTED`.

    paired   the changes under the masks of the true labels
    own      see `own_changes`

    observed, null in points or nats; null_low to null_high holds 95 % of the permutations;
    p_value = (1 + how many permutations lose as much) / (1 + permutations). All are nan without a question of a culture
    that has a mask.
    """
    if not paired.cultures:
        rows = [("", measure, 0, len(own[measure]), *[np.nan] * 6, unit) for measure, unit in UNITS.items()]
        return pd.DataFrame(rows, columns=PERMUTED)
    keep = np.isin(base.culture.astype(str), paired.cultures)
    asked = base.culture[keep].astype(str)
    member = (asked[:, None] == np.array(paired.cultures)).astype(float)  # [question, culture]
    member /= member.sum(axis=0)
    rows = []
    for measure, unit in UNITS.items():
        observed = paired.own[measure] @ member
        null = own[measure][:, keep] @ member  # [permutation, culture]
        values = [("", len(asked), observed.mean(), null.mean(axis=1))]
        values += [
            (name, int((asked == name).sum()), observed[c], null[:, c]) for c, name in enumerate(paired.cultures)
        ]
        for name, n, seen, luck in values:
            low, high = intervals.percentiles(luck)
            p = (1 + int((luck <= seen + NOISE[measure]).sum())) / (1 + len(luck))
            rows.append((name, measure, n, len(luck), seen, luck.mean(), low, high, p, np.nan, unit))
    table = pd.DataFrame(rows, columns=PERMUTED)
    return table.sort_values(["culture", "measure"], kind="stable", ignore_index=True)


def without_null(table: pd.DataFrame, changed: Mapping[str, int]) -> pd.DataFrame:
    """The rows of `permutation_test`, with nothing to be compared with where no permutation shuffled any label.

    changed   culture -> permutations in which other samples had its name; cultures that it does not list did not change

    Labels are exchanged among images with equally many questions. Where a culture's have no counterpart, its masks are
    those of the true labels each time: null, its ends and p are nan; so are those of the mean where all are so.
    """
    same = ~table["culture"].isin([name for name, times in changed.items() if times])
    same &= (table["culture"] != "") | (not any(changed.values()))
    table = table.copy()
    table.loc[same, ["null", "null_low", "null_high", "p_value"]] = np.nan
    return table
