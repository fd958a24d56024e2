"""A permutation null: the masks that shuffled culture labels choose, and what they do.

Under shuffled labels the null hypothesis holds: culture labels say nothing about neurons. Effects that the whole chain
(statistics, scores, masks, drops) shows under them are noise: of the questions, of the neurons, and of the selector's
way of choosing. p-values are one-sided (a loss as large or larger), and exact.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from culture_neurons.analysis import intervals
from culture_neurons.analysis.mask_effects import Baseline, right_logprob
from culture_neurons.analysis.paired_changes import UNITS, Paired
from culture_neurons.errors import FileError

#: Columns of a table of permutations, without what names the mask file; culture "" is the mean over cultures.
PERMUTED = [
    "culture", "measure", "n", "permutations", "observed", "null", "null_low", "null_high", "p_value",
    "p_adjusted", "unit",
]  # fmt: skip
#: Changes that differ by less are equal: other batches change the last digits of log-probabilities.
NOISE = {"accuracy": 1e-9, "logprob": 1e-5}


def null_changes(
    base: Baseline, ablation: pd.DataFrame, permutations: int, source: str, base_source: str
) -> dict[str, np.ndarray]:
    """Changes of each culture's questions under its masks of shuffled labels, one mask per permutation.

    ablation   permutation, sample_id, correct, logprobs: each question once per permutation

    Returns measure -> float64 [permutation, question of the baseline]: changes in points, in nats.
    Raises FileError, naming both files, when the questions of a permutation are not those of the baseline.
    """
    column = pd.Index(base.sample_id).get_indexer(ablation["sample_id"])
    row = ablation["permutation"].to_numpy(dtype=np.int64)
    shape = (permutations, len(base.sample_id))
    valid = (column >= 0) & (row >= 0) & (row < permutations)
    times = np.bincount(row[valid] * shape[1] + column[valid], minlength=shape[0] * shape[1])
    if not valid.all() or (times != 1).any():
        raise FileError(
            f"{source} and {base_source} do not hold the same questions, once per permutation;"
            " delete the older file and run again"
        )
    points, nats = np.empty(shape), np.empty(shape)
    points[row, column] = ablation["correct"].to_numpy(dtype=np.float64)
    nats[row, column] = right_logprob(ablation["logprobs"].tolist(), base.label[column], source)
    return {"accuracy": 100 * (points - base.correct), "logprob": nats - base.logprob}


def permutation_test(base: Baseline, paired: Paired, shuffled: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Self drops against those under shuffled labels, per culture and as mean over cultures: columns `PERMUTED`.

    paired     the changes under the masks of the true labels
    shuffled   what `null_changes` gives

    observed, null in points or nats; null_low to null_high holds 95 % of the permutations;
    p_value = (1 + how many permutations lose as much) / (1 + permutations). All are nan without a question of a culture
    that has a mask.
    """
    if not paired.cultures:
        rows = [("", measure, 0, len(shuffled[measure]), *[np.nan] * 6, unit) for measure, unit in UNITS.items()]
        return pd.DataFrame(rows, columns=PERMUTED)
    keep = np.isin(base.culture.astype(str), paired.cultures)
    culture_of_question = base.culture[keep].astype(str)
    member = (culture_of_question[:, None] == np.array(paired.cultures)).astype(float)  # [question, culture]
    member /= member.sum(axis=0)
    rows = []
    for measure, unit in UNITS.items():
        observed = paired.own[measure] @ member
        null = shuffled[measure][:, keep] @ member  # [permutation, culture]
        values = [("", len(culture_of_question), observed.mean(), null.mean(axis=1))]
        values += [
            (name, int((culture_of_question == name).sum()), observed[c], null[:, c])
            for c, name in enumerate(paired.cultures)
        ]
        for name, n, observed_mean, null_means in values:
            low, high = intervals.percentiles(null_means)
            p = (1 + int((null_means <= observed_mean + NOISE[measure]).sum())) / (1 + len(null_means))
            rows.append(
                (name, measure, n, len(null_means), observed_mean, null_means.mean(), low, high, p, np.nan, unit)
            )
    table = pd.DataFrame(rows, columns=PERMUTED)
    return table.sort_values(["culture", "measure"], kind="stable", ignore_index=True)


def clear_unshuffled(table: pd.DataFrame, changed: Mapping[str, int]) -> pd.DataFrame:
    """The rows of `permutation_test`, with null and p-value set to nan where no permutation changed any label.

    changed   culture -> permutations in which other samples had its name; cultures that it does not list did not change

    Labels are exchanged among images with equally many questions. Where a culture's have no counterpart, its masks are
    those of the true labels each time: null, its ends and p are nan; so are those of the mean where all are so.
    """
    unshuffled = ~table["culture"].isin([name for name, times in changed.items() if times])
    unshuffled &= (table["culture"] != "") | (not any(changed.values()))
    table = table.copy()
    table.loc[unshuffled, ["null", "null_low", "null_high", "p_value"]] = np.nan
    return table
