"""Activation statistics per sample in HDF5 files: written, merged, and summed per culture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from culture_neurons.errors import FileError
from culture_neurons.store import hdf5, totals
from culture_neurons.store.background import in_background
from culture_neurons.store.rounding import EXACT, check_mantissa_bits, round_mantissa
from culture_neurons.types import Statistics

#: Of a chunk of S, where several samples fit into one.
_CHUNK_BYTES = 1 << 20
#: Rows come in any order, and a chunk is compressed when it leaves the cache.
_CACHE_BYTES = 64 << 20


class StatisticsWriter:
    """Takes the sums of samples, in any order, and has them written beside what the caller does."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write

    def write(self, sample_ids: Sequence[str], tokens: np.ndarray, fired: np.ndarray, positive_sum: np.ndarray) -> None:
        """Hand over T [sample], K and S [sample, layer, neuron] of some samples; the arrays may not change any more.

        Raises FileError, for these samples or at a later call: a sum is not finite, or the file can't be written.
        """
        self._write(sample_ids, tokens, fired, positive_sum)


class Rows:
    """The arrays of an open file, one row per sample."""

    def __init__(
        self,
        file: h5py.File,
        path: str | Path,
        sample_ids: Sequence[str],
        cultures: Sequence[str],
        site: str,
        n_layers: int,
        n_neurons: int,
        mantissa_bits: int = EXACT,
        fired_type: np.dtype | type = np.uint8,
        cache_bytes: int = 0,
    ) -> None:
        n = len(sample_ids)
        self.per_chunk = min(max(1, n), max(1, _CHUNK_BYTES // (n_layers * n_neurons * 4)))
        self._mantissa_bits, self._cache_bytes = mantissa_bits, cache_bytes
        self._row = {sample_id: row for row, sample_id in enumerate(sample_ids)}
        self._site, self._shape = site, (n, n_layers, n_neurons)
        self._file, self._path = file, path
        self.fired = self._create("fired", np.dtype(fired_type))
        self.positive_sum = self._create("positive_sum", np.float32)
        self._tokens = np.full(n, -1, np.int32)
        hdf5.write_strings(file, "sample_id", sample_ids)
        hdf5.write_strings(file, "culture", cultures)

    def write(
        self,
        sample_ids: Sequence[str],
        tokens: np.ndarray,
        fired: np.ndarray,
        positive_sum: np.ndarray,
        chunks: Sequence[tuple[hdf5.Chunk, hdf5.Chunk]] = (),
    ) -> None:
        """See `StatisticsWriter.write`; `chunks` are those of K and S as they lie in another file, where known."""
        for i, sample_id in enumerate(sample_ids):
            if not np.isfinite(positive_sum[i]).all():
                layer = int(np.argwhere(~np.isfinite(positive_sum[i]))[0][0])
                raise FileError(
                    f"sample {sample_id!r}: activations of layer {layer} are not finite; "
                    "try another dtype (bfloat16 or float32 rather than float16)"
                )
        needed = np.min_scalar_type(int(np.max(fired, initial=0)))
        positive_sum = round_mantissa(positive_sum, self._mantissa_bits)
        rows = [self._row[sample_id] for sample_id in sample_ids]
        with hdf5.writing(self._path):
            if needed.itemsize > self.fired.dtype.itemsize:
                self._widen(needed)
            # NumPy converts many times faster than HDF5.
            fired = np.asarray(fired).astype(self.fired.dtype, copy=False)
            self._tokens[rows] = tokens
            for k, (dataset, values) in enumerate(((self.fired, fired), (self.positive_sum, positive_sum))):
                if chunks:
                    for row, chunk in zip(rows, chunks, strict=True):
                        hdf5.write_chunk(dataset, row, chunk[k])
                elif rows and rows == list(range(rows[0], rows[-1] + 1)):
                    dataset[rows[0] : rows[-1] + 1] = values
                else:
                    for i, row in enumerate(rows):
                        dataset[row] = values[i]

    def close(self) -> None:
        """Write what is held in memory. Raises FileError if a sample never came."""
        if (self._tokens < 0).any():
            missing = int((self._tokens < 0).sum())
            raise FileError(f"{self._path}: {missing} of {len(self._tokens)} samples were not recorded")
        with hdf5.writing(self._path):
            hdf5.write_array(self._file, "tokens", self._tokens)

    def _create(self, name: str, dtype: np.dtype | type) -> h5py.Dataset:
        chunks = (min(self._shape[0], self.per_chunk), *self._shape[1:])
        options = hdf5.packed(chunks) | {"rdcc_nbytes": self._cache_bytes}
        return self._file.create_dataset(f"{self._site}/{name}", self._shape, dtype, **options)

    def _widen(self, dtype: np.dtype) -> None:
        """Give K a wider type. The narrow copy leaves a gap in the file, which merging closes."""
        narrow, self.fired = self.fired, self._create("wider", dtype)
        for start in range(0, len(narrow), self.per_chunk):
            rows = slice(start, start + self.per_chunk)
            if (self._tokens[rows] >= 0).any():
                self.fired[rows] = narrow[rows].astype(dtype)
        narrow.flush()
        del self._file[f"{self._site}/fired"]
        self._file.move(f"{self._site}/wider", f"{self._site}/fired")


@contextmanager
def statistics_writer(
    path: str | Path,
    sample_ids: Sequence[str],
    cultures: Sequence[str],
    site: str,
    n_layers: int,
    n_neurons: int,
    metadata: Mapping[str, Any],
    mantissa_bits: int = EXACT,
) -> Iterator[StatisticsWriter]:
    """Open a statistics file for the given samples, which must be sorted by id; rename it into place at the end.

    S is rounded to `mantissa_bits` (see `round_mantissa`), which is noted in the metadata; K is stored in uint8, and in
    a wider type as soon as a larger value arrives. A thread rounds, compresses and writes.

    Raises FileError for ids out of order, ConfigError for mantissa_bits outside 1 to 23.
    """
    check_mantissa_bits(mantissa_bits)
    if list(sample_ids) != sorted(set(sample_ids)):
        raise FileError(f"{path}: sample ids must be sorted and unique")
    with hdf5.created(path) as file:
        with hdf5.writing(path):
            hdf5.write_metadata(file, site, {"mantissa_bits": mantissa_bits, **metadata})
            size = n_layers, n_neurons
            rows = Rows(file, path, sample_ids, cultures, site, *size, mantissa_bits, cache_bytes=_CACHE_BYTES)
        # A thread is enough: h5py (3.16) releases Python's lock while HDF5 compresses. Beside it, with a core of its
        # own, a loop in Python keeps 97 % of its speed and a product of matrices 99 %.
        with in_background(rows.write) as write:
            yield StatisticsWriter(write)
        rows.close()


def read_statistics(
    path: str | Path, relabel: Callable[[list[str], list[str]], Sequence[str]] | None = None
) -> tuple[Statistics, dict[str, Any]]:
    """The sums per culture: the totals of a merged file; else every chunk is read once and added up.

    relabel   makes other cultures [sample] from the sample ids and cultures of the file (shuffled, say); a sample
              whose culture is "" is left out

    Returns the statistics, cultures sorted by name, and the metadata with `site` and
    `samples` (number of samples per culture). Raises FileError for a damaged file.
    """
    with hdf5.opened(path) as file:
        site, metadata = hdf5.read_metadata(file, path)
        cultures = hdf5.read_strings(file, "culture")
        if relabel:
            cultures = list(relabel(hdf5.read_strings(file, "sample_id"), cultures))
        counted = _count(cultures, file["tokens"][()])
        sums = (None if relabel else totals.read(file, site)) or _add_up(file, site, cultures)
    metadata |= {"site": site, "samples": {name: samples for name, (samples, _) in counted.items()}}
    return Statistics(list(counted), np.array([tokens for _, tokens in counted.values()]), *sums), metadata


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a statistics or scores file, without its arrays."""
    with hdf5.opened(path) as file:
        return hdf5.read_metadata(file, path)[1]


def bytes_on_disk(path: str | Path) -> tuple[int, int]:
    """The size of a statistics file, and that of its K and S as plain arrays."""
    with hdf5.opened(path) as file:
        site, _ = hdf5.read_metadata(file, path)
        raw = file[f"{site}/fired"].nbytes + file[f"{site}/positive_sum"].nbytes
    return Path(path).stat().st_size, raw


def count(path: str | Path) -> dict[str, tuple[int, int]]:
    """Per culture, sorted by name: number of samples and of tokens; the large arrays are not read."""
    with hdf5.opened(path) as file:
        hdf5.read_metadata(file, path)
        return _count(hdf5.read_strings(file, "culture"), file["tokens"][()])


def _count(cultures: Sequence[str], tokens: np.ndarray) -> dict[str, tuple[int, int]]:
    labels = np.array(cultures, dtype=object)
    names = sorted(set(cultures) - {""})
    return {name: (int((labels == name).sum()), int(tokens[labels == name].sum())) for name in names}


def _add_up(file: h5py.File, site: str, cultures: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """K and S per culture of a file without totals, one chunk of samples after the other."""
    fired, positive_sum = file[f"{site}/fired"], file[f"{site}/positive_sum"]
    result = totals.Totals(cultures, fired.shape[1:])
    step = fired.chunks[0] if cultures else 1
    for start in range(0, len(cultures), step):
        rows = slice(start, start + step)
        result.add(cultures[rows], fired[rows], positive_sum[rows])
    return result.fired, result.positive_sum
