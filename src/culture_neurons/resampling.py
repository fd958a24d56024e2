"""Intervals and p-values: bootstrap, sign flips, exchanged masks, exact McNemar, Benjamini-Hochberg.

Questions are grouped into units (the questions about one image are answered alike, so they are resampled
together) and units into strata (cultures). Every statistic is a macro average: the mean over cultures of the
mean over a culture's questions. Random streams are seeded by the names of strata, so neither the order of
rows nor the presence of another column changes a result.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import binom, false_discovery_control, rankdata

from culture_neurons.seeds import generator

#: Arrangements are enumerated up to this number, and drawn at random beyond it.
EXACT_LIMIT = 50_000
_CHUNK = 4_000_000  # random numbers held at a time


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
    known = sorted(set(pairs))
    names = sorted({s for s, _ in known})
    place = {pair: i for i, pair in enumerate(known)}
    unit = np.array([place[pair] for pair in pairs], dtype=np.int64)
    stratum = np.array([names.index(s) for s, _ in known], dtype=np.int64)
    return Design(names, stratum, unit, np.bincount(unit, minlength=len(known)))


def shuffled(cultures: Sequence[str], units: Sequence[str], seed: int, number: int) -> list[str]:
    """Culture labels [sample] that say nothing: labels are dealt anew among units of samples (images).

    Samples of one unit and culture stay together, and get one label. Each culture keeps its number of units of each
    size, so numbers of samples stay as they are. Shuffle `number` of a seed is the same whatever the order of samples.
    """
    pairs = list(zip(map(str, cultures), map(str, units), strict=True))
    sizes = Counter(pairs)
    rng = generator("labels", seed, number)
    other: dict[tuple[str, str], str] = {}
    for size in sorted(set(sizes.values())):
        mine = sorted(pair for pair, n in sizes.items() if n == size)
        labels = [culture for culture, _ in mine]
        other |= {pair: labels[i] for pair, i in zip(mine, rng.permutation(len(mine)), strict=True)}
    return [other[pair] for pair in pairs]


def macro_mean(plan: Design, values: np.ndarray) -> np.ndarray:
    """Mean over strata of the mean over a stratum's questions; values [question, column] -> [column]."""
    return _weighted(plan, values).sum(axis=0)


def bootstrap(plan: Design, values: np.ndarray, replicates: int = 2000, seed: int = 0) -> np.ndarray:
    """Macro averages of resampled questions: units drawn with replacement within each stratum.

    values [question, column] -> float64 [replicate, column]. The same draws serve all columns, so a difference
    of columns may be taken afterwards.
    """
    sums = _unit_sums(plan, values)
    result = np.zeros((replicates, sums.shape[1]))
    for s, name in enumerate(plan.strata):
        mine = plan.stratum == s
        for rows, weights in draws(name, plan.counts[mine], replicates, seed):
            result[rows] += weights @ sums[mine]
    return result / len(plan.strata)


