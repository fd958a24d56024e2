"""Sums per culture, as selectors take them: added up once, when shards are merged, and read from then on."""

from __future__ import annotations

from collections.abc import Sequence

import h5py
import numpy as np

from culture_neurons.store import hdf5


class Totals:
    """K int64 and S float64 [culture, layer, neuron], cultures sorted by name, of the samples added so far.

    Samples whose culture is "" do not count.
    """

    def __init__(self, cultures: Sequence[str], shape: tuple[int, int]) -> None:
        self.cultures = sorted(set(cultures) - {""})
        self.fired = np.zeros((len(self.cultures), *shape), np.int64)
        self.positive_sum = np.zeros(self.fired.shape)
        self._index = {name: c for c, name in enumerate(self.cultures)}

    def add(self, cultures: Sequence[str], fired: np.ndarray, positive_sum: np.ndarray) -> None:
        """Add K and S [sample, layer, neuron] of some samples, one after the other: sums of floats depend on the order.

        NumPy converts a few thousand numbers at a time while it adds, so no block is copied into a wide type.
        """
        for culture, k, s in zip(cultures, fired, positive_sum, strict=True):
            if culture:
                c = self._index[culture]
                self.fired[c] += k
                self.positive_sum[c] += s

    def write(self, file: h5py.File, site: str) -> None:
        """Into an open file; one chunk per culture."""
        for name, values in (("fired", self.fired), ("positive_sum", self.positive_sum)):
            chunks = (min(1, len(values)), *values.shape[1:])
            file.create_dataset(f"{site}/totals/{name}", data=values, **hdf5.packed(chunks))


def read(file: h5py.File, site: str) -> tuple[np.ndarray, np.ndarray] | None:
    """K and S of all cultures, in the order of their names; None for a file that has not been merged."""
    if f"{site}/totals" not in file:
        return None
    return file[f"{site}/totals/fired"][()], file[f"{site}/totals/positive_sum"][()]
