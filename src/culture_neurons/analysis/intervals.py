"""Intervals of mean changes that keep their coverage with few changed answers and with few questions.

A percentile bootstrap treats unobserved values as impossible: where no answer changed, its interval has no width, yet
a mask that costs 4 % of the answers changes none of 24 in one case out of three. So this is a Bayesian bootstrap
(Rubin 1981, doi 10.1214/aos/1176345338) with two pseudo-images of weight `PRIOR`, one at each end of the range that
an image can show. For answers that are right or wrong this is the interval of a beta distribution with this prior (1/2
is Jeffreys'; Brown, Cai and DasGupta 2001, doi 10.1214/ss/1009213286). Coverage: tests/analysis/test_intervals.py.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from culture_neurons.analysis import p_values
from culture_neurons.analysis.p_values import Design
from culture_neurons.seeds import generator

#: Weight of each end, in images. With 1/2, coverage of a loss of 2 to 9 % can fall to 88 % (24 to 100 questions); with
#: 2/3 it is at least 92 %.
PRIOR = 2 / 3
#: For values without bounds, the ends lie this many times as far from the mean as the farthest observed image: for
#: values of one mask, and for means over several, whose tails are lighter.
REACH, REACH_OF_MEANS = 2.0, 1.5
#: The share of replicates within an interval.
COVERED = 0.95


@dataclass(frozen=True)
class Scale:
    """What one question can show.

    low, high   the least and the largest value, infinite where nothing is known beforehand
    several     whether a value is a mean over several masks or seeds, which seldom all change an answer
    """

    low: float = -np.inf
    high: float = np.inf
    several: bool = False


#: Changes of accuracy of one answer, in points, also against a mean of others; right (1) or wrong (0); changes of
#: log-probability.
POINTS, SHARE, NATS = Scale(-100.0, 100.0), Scale(0.0, 1.0), Scale()


def scale(measure: str, several: bool = False) -> Scale:
    """The scale of a change in `accuracy` (points) or `logprob` (nats)."""
    return replace(NATS if measure == "logprob" else POINTS, several=several)


@dataclass(frozen=True)
class Column:
    """What an estimate is made of.

    values   float64 [question]
    scale    what one question can show
    masks    float64 [question, mask] or None: for differences own - mean of others, what their p-value exchanges
             (`p_values.paired_p`)
    """

    values: np.ndarray
    scale: Scale
    masks: np.ndarray | None = None


def prior_ends(plan: Design, values: np.ndarray, scales: Sequence[Scale]) -> tuple[np.ndarray, np.ndarray]:
    """The values of the two pseudo-images of the prior: low and high, float64 [stratum, column].

    values [question, column]. With U images, x the mean of an image and m that of its stratum: one answer has its
    bounds. A mean over several has, on both sides, the largest |x| times 1 + 2/U, at most its bounds; these where
    nothing changed. Values without bounds have m plus `REACH` (means: `REACH_OF_MEANS`) times the least and the
    largest x - m of all strata.
    """
    means = p_values.unit_sums(plan, values) / plan.counts[:, None]
    centre = p_values.stratum_means(plan, values)  # [stratum, column]
    units = len(plan.counts)
    low, high = np.empty_like(centre), np.empty_like(centre)
    for c, scale_of_column in enumerate(scales):
        if not np.isfinite(scale_of_column.low):
            away = (means[:, c] - centre[plan.stratum, c]) * (REACH_OF_MEANS if scale_of_column.several else REACH)
            low[:, c] = centre[:, c] + away.min(initial=0.0)
            high[:, c] = centre[:, c] + away.max(initial=0.0)
        elif scale_of_column.several and (largest := np.abs(means[:, c]).max(initial=0.0)) > 0:
            reach = (1 + 2 / units) * largest
            low[:, c], high[:, c] = max(scale_of_column.low, -reach), min(scale_of_column.high, reach)
        else:
            low[:, c], high[:, c] = scale_of_column.low, scale_of_column.high
    return low, high


def random_weights(
    name: str, units: int, strata: int, replicates: int, seed: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Random weights of one stratum's images and of its two ends, a block of replicates at a time.

    Gives the replicates of a block, float64 [replicate, unit] and [replicate, 2]. They are gamma variables. With shape
    (U - 2) / U the mean of U images varies by s² / U, its sampling variance; with (U - 1) / U by (U - 1) / U of that,
    as in the usual bootstrap, which is enough where the ends of this one stratum add to it. Strata share the ends'
    `PRIOR`.
    """
    rng = generator("bootstrap", seed, name)
    shape = max(units - (1 if strata == 1 else 2), 0.2) / max(units, 1)
    for rows in p_values.row_blocks(replicates, units + 2):
        size = rows.stop - rows.start
        yield rows, rng.standard_gamma(shape, (size, units)), rng.standard_gamma(PRIOR / strata, (size, 2))


