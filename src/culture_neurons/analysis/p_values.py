"""p-values: sign flips, exchanged masks, exact McNemar, Benjamini-Hochberg; `intervals` has the bootstrap.

Questions are grouped into units (the questions about one image are answered alike, so they are resampled
together) and units into strata (cultures). Every statistic is a macro average: the mean over cultures of the
mean over a culture's questions. Random streams are seeded by the names of strata, so neither the order of
rows nor the presence of another column changes a result.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import binom, false_discovery_control, rankdata

from culture_neurons.seeds import generator

#: Up to this number of arrangements all are enumerated; beyond it they are sampled at random.
EXACT_LIMIT = 50_000
#: Random numbers that are held in memory at a time.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Design:
    """Which questions belong together.

    strata   names, sorted
    stratum  int64 [unit]: the stratum of each unit
    unit     int64 [question]: the unit of each question
    counts   int64 [unit]: its number of questions
    """

    strata: list[str]
    stratum: np.ndarray
    unit: np.ndarray
    counts: np.ndarray


def design(strata: np.ndarray, units: np.ndarray) -> Design:
    """Group questions by the names of their stratum and, within it, of their unit (both [question])."""
    pairs = list(zip(map(str, strata), map(str, units), strict=True))
    distinct = sorted(set(pairs))
    names = sorted({s for s, _ in distinct})
    number = {pair: i for i, pair in enumerate(distinct)}
    unit = np.array([number[pair] for pair in pairs], dtype=np.int64)
    stratum = np.array([names.index(s) for s, _ in distinct], dtype=np.int64)
    return Design(names, stratum, unit, np.bincount(unit, minlength=len(distinct)))


def shuffle_labels(cultures: Sequence[str], units: Sequence[str], seed: int, number: int) -> list[str]:
    """Shuffle culture labels [sample] among units of samples (images): the labels of a permutation null.

    Samples of one unit and culture stay together and get one label. Labels are exchanged between units of equal size,
    so every culture keeps its number of samples. Shuffle `number` of a seed does not depend on the order of samples.
    """
    pairs = list(zip(map(str, cultures), map(str, units), strict=True))
    sizes = Counter(pairs)
    rng = generator("labels", seed, number)
    new_label: dict[tuple[str, str], str] = {}
    for size in sorted(set(sizes.values())):
        same_size = sorted(pair for pair, n in sizes.items() if n == size)
        labels = [culture for culture, _ in same_size]
        new_label |= {pair: labels[i] for pair, i in zip(same_size, rng.permutation(len(same_size)), strict=True)}
    return [new_label[pair] for pair in pairs]


def unit_sums(plan: Design, values: np.ndarray) -> np.ndarray:
    """Sums of [question, column] over each unit: float64 [unit, column]."""
    result = np.zeros((len(plan.counts), values.shape[1]))
    np.add.at(result, plan.unit, values)
    return result


def stratum_means(plan: Design, values: np.ndarray) -> np.ndarray:
    """Mean over each stratum's questions; values [question, column] -> float64 [stratum, column]."""
    sums = np.zeros((len(plan.strata), values.shape[1]))
    np.add.at(sums, plan.stratum, unit_sums(plan, values))
    return sums / np.bincount(plan.stratum, weights=plan.counts, minlength=len(plan.strata))[:, None]


def macro_mean(plan: Design, values: np.ndarray) -> np.ndarray:
    """Mean over strata of the mean over a stratum's questions; values [question, column] -> [column]."""
    return stratum_means(plan, values).mean(axis=0)


def sign_flips(plan: Design, values: np.ndarray, permutations: int = 2000, seed: int = 0) -> np.ndarray:
    """Macro averages after each unit's values kept or changed their sign at random.

    values [question, column]: paired differences -> float64 [permutation, column]. As in `intervals.bootstrap`, the
    same draws serve all columns.
    """
    weighted = _weighted(plan, values)
    result = np.zeros((permutations, weighted.shape[1]))
    for s, name in enumerate(plan.strata):
        in_stratum = weighted[plan.stratum == s]
        for rows, sign in random_signs(name, len(in_stratum), permutations, seed):
            result[rows] += sign @ in_stratum
    return result


