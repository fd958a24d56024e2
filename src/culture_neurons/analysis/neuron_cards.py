"""Single neurons, one by one: how often each fires for every culture, where selectors rank it, and what it fires for.

P = K / T of a culture (K: tokens with g > 0, T: tokens), as in the selectors; the 95 % interval is a percentile
bootstrap over the images of the culture's recorded samples, tokens of samples about one image together (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from culture_neurons.seeds import generator
from culture_neurons.types import FEWEST_UNITS

#: Units of which the bootstrap holds weights at a time.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Probabilities:
    """How often neurons fire, by culture.

    cultures   names, sorted
    value      float64 [neuron, culture]: P; NaN where no token counts
    low, high  the same: ends of the 95 % interval; NaN for one unit alone, and where units do not differ: drawn again
               they always give the same P, and an interval without a width would say that it is known exactly
    units      int [culture]: images (or samples without one) that are drawn
    """

    cultures: list[str]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    units: list[int]


def top_neurons(mask: pd.DataFrame, count: int) -> pd.DataFrame:
    """The first `count` neurons of each culture by rank; columns culture, layer, neuron, score, rank, cultures by
    name."""
    chosen = mask[mask["rank"] <= count].sort_values(["culture", "rank"], kind="stable")
    return chosen[["culture", "layer", "neuron", "score", "rank"]].reset_index(drop=True)


def estimate_probabilities(
    cultures: Sequence[str],
    units: Sequence[str],
    tokens: np.ndarray,
    fired: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> Probabilities:
    """P of each neuron and culture with its interval.

    cultures, units   of each sample; samples of one unit are drawn together, see `culture_neurons.question_groups`
    tokens, fired     T [sample], or [sample, neuron] where not all tokens reach a neuron, and K [sample, neuron]
    """
    labels, unit = np.array(cultures, dtype=object), np.array(units, dtype=object)
    names = sorted(set(cultures))
    shape = (fired.shape[1], len(names))
    value, low, high = (np.full(shape, np.nan) for _ in range(3))  # (neuron, culture)
    n_units = []
    for c, name in enumerate(names):
        of_culture = labels == name
        k, t = _per_unit(unit[of_culture], fired[of_culture]), _per_unit(unit[of_culture], tokens[of_culture])
        n_units.append(len(t))
        t = t if t.ndim == 2 else t[:, None]
        reached = np.broadcast_to(t.sum(axis=0) > 0, shape[:1])
        np.divide(k.sum(axis=0), t.sum(axis=0), out=value[:, c], where=reached)
        if resamples and len(t) >= FEWEST_UNITS and reached.any():
            resampled = _resampled(k, t, resamples, generator(seed, "cards", name))[:, reached]
            ends = np.nanquantile(resampled, [0.025, 0.975], axis=0)
            ends[:, np.isclose(np.nanmin(resampled, axis=0), np.nanmax(resampled, axis=0), rtol=1e-9, atol=0)] = np.nan
            low[reached, c], high[reached, c] = ends
    return Probabilities(names, value, low, high, n_units)


def _per_unit(unit: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums of values [sample, ...] over the samples of each unit, float64 [unit, ...], units by name."""
    names, at = np.unique(unit, return_inverse=True)
    result = np.zeros((len(names), *values.shape[1:]))
    np.add.at(result, at, values)
    return result


def _resampled(k: np.ndarray, t: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """P [resample, neuron] of units drawn with replacement; NaN where none of them has a token.

    k, t   K [unit, neuron], and T [unit, 1] or [unit, neuron]
    """
    n, parts = len(t), []
    for start in range(0, resamples, step := max(1, _BLOCK // n)):
        weights = random.multinomial(n, np.full(n, 1 / n), size=min(step, resamples - start))  # (resample, unit)
        total = weights @ t
        parts.append(np.divide(weights @ k, total, out=np.full((len(weights), k.shape[1]), np.nan), where=total > 0))
    return np.concatenate(parts)


def rank_neurons(
    scores: np.ndarray, cultures: Sequence[str], culture: Sequence[str], layer: np.ndarray, neuron: np.ndarray
) -> list[int | None]:
    """Place of each neuron among all by its culture's scores [culture, layer, neuron], 1 for the highest; None where a
    selector can't choose it (its score is not positive, or the culture has none)."""
    index = {name: i for i, name in enumerate(cultures)}
    result: list[int | None] = []
    for name, at_layer, at_neuron in zip(culture, layer, neuron, strict=True):
        culture_scores = scores[index[name]] if name in index else None
        score = culture_scores[at_layer, at_neuron] if culture_scores is not None else 0.0
        result.append(1 + int((culture_scores > score).sum()) if score > 0 else None)
    return result


def most_active(tokens: np.ndarray, positive_sum: np.ndarray, count: int) -> list[list[tuple[int, float]]]:
    """Per neuron the samples with the largest mean activation S / T, as (row, S / T); those without any are left out.

    T [sample] or [sample, neuron] and S [sample, neuron]; the first of equal ones counts more.
    """
    tokens = tokens if tokens.ndim == 2 else tokens[:, None]
    mean = np.divide(positive_sum, tokens, out=np.zeros(positive_sum.shape), where=tokens > 0)
    order = np.argsort(-mean, axis=0, kind="stable")[:count]  # (place, neuron)
    return [[(int(i), float(mean[i, j])) for i in order[:, j] if mean[i, j] > 0] for j in range(mean.shape[1])]
