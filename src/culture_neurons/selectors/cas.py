"""CAS, also called ConAct: the margin of the culture for which a neuron fires most."""

from __future__ import annotations

import numpy as np

from culture_neurons.errors import ConfigError
from culture_neurons.types import Statistics


def cas(statistics: Statistics) -> np.ndarray:
    """Score by contrastive activation margin, float64 [culture, layer, neuron] in [0, 1].

    Let P_(1) >= P_(2) be the two largest activation probabilities of a neuron over cultures:

        score_c = P_(1) - P_(2)  for the culture c with the largest P,  0 for every other culture.

    So a neuron has a positive score for at most one culture, and for none when two cultures tie
    for the largest P (dead neurons among them).

    Source: Zhao et al. 2025, arXiv 2510.24942 (CAS; ConAct in version 2).
    Raises ConfigError with fewer than two cultures.
    """
    if len(statistics.cultures) < 2:
        raise ConfigError(f"selector cas compares cultures and needs at least two, found {statistics.cultures}")
    scores = statistics.probability
    first = np.full(scores.shape[1:], -1.0)  # [layer, neuron]: the largest so far
    second = np.full(scores.shape[1:], -1.0)
    winner = np.zeros(scores.shape[1:], dtype=np.int64)
    for c, probability in enumerate(scores):
        np.maximum(second, np.minimum(first, probability), out=second)
        winner[probability > first] = c
        np.maximum(first, probability, out=first)
    scores[...] = 0.0
    np.put_along_axis(scores, winner[None], (first - second)[None], axis=0)
    return scores
