"""LAPE: activation probability entropy, with one budget per culture or as published.

Tang et al. 2024, "Language-Specific Neurons", arXiv 2402.16438. With P = K / T:

    q_c = P_c / sum of P over cultures,   H = - sum over cultures of q_c ln q_c   (0 ln 0 = 0).

A neuron is a candidate when P_c > tau for at least one culture; tau is the value of rank
round(activation_quantile * N) among all N = cultures * layers * neurons values of P in ascending order.
A candidate belongs to culture c when P_c > tau_bar, the value of rank round(bar_quantile * N).

Scores hold exp(-H), one over the effective number of cultures for which the neuron fires
(1: a single culture; 1/C: all C alike). It ranks as -H does and is positive, so that the rule
"a score that is not positive is never chosen" holds for every selector alike.
"""

from __future__ import annotations

import numpy as np

from culture_neurons.errors import ConfigError
from culture_neurons.selectors import shares
from culture_neurons.types import Statistics


def lape(statistics: Statistics, *, activation_quantile: float = 0.95, bar_quantile: float = 0.95) -> np.ndarray:
    """Score for one budget per culture: exp(-H) for candidates with P_c > tau_bar, -inf elsewhere.

    float64 [culture, layer, neuron]. The fixed budget makes LAPE comparable with the other selectors
    (our reading; the published sets are `lape_original`).
    Raises ConfigError with fewer than two cultures or a quantile outside (0, 1].
    """
    scores, above = _signed(statistics, activation_quantile, bar_quantile)
    scores[~above] = -np.inf
    return scores


def lape_original(
    statistics: Statistics, *, activation_quantile: float = 0.95, bar_quantile: float = 0.95
) -> np.ndarray:
    """Score for the published sets, which `choose_original` picks; float64 [culture, layer, neuron].

    exp(-H) for candidates with P_c > tau_bar; -exp(-H) for candidates that are not above the bar for c:
    they use up the common budget without going to c; -inf for neurons that are no candidates.
    Raises ConfigError with fewer than two cultures or a quantile outside (0, 1].
    """
    scores, above = _signed(statistics, activation_quantile, bar_quantile)
    np.negative(scores, out=scores, where=~above & np.isfinite(scores))
    return scores


def choose_original(scores: np.ndarray, budget: int) -> list[np.ndarray]:
    """The published sets: the `budget` candidates of lowest entropy, each for every culture above the bar.

    scores   float32 [culture, layer, neuron] of `lape_original`
    Returns, per culture, flat indices into layer * neuron, lowest entropy first. Sets overlap and their
    sizes vary; equal entropies are taken in the order (layer, index). Where there are fewer candidates than
    the budget, neurons that are no candidates do not fill it up.
    """
    flat = scores.reshape(len(scores), -1)
    candidates = np.flatnonzero(flat[0] > -np.inf)
    value = np.abs(flat[0, candidates])
    ranked = candidates[np.lexsort((candidates, -value))][:budget]
    return [ranked[row[ranked] > 0] for row in flat]


def rank_value(values: np.ndarray, quantile: float) -> float:
    """The value of rank round(quantile * size), counted from 1 in ascending order (torch.kthvalue)."""
    rank = max(shares.rounded(quantile, values.size), 1)
    return float(np.partition(values, rank - 1, axis=None)[rank - 1])


def entropy(probability: np.ndarray) -> np.ndarray:
    """H in nats over the first axis, after normalising to 1; 0 where all are 0. float64, other axes kept."""
    total = probability.sum(axis=0)
    total[total == 0] = 1.0
    result = np.zeros_like(total)
    smallest = np.finfo(probability.dtype).tiny
    for row in probability:  # one culture at a time: no second array of the full size
        share = row / total
        result -= share * np.log(np.maximum(share, smallest))  # several times faster than scipy's entr
    return result


def _signed(statistics: Statistics, activation_quantile: float, bar_quantile: float) -> tuple[np.ndarray, np.ndarray]:
    """exp(-H) for all cultures of a candidate and -inf otherwise; and where P_c > tau_bar."""
    for key, value in (("activation_quantile", activation_quantile), ("bar_quantile", bar_quantile)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise ConfigError(f"selector lape: {key} must be a number in (0, 1], found {value!r}")
    if len(statistics.cultures) < 2:
        raise ConfigError(f"selector lape compares cultures and needs at least two, found {statistics.cultures}")
    probability = statistics.probability
    tau = rank_value(probability, activation_quantile)
    bar = tau if bar_quantile == activation_quantile else rank_value(probability, bar_quantile)
    above = probability > bar
    candidate = probability.max(axis=0) > tau
    value = np.where(candidate, np.exp(-entropy(probability)), -np.inf)
    probability[...] = value
    return probability, above
