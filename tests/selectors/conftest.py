"""Statistics for the tests of the selectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from culture_neurons.types import Statistics


def _statistics(seed: int = 0, cultures: int = 4, layers: int = 3, neurons: int = 20) -> Statistics:
    """Counts with ties, dead neurons and neurons that fire for one culture alone; names not in sorted order."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(50, 90, cultures)
    fired = rng.binomial(tokens[:, None, None], rng.beta(0.3, 2.0, (cultures, layers, neurons)))
    fired[:, :, 0] = 0
    fired[1:, :, 1] = 0
    fired[:2, :, 2] = 0
    positive_sum = fired * rng.exponential(1.0, fired.shape)
    positive_sum[:, :, 3] = 0.1 * tokens[:, None]  # the same mean for all cultures
    names = [f"Land {c * 7 % 10}{c}" for c in range(cultures)]
    return Statistics(names, tokens, fired, positive_sum)


@pytest.fixture
def make_statistics() -> Callable[..., Statistics]:
    """Factory: (seed, cultures, layers, neurons) -> Statistics."""
    return _statistics


@pytest.fixture(params=range(4))
def statistics(request: pytest.FixtureRequest) -> Statistics:
    """Four random worlds of 4 cultures x 3 layers x 20 neurons."""
    return _statistics(request.param)
