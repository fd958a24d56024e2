"""Matched random masks: as many neurons per layer, as lively as those of a reference mask.

A plain random mask falls on other layers and mostly on neurons that hardly fire, so it may do less harm
merely for that. The matched control has, per culture, as many neurons in each (layer, liveliness) bin as
the reference mask; liveliness is the decile of the culture's activation probability P_c.
"""

from __future__ import annotations

import numpy as np

from culture_neurons.errors import ConfigError
from culture_neurons.selectors.uniform import uniform_scores
from culture_neurons.types import Statistics


def matched(statistics: Statistics, *, seed: int = 0, match: str = "cas") -> np.ndarray:
    """Independent uniform scores in (0, 1], float64 [culture, layer, neuron], as for `random`.

    The matching happens when a mask is chosen (`choose_matched`), since it needs the reference's mask at the
    same top fraction. `match` names the reference among the configured selectors.
    Raises ConfigError for a seed that is not a whole number from 0, or a `match` that is not a name.
    """
    if not isinstance(match, str) or not match:
        raise ConfigError(f"selector random-matched: match must name a selector, found {match!r}")
    return uniform_scores("random-matched", statistics, seed)


def choose_matched(
    scores: np.ndarray, budget: int, *, probability: np.ndarray, reference: list[np.ndarray]
) -> list[np.ndarray]:
    """Per culture, flat indices into layer * neuron with the reference's counts per (layer, decile).

    scores       float32 [culture, layer, neuron], uniform: they decide within a bin
    budget       not used: the size is the reference's
    probability  P, float64 [culture, layer, neuron]; NaN where no token reached a neuron's expert
    reference    per culture, flat indices of the reference mask

    Neurons of the reference itself are taken only where a bin has too few others, so that the counts
    always agree. The result is ordered by score, highest first.
    """
    layers = np.repeat(np.arange(scores.shape[1]), scores.shape[2])
    chosen = []
    for row, p, reference_indices in zip(scores.reshape(len(scores), -1), probability, reference, strict=True):
        bins = layers * 11 + activity_decile(p.ravel()) + 1
        in_reference = np.zeros(row.size, dtype=bool)
        in_reference[reference_indices] = True
        counts = np.bincount(bins[reference_indices], minlength=scores.shape[1] * 11)
        # Members of a bin side by side; short integers are sorted in linear time, whole scores are not sorted at all.
        bins = np.where(row > 0, bins, len(counts))  # what can't be chosen, such as what no token reached
        ends = np.cumsum(np.bincount(bins, minlength=len(counts) + 1))
        members = np.split(np.argsort(bins.astype(np.uint16), kind="stable"), ends[:-1])
        picked = [np.empty(0, dtype=np.int64)]
        for b in np.flatnonzero(counts):
            others = _best(row, members[b][~in_reference[members[b]]], counts[b])
            picked += [others, _best(row, members[b][in_reference[members[b]]], counts[b] - len(others))]
        union = np.concatenate(picked)
        chosen.append(_best(row, union, len(union)))
    return chosen


def _best(row: np.ndarray, candidates: np.ndarray, n: int) -> np.ndarray:
    """The n candidates of highest score, highest first, equal ones by index."""
    if len(candidates) > n > 0:
        least = np.partition(row[candidates], -n)[-n]
        candidates = candidates[row[candidates] >= least]
    return candidates[np.lexsort((candidates, -row[candidates]))][:n]


def activity_decile(probability: np.ndarray) -> np.ndarray:
    """The decile (0 to 9) of each value among the values above 0; -1 for dead neurons. int64, same shape.

    Equal values share a decile, so with many ties some deciles are empty.
    """
    alive = probability[probability > 0]  # no NaN
    if not alive.size:
        return np.full(probability.shape, -1, dtype=np.int64)
    # Sorting first and comparing edge by edge take a fraction of the time of np.quantile and np.searchsorted alone.
    edges = np.quantile(np.sort(alive), np.arange(1, 10) / 10)
    decile = np.zeros(probability.shape, dtype=np.int64)
    for edge in edges:
        decile += probability > edge
    return np.where(probability > 0, decile, -1)
