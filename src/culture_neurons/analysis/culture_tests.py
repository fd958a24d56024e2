"""How sure the effects are culture by culture: intervals and p-values of every change, of own - other masks.

All of it is about sampling noise of the questions, given these masks; for sampling noise of the masks see `verdicts`
and `shuffled_labels`. Questions about one image are resampled together, within their culture. p-values are two-sided:
exact (McNemar) for accuracy, by sign flips for log-probabilities, and for own - other masks the larger of that by sign
flips and that by exchanging the masks question by question (`p_values.paired_p`). They are adjusted
(Benjamini-Hochberg) over cultures and models (`p_values.adjust_within`); planted models are a family of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from culture_neurons.analysis import intervals, p_values
from culture_neurons.analysis.intervals import NATS, POINTS, Scale
from culture_neurons.analysis.mask_effects import Baseline, Changes
from culture_neurons.analysis.paired_changes import UNITS, Paired

#: Columns of the table of `cultures`, without what names the mask file.
COLUMNS = [
    "culture", "measure", "n", "self", "self_low", "self_high", "cross", "specificity", "specificity_low",
    "specificity_high", "p_value", "p_adjusted", "unit",
]  # fmt: skip


class QuestionResamples:
    """Resampling weights and random signs of one model's questions, made once for all its mask files.

    Memory: two float64 [replicate, image] per culture, together 16 bytes x replicates x questions at most.
    """

    def __init__(self, base: Baseline, replicates: int = 2000, seed: int = 0) -> None:
        self.base, self._replicates, self._seed = base, replicates, seed
        self._part = {str(name): np.flatnonzero(base.culture == name) for name in sorted(set(base.culture))}
        self._plan = {name: p_values.design(base.culture[p], base.unit[p]) for name, p in self._part.items()}
        self._weights, self._signs = {}, {}
        for name, plan in self._plan.items():
            images = len(plan.counts)
            blocks = list(intervals.random_weights(name, images, 1, replicates, seed))
            self._weights[name] = tuple(np.concatenate(part) for part in list(zip(*blocks, strict=True))[1:])
            self._signs[name] = np.concatenate([s for _, s in p_values.random_signs(name, images, replicates, seed)])

    def questions(self, culture: str) -> np.ndarray:
        """Indices of a culture's questions in the baseline, int64."""
        return self._part.get(culture, np.empty(0, dtype=np.int64))

    def interval_and_p(
        self, culture: str, values: np.ndarray, scales: Sequence[Scale]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ends of the 95 % intervals, and p-values by sign flips, of means of values [question of the culture, column].

        nan where there is one image alone: resampling it would give an interval of no width.
        """
        plan = self._plan[culture]
        if len(plan.counts) < 2:
            return (np.full(values.shape[1], np.nan),) * 3
        sums = p_values.unit_sums(plan, values)
        ends = (end_of_strata[0] for end_of_strata in intervals.prior_ends(plan, values, scales))
        means, replicates = (
            values.mean(axis=0),
            intervals.weighted_means(sums, plan.counts, *ends, *self._weights[culture]),
        )
        flipped = self._signs[culture] @ (sums / len(values))
        return *intervals.percentile_interval(means, replicates), p_values.two_sided(means, flipped)

    def exchange(self, culture: str, masks: np.ndarray) -> float:
        """p-value of own - mean of the others by exchanging them: values [question of the culture, mask], own first."""
        null = p_values.exchange_null(self._plan[culture], [masks], self._replicates, self._seed)
        return float(p_values.two_sided(*null)[0])


def tabulate_cells(resamples: QuestionResamples, change: Changes, cultures: Sequence[str]) -> pd.DataFrame:
    """Intervals and p-values of every cell of an effects table, rows as those of `mask_effects.effects`.

    drop_low, drop_high (points), logprob_drop_low, logprob_drop_high (nats): 95 % intervals of the mean
    changes; logprob_p: sign flips; mcnemar_p_adjusted and logprob_p_adjusted are filled in by
    `p_values.adjust_within`. nan for a
    culture without questions or with those of one image alone.
    """
    names = sorted(set(cultures) | set(resamples.base.culture))
    points = 100.0 * (change.gained.astype(np.int64) - change.lost)
    columns = ["drop_low", "drop_high", "logprob_drop_low", "logprob_drop_high", "logprob_p"]
    m = len(change.masks)
    result = np.full((m, len(names), len(columns)), np.nan)
    for column, name in enumerate(names):
        rows = resamples.questions(name)
        if len(rows):
            values = np.concatenate([points[:, rows], change.logprob[:, rows]]).T  # [question, measure and mask]
            low, high, p = resamples.interval_and_p(name, values, [POINTS] * m + [NATS] * m)
            result[:, column] = np.stack([low[:m], high[:m], low[m:], high[m:], p[m:]], axis=1)
    table = pd.DataFrame(result.reshape(-1, len(columns)), columns=columns)
    return table.assign(mcnemar_p_adjusted=np.nan, logprob_p_adjusted=np.nan)


def tabulate_cultures(resamples: QuestionResamples, paired: Paired) -> pd.DataFrame:
    """Per culture and measure: does its own mask do more to its questions than the other cultures' masks do?

    self and cross are the mean changes of the culture's own questions under its mask and under the others (the mean
    over masks); specificity = self - cross, paired by question, with 95 % intervals and a two-sided p-value. Columns:
    `COLUMNS`.
    """
    culture_of_question = resamples.base.culture[np.isin(resamples.base.culture.astype(str), paired.cultures)].astype(
        str
    )
    rows = []
    for name in paired.cultures:
        for measure, unit in UNITS.items():
            own_questions = culture_of_question == name
            own, others = paired.own[measure][own_questions], paired.others[measure][own_questions]
            values = np.stack([own, own - paired.cross[measure][own_questions]], axis=1)
            low, high, p = resamples.interval_and_p(name, values, [intervals.scale(measure)] * 2)
            own, specific = values.mean(axis=0)
            ends, p_value = (low[1], high[1]), np.nan
            if paired.single_mask:  # the others' masks are the same one, so that this is 0 whatever was asked
                ends = np.nan, np.nan
            elif np.isfinite(p[1]):
                p_value = max(p[1], resamples.exchange(name, np.column_stack([values[:, 0], others])))
            rows.append((name, measure, len(values), own, low[0], high[0], own - specific, specific, *ends, p_value,
                         np.nan, unit))  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
