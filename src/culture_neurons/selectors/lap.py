"""LAP: how often a neuron fires for a culture."""

from __future__ import annotations

import numpy as np

from culture_neurons.types import Statistics


def lap(statistics: Statistics) -> np.ndarray:
    """Score by activation probability: score_c = P_c = K_c / T_c, float64 [culture, layer, neuron] in [0, 1].

    Not contrastive: a neuron that fires for everything scores high for every culture.
    Source: Zhao et al. 2025, arXiv 2510.24942 (LAP baseline).
    """
    return statistics.probability
