"""Intervals that belong to the p-values of masks, what a design could have found, and how many masks carry an effect.

A difference between a culture's mask and others could be noise of the masks (`p_values.exchange_test`,
`p_values.relabel_test`). Here these tests are inverted: the interval has every shift d for which the test of
"own - d" against the others does not reach p < 0.05. Under each arrangement i of masks the statistic is a straight line
in d, so it is as large as the observed one exactly where d is past one number d_i, and the ends of the interval are
order statistics of the d_i: no search. 0 is inside exactly where p >= 0.05.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm

from culture_neurons.analysis.p_values import EXACT_LIMIT, all_permutations
from culture_neurons.analysis.significance import LEVEL
from culture_neurons.seeds import generator

#: The share of runs in which a test is to find what it looks for, where one asks how small that may be.
POWER = 0.8
UNBOUNDED = (-math.inf, math.inf)


def exchange_interval(
    own: np.ndarray, controls: np.ndarray, permutations: int = 9999, seed: int = 0
) -> tuple[float, float]:
    """The shifts of the own masks that `p_values.exchange_test` does not reject, on the same arrangements.

    own [culture] and controls [control, culture] as there: mean effects on the culture's own questions. Returns the
    ends of own - mean of the controls, infinite where so few arrangements can reject nothing.
    """
    effects = np.vstack([own[None], controls])  # [1 + control, culture]
    n, cultures = effects.shape
    gain = (effects * n - effects.sum(axis=0)) / (n - 1)
    slope = np.full(n, 1 / (n - 1))  # of the gain of each choice, where the own effect falls by one
    slope[0] = -1.0
    if exact := n**cultures <= EXACT_LIMIT:
        null, steps = np.zeros(1), np.zeros(1)
        for column in gain.T:
            null = (null[:, None] + column).ravel()
            steps = (steps[:, None] + slope).ravel()
    else:
        picks = generator("exchange", seed, n, cultures).integers(n, size=(permutations, cultures))
        null, steps = gain[picks, np.arange(cultures)].sum(axis=1), slope[picks].sum(axis=1)
    return _ends(gain[0].sum() - null, cultures + steps, exact)


def relabel_interval(matrix: np.ndarray, permutations: int = 9999, seed: int = 0) -> tuple[float, float]:
    """The shifts of the diagonal that `p_values.relabel_test` does not reject, on the same arrangements.

    matrix [mask culture, evaluated culture] as there. Returns the ends of mean diagonal - mean off the diagonal,
    infinite where so few arrangements can reject nothing.
    """
    n = len(matrix)
    exact = n <= 8
    rows = all_permutations(n) if exact else generator("relabel", seed, n).permuted(
        np.tile(np.arange(n), (permutations, 1)), axis=1
    )  # fmt: skip
    null = matrix[rows, np.arange(n)].sum(axis=1)
    return _ends(float(np.trace(matrix)) - null, n - (rows == np.arange(n)).sum(axis=1), exact)


def _ends(ahead: np.ndarray, per_shift: np.ndarray, exact: bool) -> tuple[float, float]:
    """Ends of the shifts that two tails of LEVEL / 2 leave.

    ahead      observed - null statistic of each arrangement, float64 [arrangement]
    per_shift  by how much a shift of one brings them together: 0 for the arrangement as it was observed
    """
    moves = per_shift > 1e-9
    reached = ahead[moves] / per_shift[moves]
    reached[np.abs(reached) <= 1e-9 * np.abs(reached).max(initial=0.0)] = 0.0  # a tie, as in the tests
    total = len(ahead) + (not exact)
    # The observed arrangement is on both sides of every shift.
    rank = math.ceil(LEVEL / 2 * total - 1e-9) - (total - len(reached))
    if rank <= 0:
        return UNBOUNDED
    reached.sort()
    return float(reached[rank - 1]), float(reached[-rank])


def hull(*intervals: tuple[float, float]) -> tuple[float, float]:
    """The smallest interval that holds all of them, nan where an end is unknown or infinite: as a claim that both kinds
    of noise are excluded has the larger p-value, its interval has what either test leaves."""
    low, high = (extreme([ends[i] for ends in intervals]) for i, extreme in enumerate((np.min, np.max)))
    return (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else (math.nan, math.nan)


def least_detectable(low: float, high: float) -> float:
    """The size of a difference that is told from 0 in `POWER` of runs with an interval of this width.

    As for a normal estimate whose 95 % interval is [low, high]; unadjusted for other comparisons. nan without one.
    """
    quantile = norm.ppf(1 - LEVEL / 2)
    return float((high - low) / (2 * quantile) * (quantile + norm.ppf(POWER)))


def count_beyond(own: np.ndarray, others: np.ndarray) -> int:
    """How many masks carry a difference: own [culture] effects past all of `others` [..., culture or 1], on the side on
    which own is on average; nan among others does not count."""
    if not len(own) or not np.isfinite(others).any():
        return 0
    sign = np.sign(own.mean() - np.nanmean(others))
    farthest = np.nanmax(sign * others, axis=0)
    return int((sign * own > farthest + 1e-9).sum()) if sign else 0
