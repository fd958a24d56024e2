"""MAD: how far a culture's mean activation lies above the other cultures' mean."""

from __future__ import annotations

import numpy as np

from culture_neurons.errors import ConfigError
from culture_neurons.types import Statistics

#: A spread below this share of the largest mean is rounding noise and counts as none.
_NOISE = 1e-12


def mad(statistics: Statistics, *, normalise: bool = True) -> np.ndarray:
    """Score by mean activation difference, float64 [culture, layer, neuron].

    With M = S / T (mean positive activation) and C cultures:

        score_c = M_c - mean of M over the other cultures,

    divided, with `normalise`, by the population standard deviation of M over all cultures (c included).
    A neuron whose M is the same for all cultures scores 0.

    Source: Zhao et al. 2025, arXiv 2510.24942 ("normalised deviation"; the divisor is our reading,
    since the text gives no formula). Raises ConfigError with fewer than two cultures, and with two where `normalise`
    is true: each lies one standard deviation from their mean, so that every neuron would score 2 or -2.
    """
    if not isinstance(normalise, bool):
        raise ConfigError(f"selector mad: normalise must be true or false, found {normalise!r}")
    n = len(statistics.cultures)
    if n < 2:
        raise ConfigError(f"selector mad compares cultures and needs at least two, found {statistics.cultures}")
    if n == 2 and normalise:
        raise ConfigError(
            "selector mad: of two cultures all neurons have the same normalised score (2 or -2), which ranks none; set"
            " normalise: false"
        )
    mean_positive = statistics.mean_positive
    largest = np.abs(mean_positive).max(axis=0)  # [layer, neuron]
    noise = max(_NOISE, 4 * float(np.finfo(mean_positive.dtype).eps))
    constant = np.ptp(mean_positive, axis=0) <= noise * largest
    # M_c - (sum - M_c) / (n - 1) = (M_c - mean) * n / (n - 1), computed in place: the array is large.
    mean_positive -= mean_positive.mean(axis=0)
    if normalise:
        # Divide by the largest first, so that the squares of very small values do not vanish.
        mean_positive /= np.where(constant, 1.0, largest)
        spread = np.sqrt(np.einsum("cln,cln->ln", mean_positive, mean_positive) / n)
        mean_positive /= np.where(constant, 1.0, spread)
    mean_positive *= n / (n - 1)
    mean_positive[:, constant] = 0.0
    return mean_positive
