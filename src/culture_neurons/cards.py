"""Single neurons, one by one: how often each fires for every culture, where selectors rank it, and what it fires for.

P = K / T of a culture (K: tokens with g > 0, T: tokens), as in the selectors; the 95 % interval is a percentile
bootstrap over the culture's recorded samples, tokens of a sample together (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from culture_neurons.seeds import generator

#: Samples of which the bootstrap holds weights at a time.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Probabilities:
    """How often neurons fire, by culture.

    cultures   names, sorted
    value      float64 [neuron, culture]: P; NaN where no token counts
    low, high  the same: ends of the 95 % interval; NaN for fewer than two samples
    """

    cultures: list[str]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def strongest(mask: pd.DataFrame, count: int) -> pd.DataFrame:
    """The first `count` neurons of each culture by rank; columns culture, layer, neuron, score, rank, cultures by
    name."""
    chosen = mask[mask["rank"] <= count].sort_values(["culture", "rank"], kind="stable")
    return chosen[["culture", "layer", "neuron", "score", "rank"]].reset_index(drop=True)


def probabilities(
    cultures: Sequence[str], tokens: np.ndarray, fired: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Probabilities:
    """P of each neuron and culture with its interval; T [sample] and K [sample, neuron] of samples of `cultures`."""
    labels = np.array(cultures, dtype=object)
    names = sorted(set(cultures))
    shape = (fired.shape[1], len(names))
    value, low, high = (np.full(shape, np.nan) for _ in range(3))  # (neuron, culture)
    for c, name in enumerate(names):
        own = labels == name
        k, t = fired[own].astype(float), tokens[own].astype(float)
        if t.sum() > 0:
            value[:, c] = k.sum(axis=0) / t.sum()
        if resamples and len(t) > 1 and t.sum() > 0:
            drawn = _resampled(k, t, resamples, generator(seed, "cards", name))
            low[:, c], high[:, c] = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    return Probabilities(names, value, low, high)


def _resampled(k: np.ndarray, t: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """P [resample, neuron] of samples drawn with replacement; NaN where none of them has a token."""
    n, parts = len(t), []
    for start in range(0, resamples, step := max(1, _BLOCK // n)):
        weights = random.multinomial(n, np.full(n, 1 / n), size=min(step, resamples - start))  # (resample, sample)
        total = (weights @ t)[:, None]
        parts.append(np.divide(weights @ k, total, out=np.full((len(weights), k.shape[1]), np.nan), where=total > 0))
    return np.concatenate(parts)


def ranks(
    scores: np.ndarray, cultures: Sequence[str], culture: Sequence[str], layer: np.ndarray, neuron: np.ndarray
) -> list[int | None]:
    """Place of each neuron among all by its culture's scores [culture, layer, neuron], 1 for the highest; None where a
    selector can't choose it (its score is not positive, or the culture has none)."""
    index = {name: i for i, name in enumerate(cultures)}
    result: list[int | None] = []
    for name, at_layer, at_neuron in zip(culture, layer, neuron, strict=True):
        own = scores[index[name]] if name in index else None
        score = own[at_layer, at_neuron] if own is not None else 0.0
        result.append(1 + int((own > score).sum()) if score > 0 else None)
    return result


def most_active(tokens: np.ndarray, positive_sum: np.ndarray, count: int) -> list[list[tuple[int, float]]]:
    """Per neuron the samples with the largest mean activation S / T, as (row, S / T); those without any are left out.

    T [sample] and S [sample, neuron]; the first of equal ones counts more.
    """
    mean = np.divide(positive_sum, tokens[:, None], out=np.zeros(positive_sum.shape), where=tokens[:, None] > 0)
    order = np.argsort(-mean, axis=0, kind="stable")[:count]  # (place, neuron)
    return [[(int(i), float(mean[i, j])) for i in order[:, j] if mean[i, j] > 0] for j in range(mean.shape[1])]