def weighted_means(
    sums: np.ndarray, counts: np.ndarray, low: np.ndarray, high: np.ndarray, unit: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """Means per question of one stratum under random weights, float64 [replicate, column].

    sums [unit, column] and counts [unit] of its questions; low, high [column]; weights unit [replicate, unit] and end
    [replicate, 2]. An end has as many questions as an image has on average.
    """
    questions = counts.mean()
    totals = unit @ sums + questions * (end[:, :1] * low + end[:, 1:] * high)
    return totals / (unit @ counts + questions * end.sum(axis=1))[:, None]


def bootstrap(
    plan: Design, values: np.ndarray, scales: Sequence[Scale], replicates: int = 2000, seed: int = 0
) -> np.ndarray:
    """Macro averages under random weights of the images of each stratum.

    values [question, column] -> float64 [replicate, column]. Every column is drawn alike but has ends of its own:
    estimate a difference as a column, not from two of them.
    """
    sums = p_values.unit_sums(plan, values)
    low, high = prior_ends(plan, values, scales)
    result = np.zeros((replicates, sums.shape[1]))
    for s, name in enumerate(plan.strata):
        in_stratum = plan.stratum == s
        for rows, unit, end in random_weights(name, int(in_stratum.sum()), len(plan.strata), replicates, seed):
            result[rows] += weighted_means(sums[in_stratum], plan.counts[in_stratum], low[s], high[s], unit, end)
    return result / len(plan.strata)


def interval(
    plan: Design, values: np.ndarray, scales: Sequence[Scale], replicates: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % intervals of macro averages, float64 [column]; values [question, column].

    nan where no stratum has two images: nothing then says how much images differ.
    """
    if len(plan.counts) <= len(plan.strata):
        unknown = np.full(values.shape[1], np.nan)
        return unknown, unknown
    return percentile_interval(p_values.macro_mean(plan, values), bootstrap(plan, values, scales, replicates, seed))


def percentile_interval(mean: np.ndarray, replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle 95 % of replicates [replicate, column] and the mean [column], which is past it where all are lost."""
    low, high = percentiles(replicates)
    return np.minimum(low, mean), np.maximum(high, mean)


def percentiles(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle 95 % of replicates over the first axis: (low, high)."""
    low, high = np.quantile(replicates, [(1 - COVERED) / 2, (1 + COVERED) / 2], axis=0)
    return low, high


@dataclass(frozen=True)
class Estimates:
    """Macro averages of columns, ends of their 95 % intervals, and two-sided p-values; float64 [column] each."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def estimate(plan: Design, columns: Sequence[Column], replicates: int = 2000, seed: int = 0) -> Estimates:
    """Estimate all columns on the same random weights, signs and exchanges (`interval`, `p_values.paired_p`).

    Neither the order of columns nor the presence of another one changes what is found of one.
    """
    values = np.stack([column.values for column in columns], axis=1)
    low, high = interval(plan, values, [column.scale for column in columns], replicates, seed)
    p = p_values.paired_p(plan, values, [column.masks for column in columns], replicates, seed)
    return Estimates(p_values.macro_mean(plan, values), low, high, p)


def estimate_by_name(
    unit: np.ndarray,
    columns: Mapping[tuple[Hashable, str], Column],
    kept_names: Container[str],
    replicates: int,
    seed: int,
) -> dict[Any, dict[str, float]]:
    """Estimate means over all questions, whatever their culture: key -> name, name_low, name_high, name_p -> number.

    unit       names of resampling units [question]
    columns    (key, name) -> what is estimated
    kept_names   names with an ending that are kept

    Intervals and p-values are nan where there is one unit alone.
    """
    if not columns or not len(unit):
        return {}
    plan = p_values.design(np.full(len(unit), ""), unit)  # one stratum
    estimates = estimate(plan, list(columns.values()), replicates, seed)
    result: dict[Any, dict[str, float]] = {}
    for (key, name), *numbers in zip(columns, estimates.mean, estimates.low, estimates.high, estimates.p, strict=True):
        numbers_by_name = zip((name, f"{name}_low", f"{name}_high", f"{name}_p"), map(float, numbers), strict=True)
        result.setdefault(key, {}).update(
            {end: value for end, value in numbers_by_name if end == name or end in kept_names}
        )
    return result