def random_signs(name: str, units: int, permutations: int, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Random signs of one stratum's units, a block at a time: the permutations, and float64 [permutation, unit]."""
    rng = generator("signs", seed, name)
    for rows in row_blocks(permutations, units):
        yield rows, np.where(rng.random((rows.stop - rows.start, units)) < 0.5, -1.0, 1.0)


def row_blocks(total: int, width: int) -> Iterator[slice]:
    """Slices of `total` rows of `width` random numbers, few enough to hold."""
    step = max(1, _CHUNK // max(1, width))
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))


def two_sided(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """p = (b + 1) / (m + 1), b = how many of m null values [m, column] are as far from 0 as observed [column].

    nan where the observed value is.
    """
    slack = 1e-9 * np.abs(observed) + 1e-15
    p = ((np.abs(null) >= np.abs(observed) - slack).sum(axis=0) + 1) / (len(null) + 1)
    return np.where(np.isfinite(observed), p, np.nan)


def exchange_null(
    plan: Design, masks: Sequence[np.ndarray], permutations: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Macro averages of own - mean of the others: observed, and under random choices, per unit, of the own mask.

    masks   a column each: values [question, mask], the own mask first, two masks at least

    Returns float64 [column] and [permutation, column]. Under the null hypothesis that a question's own mask does to it
    what any other could have done, all are equally likely, whatever the law of changes: rare losses too.
    """
    result = np.zeros((permutations, len(masks)))
    observed = np.zeros(len(masks))
    gains = []
    for values in masks:  # x - (sum - x) / (n - 1) for each choice x of the own one: [unit, mask]
        weighted, n = _weighted(plan, values), values.shape[1]
        gains.append((weighted * n - weighted.sum(axis=1, keepdims=True)) / (n - 1))
    for c, gain in enumerate(gains):
        observed[c] = gain[:, 0].sum()
    for s, name in enumerate(plan.strata):
        in_stratum = np.flatnonzero(plan.stratum == s)
        rng = generator("exchanged", seed, name)
        for rows in row_blocks(permutations, len(in_stratum)):
            uniform = rng.random((rows.stop - rows.start, len(in_stratum)))
            for c, gain in enumerate(gains):
                n = gain.shape[1]
                picks = (uniform * n).astype(np.int64) + n * np.arange(len(in_stratum))
                result[rows, c] += gain[in_stratum].ravel()[picks].sum(axis=1)
    return observed, result


def paired_p(
    plan: Design,
    values: np.ndarray,
    masks: Sequence[np.ndarray | None],
    permutations: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Two-sided p-values of macro averages of paired differences, float64 [column]: sampling noise of the questions.

    values   [question, column]
    masks    per column None, or for differences own - mean of several others [question, mask], the own mask first

    Sign flips of the units; and, where there are `masks`, these exchanged: the larger p counts. Signs alone are
    significant too often where changes are rare, since -100 or 0 against the mean of many masks is skewed. Exchanges
    alone are where the own mask changes answers both ways and the others hardly do. nan where there is one unit alone.
    """
    if len(plan.counts) < 2:
        return np.full(values.shape[1], np.nan)
    p = two_sided(macro_mean(plan, values), sign_flips(plan, values, permutations, seed))
    with_masks = [
        c for c, columns_masks in enumerate(masks) if columns_masks is not None and columns_masks.shape[1] > 1
    ]
    if with_masks:
        null = exchange_null(plan, [masks[c] for c in with_masks], permutations, seed)
        p[with_masks] = np.maximum(p[with_masks], two_sided(*null))
    return p


def exchange_test(
    own: np.ndarray, controls: np.ndarray, permutations: int = 9999, seed: int = 0
) -> tuple[float, float]:
    """Is the culture's mask more than one more random mask?

    own [culture] and controls [control, culture] are mean effects of the masks on the culture's own questions.
    Under the null hypothesis any of them could have been called the culture's own, in each culture separately.
    Statistic: mean over cultures of own - mean of the rest. With one control this is a sign-flip test.

    Returns the two-sided p-value (twice the smaller tail, exact where there are few arrangements) and the
    smallest value it could have taken.
    """
    effects = np.vstack([own[None], controls])  # [1 + control, culture]
    n, cultures = effects.shape
    # x - (sum - x) / (n - 1), for each choice x of the own one
    gain = (effects * n - effects.sum(axis=0)) / (n - 1)
    observed = gain[0].sum()
    if n**cultures <= EXACT_LIMIT:
        null = np.zeros(1)
        for column in gain.T:
            null = (null[:, None] + column).ravel()
        return _tails(observed, null, exact=True), min(1.0, 2 / len(null))
    picks = generator("exchange", seed, n, cultures).integers(n, size=(permutations, cultures))
    null = gain[picks, np.arange(cultures)].sum(axis=1)
    return _tails(observed, null, exact=False), 2 / (permutations + 1)


def relabel_test(matrix: np.ndarray, permutations: int = 9999, seed: int = 0) -> tuple[float, float]:
    """Does it matter which culture a mask is for?

    matrix [mask culture, evaluated culture] holds mean effects. Under the null hypothesis the masks' labels are
    arbitrary. Statistic: the sum of the diagonal under a permutation of the rows; since the sum of all
    cells is fixed, it orders permutations as mean diagonal - mean off the diagonal does.

    Returns the two-sided p-value (twice the smaller tail, exact up to 8 cultures) and the smallest value it
    could have taken.
    """
    n = len(matrix)
    rows = all_permutations(n) if n <= 8 else None
    exact = rows is not None
    if rows is None:
        rows = generator("relabel", seed, n).permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)
    null = matrix[rows, np.arange(n)].sum(axis=1)
    least = 2 / (len(rows) + (not exact))
    return _tails(float(np.trace(matrix)), null, exact), min(1.0, least)


def mantel(
    similarity: np.ndarray, effects: Sequence[np.ndarray], permutations: int = 9999, seed: int = 0
) -> list[tuple[float, float, float]]:
    """Do effects follow how similar cultures are? Mantel's test with Spearman's correlation over ordered pairs.

    similarity [culture, culture], symmetric; each of effects [culture, culture], which need not be; diagonals do not
    count. Under the null hypothesis the cultures' names in the one are arbitrary: they are permuted, rows and columns
    together, so that pairs with a culture in common stay dependent as they are.

    Returns for each of effects the correlation (nan where one of the two is constant, or for nan among effects), the
    two-sided p-value (twice the smaller tail, exact up to 7 cultures) and the smallest value it could have taken.
    """
    n = len(similarity)
    off_diagonal = ~np.eye(n, dtype=bool)
    exact = n <= 7
    rows = all_permutations(n) if exact else generator("mantel", seed, n).permuted(
        np.tile(np.arange(n), (permutations, 1)), axis=1
    )  # fmt: skip
    # Ranks stay the same under a permutation of names, and so do their means and spreads.
    ranked = np.zeros((n, n))
    ranked[off_diagonal] = _standard_ranks(similarity[off_diagonal])
    ranked_effects = np.stack(
        [_standard_ranks(np.asarray(effect)[off_diagonal]) for effect in effects], axis=1
    )  # (pair, effect)
    step = max(1, _CHUNK // (n * n))
    null = np.concatenate([
        ranked[block[:, :, None], block[:, None, :]][:, off_diagonal] @ ranked_effects
        for block in (rows[start : start + step] for start in range(0, len(rows), step))
    ])  # fmt: skip
    least = min(1.0, 2 / (len(rows) + (not exact)))
    correlation = ranked[off_diagonal] @ ranked_effects
    return [
        (float(r), _tails(r, column, exact) if np.isfinite(r) else np.nan, least)
        for r, column in zip(correlation, null.T, strict=True)
    ]


def mcnemar(lost: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """Exact two-sided McNemar test, elementwise: `lost` right answers became wrong, `gained` wrong ones right.

    Under the null hypothesis each change is as likely in either direction, so the smaller count is binomial
    with p = 1/2. 1 where nothing changed.
    """
    lost, gained = np.asarray(lost), np.asarray(gained)
    return np.minimum(1.0, 2 * binom.cdf(np.minimum(lost, gained), lost + gained, 0.5))


def mcnemar_units(changes: np.ndarray) -> np.ndarray:
    """The same where answers change together: changes int64 [unit, column], gained - lost of each unit (image).

    Under the null hypothesis the sign of each unit's change is as likely either way; the distribution of the sum is
    exact. With one question per unit this is `mcnemar`. 1 where no unit changed on balance.
    """
    changes = np.asarray(changes)
    p = mcnemar((changes < 0).sum(axis=0), (changes > 0).sum(axis=0))
    grouped = np.flatnonzero((np.abs(changes) > 1).any(axis=0))
    p[grouped] = [_sign_test(changes[:, c]) for c in grouped]
    return p


def _sign_test(changes: np.ndarray) -> float:
    """Twice the smaller tail of the sum of `changes` int64 [unit], over all signs."""
    sizes, times = np.unique(np.abs(changes[changes != 0]), return_counts=True)
    density = np.ones(1)  # of (sum + largest possible sum) / 2, in steps of one
    for size, n in zip(sizes, times, strict=True):
        spread = np.zeros(n * size + 1)
        spread[::size] = binom.pmf(np.arange(n + 1), n, 0.5)
        density = np.convolve(density, spread)
    at = (int(changes.sum()) + len(density) - 1) // 2
    return float(min(1.0, 2 * min(density[: at + 1].sum(), density[at:].sum())))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """p-values adjusted for the false discovery rate within one family; NaN stays NaN and does not count."""
    p = np.asarray(p, dtype=np.float64)
    finite = np.isfinite(p)
    result = np.full(p.shape, np.nan)
    if finite.any():
        result[finite] = false_discovery_control(p[finite], method="bh")
    return result


def adjust_within(table: pd.DataFrame, family: Sequence[str], pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The table with adjusted p-values: Benjamini-Hochberg over all rows with equal values of the columns of `family`.

    pairs   (column of p-values, column to fill in)
    """
    table = table.copy()
    for p, adjusted in pairs:
        table[adjusted] = np.nan
        for _, group in table.groupby(list(family), sort=False):
            table.loc[group.index, adjusted] = benjamini_hochberg(group[p].to_numpy(float))
    return table


def _weighted(plan: Design, values: np.ndarray) -> np.ndarray:
    """[unit, column], scaled so that the sum over units is the macro average."""
    questions = np.bincount(plan.stratum, weights=plan.counts, minlength=len(plan.strata))
    return unit_sums(plan, values) / (questions[plan.stratum] * len(plan.strata))[:, None]


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    """Mean ranks about their mean, of length 1; nan where all are equal or one is nan."""
    ranks = rankdata(values, nan_policy="propagate") - (len(values) + 1) / 2
    length = np.sqrt(ranks @ ranks)
    return ranks / length if length > 0 else np.full(len(ranks), np.nan)


def _tails(observed: float, null: np.ndarray, exact: bool) -> float:
    """Twice the smaller tail, at most 1; the observed arrangement is among `null` when exact."""
    slack = 1e-9 * np.abs(null).max(initial=0.0) + 1e-15
    low, high = (null <= observed + slack).sum(), (null >= observed - slack).sum()
    add = 0 if exact else 1
    return min(1.0, 2 * (min(low, high) + add) / (len(null) + add))


@cache
def all_permutations(n: int) -> np.ndarray:
    """All orders of n things, int64 [order, n]."""
    return np.array(list(itertools.permutations(range(n))), dtype=np.int64).reshape(-1, n)
