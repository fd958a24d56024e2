"""Effect size: how far a culture's mean activation lies from that of all other questions, in either direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from culture_neurons.errors import ConfigError
from culture_neurons.selectors import shares
from culture_neurons.types import Statistics

#: Below this share of the largest mean, a difference or a spread is rounding noise.
_NOISE = 1e-12


def effect_size(statistics: Statistics, *, floor: float = 0.9) -> np.ndarray:
    """Score by a moderated effect size, float64 [culture, layer, neuron], never negative.

    With x a question's mean of g over its tokens (both branches of g, so that a neuron that never fires counts too),
    m_c its mean over the n_c questions of culture c, and m_r over the n_r questions of all other cultures:

        score_c = |m_c - m_r| / (s_c + s_0),
        s_c^2 = (sum over c of (x - m_c)^2 + sum over the rest of (x - m_r)^2) / (n_c + n_r - 2).

    s_0 is the value of rank round(`floor` * number) among all s_c in ascending order. It keeps neurons whose
    activation hardly varies at all from the top; 0: none, |Cohen's d|. A culture without questions, or without others
    to compare with, scores 0; and so does a neuron of an expert that tokens of fewer than three questions reach.

    Source: Cohen 1988; s_0 as in Tusher et al. 2001 (doi 10.1073/pnas.091062498), its quantile of 0.9 as in Efron et
    al. 2001 (doi 10.1198/016214501753382129).
    Raises ConfigError with fewer than two cultures or three questions, a floor outside [0, 1], or for statistics
    without the moments of x.
    """
    if isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 <= floor <= 1:
        raise ConfigError(f"selector effect-size: floor must be a number in [0, 1], found {floor!r}")
    if statistics.mean_sum is None or statistics.square_sum is None or statistics.samples is None:
        raise ConfigError(
            "selector effect-size needs the sum of min(g, 0), which was not recorded; set negative_sum: true under"
            " recording"
        )
    sums, squares = statistics.mean_sum, statistics.square_sum
    n, total, known = _questions(statistics)
    if len(n) < 2 or not np.any(known):
        raise ConfigError(
            f"selector effect-size compares cultures and needs at least two, with three questions in all;"
            f" found {statistics.cultures} with {np.max(total)}"
        )
    all_sums, all_squares = sums.sum(axis=0), squares.sum(axis=0)
    least_share = max(_NOISE, 4 * float(np.finfo(sums.dtype).eps))
    noise = least_share * np.sqrt(all_squares / total)  # [layer, neuron]
    scores, spread = np.zeros_like(sums), np.zeros_like(sums)
    for c, n_c in enumerate(n):
        n_r = total - n_c
        if not np.all((n_c > 0) & (n_r > 0)):
            continue
        mean, rest = sums[c] / n_c, (all_sums - sums[c]) / n_r
        difference = np.abs(mean - rest)
        scores[c] = np.where(known & (difference > noise), difference, 0.0)
        # Sums of squares about the means; rounding may take them a little below 0.
        within = all_squares - n_c * mean**2 - n_r * rest**2
        spread[c] = np.sqrt(np.maximum(within, 0.0) / (total - 2 if known is True else np.maximum(total - 2, 1)))
    place = max(shares.rounded(floor, spread.size), 1) - 1
    spread += float(np.partition(spread, place, axis=None)[place]) if floor else 0.0
    np.maximum(spread, noise, out=spread)
    spread[spread == 0] = 1.0  # where scores are 0 too
    return np.divide(scores, spread, out=scores)


def _questions(statistics: Statistics) -> tuple[list, Any, Any]:
    """n_c of each culture, their sum, and whether it is three or more: numbers of Python's, which leave float32 as it
    is; of a model with experts arrays [layer, neuron] in the type of the sums, of which all n_c are above 0."""
    if statistics.column is None:
        n = statistics.samples.tolist()
        return n, sum(n), sum(n) >= 3
    n = [statistics.samples_of(c).astype(statistics.mean_sum.dtype) for c in range(len(statistics.cultures))]
    total = np.sum(n, axis=0)
    return n, total, total >= 3
