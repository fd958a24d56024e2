"""Activation statistics per sample in HDF5 files: written, merged, and summed per culture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from culture_neurons.errors import FileError
from culture_neurons.store import hdf5
from culture_neurons.store.background import in_background
from culture_neurons.store.rounding import EXACT, check_mantissa_bits, round_mantissa
from culture_neurons.types import Statistics

_CHUNK_BYTES = 1 << 20
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


class _Rows:
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
        mantissa_bits: int,
        fired_type: np.dtype | type,
    ) -> None:
        n = len(sample_ids)
        self._mantissa_bits = mantissa_bits
        self._row = {sample_id: row for row, sample_id in enumerate(sample_ids)}
        self._site, self._shape = site, (n, n_layers, n_neurons)
        self._chunks = (min(n, max(1, _CHUNK_BYTES // (n_layers * n_neurons * 4))), n_layers, n_neurons)
        self._file, self._path = file, path
        self._fired = self._create("fired", np.dtype(fired_type))
        self._positive_sum = self._create("positive_sum", np.float32)
        self._tokens = np.full(n, -1, np.int32)
        hdf5.write_strings(file, "sample_id", sample_ids)
        hdf5.write_strings(file, "culture", cultures)

    def write(self, sample_ids: Sequence[str], tokens: np.ndarray, fired: np.ndarray, positive_sum: np.ndarray) -> None:
        """See `StatisticsWriter.write`."""
        for i, sample_id in enumerate(sample_ids):
            if not np.isfinite(positive_sum[i]).all():
                layer = int(np.argwhere(~np.isfinite(positive_sum[i]))[0][0])
                raise FileError(
                    f"sample {sample_id!r}: activations of layer {layer} are not finite; "
                    "try another dtype (bfloat16 or float32 rather than float16)"
                )
        needed = np.min_scalar_type(int(np.max(fired, initial=0)))
        positive_sum = round_mantissa(positive_sum, self._mantissa_bits)
        with hdf5.writing(self._path):
            if needed.itemsize > self._fired.dtype.itemsize:
                self._widen(needed)
            # NumPy converts many times faster than HDF5.
            fired = np.asarray(fired).astype(self._fired.dtype, copy=False)
            for i, sample_id in enumerate(sample_ids):
                row = self._row[sample_id]
                self._tokens[row] = tokens[i]
                self._fired[row] = fired[i]
                self._positive_sum[row] = positive_sum[i]

    def close(self) -> None:
        """Write what is held in memory. Raises FileError if a sample never came."""
        if (self._tokens < 0).any():
            missing = int((self._tokens < 0).sum())
            raise FileError(f"{self._path}: {missing} of {len(self._tokens)} samples were not recorded")
        with hdf5.writing(self._path):
            hdf5.write_array(self._file, "tokens", self._tokens)

    def _create(self, name: str, dtype: np.dtype | type) -> h5py.Dataset:
        return self._file.create_dataset(f"{self._site}/{name}", self._shape, dtype, **hdf5.packed(self._chunks))

    def _widen(self, dtype: np.dtype) -> None:
        """Give K a wider type. The narrow copy leaves a gap in the file, which merging closes."""
        narrow, self._fired = self._fired, self._create("wider", dtype)
        for start in range(0, len(narrow), self._chunks[0]):
            rows = slice(start, start + self._chunks[0])
            if (self._tokens[rows] >= 0).any():
                self._fired[rows] = narrow[rows].astype(dtype)
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
    fired_type: np.dtype | type = np.uint8,
) -> Iterator[StatisticsWriter]:
    """Open a statistics file for the given samples, which must be sorted by id; rename it into place at the end.

    mantissa_bits   to which S is rounded (see `round_mantissa`); noted in the metadata
    fired_type      in which K is stored; a wider one as soon as a larger value arrives

    Raises FileError for ids out of order, ConfigError for mantissa_bits outside 1 to 23.
    """
    check_mantissa_bits(mantissa_bits)
    if list(sample_ids) != sorted(set(sample_ids)):
        raise FileError(f"{path}: sample ids must be sorted and unique")
    with hdf5.created(path, _CACHE_BYTES) as file:
        hdf5.write_metadata(file, site, {"mantissa_bits": mantissa_bits, **metadata})
        rows = _Rows(file, path, sample_ids, cultures, site, n_layers, n_neurons, mantissa_bits, fired_type)
        # A thread is enough: h5py releases Python's lock while HDF5 compresses. Beside it, with a core of its own, a
        # loop in Python keeps 97 % of its speed and a product of matrices 99 %.
        with in_background(rows.write) as write:
            yield StatisticsWriter(write)
        rows.close()


def merge_statistics(shards: Sequence[str | Path], target: str | Path, metadata: Mapping[str, Any]) -> None:
    """Merge shards into one file; the result is the same whatever their number and order.

    Raises FileError when shards disagree on the model, its revision, dtype, token rule, mantissa bits,
    site or shape, or when a sample lies in two of them.
    """
    where: dict[str, tuple[int, int]] = {}
    culture: dict[str, str] = {}
    first: tuple[Any, ...] = ()
    fired_type = np.dtype(np.uint8)
    for s, path in enumerate(shards):
        with hdf5.opened(path) as file:
            site, attributes = hdf5.read_metadata(file, path)
            shape = file[f"{site}/fired"].shape[1:]
            fired_type = np.promote_types(fired_type, file[f"{site}/fired"].dtype)
            key = (site, shape, *(attributes.get(k) for k in hdf5.IDENTITY))
            first = first or key
            if key != first:
                raise FileError(f"{path}: {key} differs from {shards[0]}: {first}; delete the shards and run again")
            for row, (sample_id, name) in enumerate(
                zip(hdf5.read_strings(file, "sample_id"), hdf5.read_strings(file, "culture"), strict=True)
            ):
                if sample_id in where:
                    raise FileError(f"{path}: sample {sample_id!r} is also in {shards[where[sample_id][0]]}")
                where[sample_id] = (s, row)
                culture[sample_id] = name
    site, (n_layers, n_neurons) = first[0], first[1]
    ids = sorted(where)
    known = zip(hdf5.IDENTITY, first[2:], strict=True)
    merged = {**metadata, **{key: value for key, value in known if value is not None}}
    with statistics_writer(
        target, ids, [culture[i] for i in ids], site, n_layers, n_neurons, merged, fired_type=fired_type
    ) as writer:
        for path in shards:
            with hdf5.opened(path) as file:
                names = hdf5.read_strings(file, "sample_id")
                for rows, tokens, fired, positive_sum in _blocks(file, site):
                    writer.write(names[rows], tokens, fired, positive_sum)


def read_statistics(path: str | Path) -> tuple[Statistics, dict[str, Any]]:
    """Sum a statistics file per culture, reading each chunk once.

    Returns the statistics, cultures sorted by name, and the metadata with `site` and
    `samples` (number of samples per culture). Raises FileError for a damaged file.
    """
    with hdf5.opened(path) as file:
        site, metadata = hdf5.read_metadata(file, path)
        labels = np.array(hdf5.read_strings(file, "culture"), dtype=object)
        cultures = sorted(set(labels))
        index = {name: c for c, name in enumerate(cultures)}
        shape = (len(cultures), *file[f"{site}/fired"].shape[1:])
        tokens, fired, positive_sum = np.zeros(len(cultures), np.int64), np.zeros(shape, np.int64), np.zeros(shape)
        for rows, block_tokens, block_fired, block_sum in _blocks(file, site):
            for i, name in enumerate(labels[rows]):
                c = index[name]
                tokens[c] += block_tokens[i]
                fired[c] += block_fired[i]
                positive_sum[c] += block_sum[i]
    samples = {name: int((labels == name).sum()) for name in cultures}
    return Statistics(cultures, tokens, fired, positive_sum), {**metadata, "site": site, "samples": samples}


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
        tokens, labels = file["tokens"][()], np.array(hdf5.read_strings(file, "culture"), dtype=object)
    return {str(name): (int((labels == name).sum()), int(tokens[labels == name].sum())) for name in sorted(set(labels))}


def _blocks(file: h5py.File, site: str) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows, T, K and S of one chunk of samples after the other."""
    fired, positive_sum, tokens = file[f"{site}/fired"], file[f"{site}/positive_sum"], file["tokens"][()]
    n = len(tokens)
    step = fired.chunks[0] if n else 1
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        yield rows, tokens[rows], fired[rows], positive_sum[rows]
