"""Random masks: the control that every selector is held against."""

from __future__ import annotations

import numpy as np

from culture_neurons.errors import ConfigError
from culture_neurons.seeds import generator
from culture_neurons.types import Statistics


def uniform(statistics: Statistics, *, seed: int = 0) -> np.ndarray:
    """Independent uniform scores in (0, 1], float64 [culture, layer, neuron]; dead neurons too.

    Each culture's scores depend on the seed and the culture's name alone, never on the other cultures.
    Raises ConfigError for a seed that is not a whole number from 0.
    """
    return uniform_scores("random", statistics, seed)


def uniform_scores(tag: str, statistics: Statistics, seed: int) -> np.ndarray:
    """Uniform scores in (0, 1] from streams named by (tag, seed, culture), float64 [culture, layer, neuron]."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"selector {tag}: seed must be a whole number from 0, found {seed!r}")
    scores = np.empty(statistics.fired.shape)
    for row, culture in zip(scores, statistics.cultures, strict=True):
        row[...] = 1.0 - generator(tag, seed, culture).random(row.shape)
    return scores
