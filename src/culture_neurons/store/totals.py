"""Sums per culture, as selectors take them: added up once, when shards are merged, and read from then on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import h5py
import numpy as np

from culture_neurons.store import hdf5
from culture_neurons.types import Experts

#: What is summed, by its name in `types.Statistics`; the last three where the negative part was recorded.
NAMES = ("fired", "positive_sum", "negative_sum", "mean_sum", "square_sum")


def features(
    tokens: np.ndarray | int, sums: Mapping[str, np.ndarray], column: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """What a culture's statistics are sums of, by name: `sums`, and of N's x = (S + N) / T and x^2 beside.

    tokens   T [sample], or of one sample; with `column` [sample, column]
    sums     `fired`, `positive_sum` and perhaps `negative_sum` [sample, layer, neuron], or of one sample
    column   of each neuron, of a model with experts (`types.Experts.column`)

    x, a sample's mean of g, and its square are float64; 0 where no token of a sample reaches a neuron.
    """
    terms = dict(sums)
    if "negative_sum" in sums:
        mean = np.add(sums["positive_sum"], sums["negative_sum"], dtype=np.float64)
        reaching = np.maximum(tokens, 1)
        mean /= reaching[..., None, None] if column is None else reaching[..., column]
        terms |= {"mean_sum": mean, "square_sum": mean * mean}
    return terms


class Totals:
    """K int64, S and what else is known float64 [culture, layer, neuron] of the samples added so far.

    sums   by name; cultures are sorted by name

    Samples whose culture is "" do not count.
    """

    def __init__(
        self, cultures: Sequence[str], shape: tuple[int, int], negative_sum: bool = False,
        experts: Experts | None = None,
    ) -> None:  # fmt: skip
        self.cultures = sorted(set(cultures) - {""})
        names = NAMES if negative_sum else NAMES[:2]
        size = len(self.cultures), *shape
        self.sums = {name: np.zeros(size, np.int64 if name == "fired" else np.float64) for name in names}
        self._index = {name: c for c, name in enumerate(self.cultures)}
        self._column = None if experts is None else experts.column()

    def add(self, cultures: Sequence[str], tokens: np.ndarray, sums: Mapping[str, np.ndarray]) -> None:
        """Add T and sums of some samples (`features`), one after the other: the order matters to floats.

        NumPy converts a few thousand numbers at a time while it adds, so no block is copied into a wide type.
        """
        for i, culture in enumerate(cultures):
            if culture:
                terms = features(tokens[i], {name: values[i] for name, values in sums.items()}, self._column)
                for name, values in terms.items():
                    self.sums[name][self._index[culture]] += values

    def write(self, file: h5py.File, site: str) -> None:
        """Into an open file; one chunk per culture."""
        for name, values in self.sums.items():
            chunks = (min(1, len(values)), *values.shape[1:])
            file.create_dataset(f"{site}/totals/{name}", data=values, **hdf5.compression_options(chunks))


def read(file: h5py.File, site: str) -> dict[str, np.ndarray] | None:
    """The totals of all cultures, in the order of their names; None for a file that has not been merged."""
    if f"{site}/totals" not in file:
        return None
    group = file[f"{site}/totals"]
    return {name: group[name][()] for name in NAMES if name in NAMES[:2] or name in group}