def draws(name: str, counts: np.ndarray, replicates: int, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Bootstrap weights of one stratum, a block of replicates at a time: weights @ sums per unit = mean per question.

    counts   int64 [unit]: number of questions
    Gives the replicates of a block and float64 [replicate, unit].
    """
    n = len(counts)
    rng = generator("bootstrap", seed, name)
    for rows in _blocks(replicates, n):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=rows.stop - rows.start).astype(np.float64)
        yield rows, weights / (weights @ counts)[:, None]


def interval(replicates: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of bootstrap replicates over the first axis: (low, high)."""
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def sign_flips(plan: Design, values: np.ndarray, permutations: int = 2000, seed: int = 0) -> np.ndarray:
    """Macro averages after each unit's values kept or changed their sign at random.

    values [question, column]: paired differences -> float64 [permutation, column]. As in `bootstrap`, the
    same draws serve all columns.
    """
    weighted = _weighted(plan, values)
    result = np.zeros((permutations, weighted.shape[1]))
    for s, name in enumerate(plan.strata):
        mine = weighted[plan.stratum == s]
        for rows, sign in signs(name, len(mine), permutations, seed):
            result[rows] += sign @ mine
    return result


def signs(name: str, units: int, permutations: int, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Random signs of one stratum's units, a block at a time: the permutations, and float64 [permutation, unit]."""
    rng = generator("signs", seed, name)
    for rows in _blocks(permutations, units):
        yield rows, np.where(rng.random((rows.stop - rows.start, units)) < 0.5, -1.0, 1.0)


def two_sided(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """p = (b + 1) / (m + 1), b = how many of m null values [m, column] are as far from 0 as observed [column]."""
    slack = 1e-9 * np.abs(observed) + 1e-15
    return ((np.abs(null) >= np.abs(observed) - slack).sum(axis=0) + 1) / (len(null) + 1)


def exchange(own: np.ndarray, controls: np.ndarray, permutations: int = 9999, seed: int = 0) -> tuple[float, float]:
    """Is the culture's mask more than one more random mask?

    own [culture] and controls [control, culture] are mean effects of the masks on the culture's own questions.
    Under the null hypothesis any of them could have been called the culture's own, in each culture separately.
    Statistic: mean over cultures of own - mean of the rest. With one control this is a sign-flip test.

    Returns the two-sided p-value (twice the smaller tail, exact where there are few arrangements) and the
    smallest value it could have taken.
    """
    everything = np.vstack([own[None], controls])  # [1 + control, culture]
    n, cultures = everything.shape
    # x - (sum - x) / (n - 1), for each choice x of the own one
    gain = (everything * n - everything.sum(axis=0)) / (n - 1)
    observed = gain[0].sum()
    if n**cultures <= EXACT_LIMIT:
        null = np.zeros(1)
        for column in gain.T:
            null = (null[:, None] + column).ravel()
        return _tails(observed, null, exact=True), min(1.0, 2 / len(null))
    picks = generator("exchange", seed, n, cultures).integers(n, size=(permutations, cultures))
    null = gain[picks, np.arange(cultures)].sum(axis=1)
    return _tails(observed, null, exact=False), 2 / (permutations + 1)


def relabel(matrix: np.ndarray, permutations: int = 9999, seed: int = 0) -> tuple[float, float]:
    """Does it matter which culture a mask is for?

    matrix [mask culture, evaluated culture] holds mean effects. Under the null hypothesis the masks' labels are
    arbitrary. Statistic: the sum of the diagonal under a permutation of the rows; since the sum of all
    cells is fixed, it orders permutations as mean diagonal - mean off the diagonal does.

    Returns the two-sided p-value (twice the smaller tail, exact up to 8 cultures) and the smallest value it
    could have taken.
    """
    n = len(matrix)
    rows = _all_permutations(n) if n <= 8 else None
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
    off = ~np.eye(n, dtype=bool)
    exact = n <= 7
    rows = _all_permutations(n) if exact else generator("mantel", seed, n).permuted(
        np.tile(np.arange(n), (permutations, 1)), axis=1
    )  # fmt: skip
    # Ranks stay the same under a permutation of names, and so do their means and spreads.
    ranked = np.zeros((n, n))
    ranked[off] = _standard_ranks(similarity[off])
    wanted = np.stack([_standard_ranks(np.asarray(effect)[off]) for effect in effects], axis=1)  # (pair, effect)
    step = max(1, _CHUNK // (n * n))
    null = np.concatenate([
        ranked[part[:, :, None], part[:, None, :]][:, off] @ wanted
        for part in (rows[start : start + step] for start in range(0, len(rows), step))
    ])  # fmt: skip
    least = min(1.0, 2 / (len(rows) + (not exact)))
    correlation = ranked[off] @ wanted
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


def estimates(
    unit: np.ndarray, values: np.ndarray, replicates: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Means over all questions alike, float64 [column], both ends of their 95 % intervals, and p-values by sign flips.

    unit     what is drawn together [question]; values [question, column]

    Intervals and p-values are nan where there is one unit alone: drawn again and again it would have no width.
    """
    plan = design(np.full(len(unit), ""), unit)  # one stratum
    means = macro_mean(plan, values)
    if len(plan.counts) < 2:
        unknown = np.full(len(means), np.nan)
        return means, unknown, unknown, unknown
    low, high = interval(bootstrap(plan, values, replicates, seed))
    return means, low, high, two_sided(means, sign_flips(plan, values, replicates, seed))


def named_estimates(
    unit: np.ndarray,
    columns: Mapping[tuple[Hashable, str], np.ndarray],
    wanted: Container[str],
    replicates: int,
    seed: int,
) -> dict[Any, dict[str, float]]:
    """`estimates` of columns that have names: key -> name, and its name with `_low`, `_high` and `_p` -> number.

    unit       what is drawn together [question]
    columns    (key, name) -> values [question]; drawn alike, whatever their number
    wanted     of the names with an ending, those that are asked for
    """
    if not columns or not len(unit):
        return {}
    found: dict[Any, dict[str, float]] = {}
    parts = zip(*estimates(unit, np.stack(list(columns.values()), axis=1), replicates, seed), strict=True)
    for (key, name), numbers in zip(columns, parts, strict=True):
        named = zip((name, f"{name}_low", f"{name}_high", f"{name}_p"), map(float, numbers), strict=True)
        found.setdefault(key, {}).update({end: value for end, value in named if end == name or end in wanted})
    return found


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """p-values adjusted for the false discovery rate within one family; NaN stays NaN and does not count."""
    p = np.asarray(p, dtype=np.float64)
    known = np.isfinite(p)
    result = np.full(p.shape, np.nan)
    if known.any():
        result[known] = false_discovery_control(p[known], method="bh")
    return result


def _blocks(total: int, width: int) -> Iterator[slice]:
    step = max(1, _CHUNK // max(1, width))
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))


def _unit_sums(plan: Design, values: np.ndarray) -> np.ndarray:
    """Sums of [question, column] over each unit: [unit, column]."""
    result = np.zeros((len(plan.counts), values.shape[1]))
    np.add.at(result, plan.unit, values)
    return result


def _weighted(plan: Design, values: np.ndarray) -> np.ndarray:
    """[unit, column], scaled so that the sum over units is the macro average."""
    questions = np.bincount(plan.stratum, weights=plan.counts, minlength=len(plan.strata))
    return _unit_sums(plan, values) / (questions[plan.stratum] * len(plan.strata))[:, None]


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
def _all_permutations(n: int) -> np.ndarray:
    return np.array(list(itertools.permutations(range(n))), dtype=np.int64).reshape(-1, n)
