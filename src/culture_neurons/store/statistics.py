"""Activation statistics per sample in HDF5 files: written, read, and summed per culture; `store.merging` merges them.

docs/outputs.md has the layout of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from culture_neurons.errors import FileError
from culture_neurons.store import hdf5, totals
from culture_neurons.store.background import in_background
from culture_neurons.store.rounding import EXACT, check_mantissa_bits, round_mantissa
from culture_neurons.types import Experts, Statistics

#: Arrays of one row per sample, in the order in which they are handed over; N only where it was recorded.
SUMS = ("fired", "positive_sum", "negative_sum")
#: Of a chunk of S, where several samples fit into one.
_CHUNK_BYTES = 1 << 20
#: Rows come in any order, and a chunk is compressed when it leaves the cache.
_CACHE_BYTES = 64 << 20


class StatisticsWriter:
    """Takes the sums of samples, in any order, and has them written beside what the caller does."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write

    def write(self, sample_ids: Sequence[str], tokens: np.ndarray, *sums: np.ndarray) -> None:
        """Hand over T [sample] and K, S, and N if the file has it [sample, layer, neuron] of some samples.

        Of a model with experts T is [sample, column] (`types.Experts`). The arrays may not change any more. Raises
        FileError, for these samples or at a later call: a sum is not finite, or the file can't be written.
        """
        self._write(sample_ids, tokens, sums)


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
        negative_sum: bool = False,
        experts: Experts | None = None,
    ) -> None:
        n = len(sample_ids)
        self.per_chunk = min(max(1, n), max(1, _CHUNK_BYTES // (n_layers * n_neurons * 4)))
        self._mantissa_bits, self._cache_bytes = mantissa_bits, cache_bytes
        self._row = {sample_id: row for row, sample_id in enumerate(sample_ids)}
        self._site, self._shape = site, (n, n_layers, n_neurons)
        self._file, self._path = file, path
        names = SUMS if negative_sum else SUMS[:-1]
        self.sums = {name: self._create(name, np.float32 if name != "fired" else fired_type) for name in names}
        self._tokens = np.full(n if experts is None else (n, experts.columns), -1, np.int32)
        hdf5.write_strings(file, "sample_id", sample_ids)
        hdf5.write_strings(file, "culture", cultures)

    def write(
        self,
        sample_ids: Sequence[str],
        tokens: np.ndarray,
        sums: Sequence[np.ndarray],
        chunks: Sequence[Sequence[hdf5.Chunk]] = (),
    ) -> None:
        """See `StatisticsWriter.write`; `chunks` are those of the sums as they lie in another file, where known."""
        fired, *others = sums
        for values in others:
            self._check_finite(sample_ids, values)
        needed = np.min_scalar_type(int(np.max(fired, initial=0)))
        others = [round_mantissa(values, self._mantissa_bits) for values in others]
        rows = [self._row[sample_id] for sample_id in sample_ids]
        with hdf5.naming_errors(self._path):
            if needed.itemsize > self.sums["fired"].dtype.itemsize:
                self._widen(needed)
            # NumPy converts many times faster than HDF5.
            fired = np.asarray(fired).astype(self.sums["fired"].dtype, copy=False)
            self._tokens[rows] = tokens
            for k, (dataset, values) in enumerate(zip(self.sums.values(), (fired, *others), strict=True)):
                if chunks:
                    for row, chunk in zip(rows, chunks, strict=True):
                        hdf5.write_chunk(dataset, row, chunk[k])
                elif rows and rows == list(range(rows[0], rows[-1] + 1)):
                    dataset[rows[0] : rows[-1] + 1] = values
                else:
                    for i, row in enumerate(rows):
                        dataset[row] = values[i]

    @staticmethod
    def _check_finite(sample_ids: Sequence[str], values: np.ndarray) -> None:
        for sample_id, row in zip(sample_ids, values, strict=True):
            if not np.isfinite(row).all():
                layer = int(np.argwhere(~np.isfinite(row))[0][0])
                raise FileError(
                    f"sample {sample_id!r}: activations of layer {layer} are not finite; "
                    "try another dtype (bfloat16 or float32 rather than float16)"
                )

    def close(self) -> None:
        """Write what is held in memory. Raises FileError if a sample never came."""
        if (self._tokens < 0).any():
            missing = int((self._tokens < 0).sum())
            raise FileError(f"{self._path}: {missing} of {len(self._tokens)} samples were not recorded")
        with hdf5.naming_errors(self._path):
            if self._tokens.ndim == 2:
                hdf5.write_array(self._file, f"{self._site}/expert_tokens", self._tokens[:, 1:])
            hdf5.write_array(self._file, "tokens", self._tokens if self._tokens.ndim == 1 else self._tokens[:, 0])

    def _create(self, name: str, dtype: np.dtype | type) -> h5py.Dataset:
        chunks = (min(self._shape[0], self.per_chunk), *self._shape[1:])
        options = hdf5.compression_options(chunks) | {"rdcc_nbytes": self._cache_bytes}
        return self._file.create_dataset(f"{self._site}/{name}", self._shape, dtype, **options)

    def _widen(self, dtype: np.dtype) -> None:
        """Give K a wider type. The narrow copy leaves a gap in the file, which merging closes."""
        narrow = self.sums["fired"]
        wide = self.sums["fired"] = self._create("wider", dtype)
        for start in range(0, len(narrow), self.per_chunk):
            rows = slice(start, start + self.per_chunk)
            if (self._tokens[rows] >= 0).any():
                wide[rows] = narrow[rows].astype(dtype)
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
    negative_sum: bool = False,
    experts: Experts | None = None,
) -> Iterator[StatisticsWriter]:
    """Open a statistics file for the given samples, which must be sorted by id; rename it into place at the end.

    S, and N with `negative_sum`, are rounded to `mantissa_bits` (see `round_mantissa`), which is noted in the metadata;
    K is stored in uint8, and in a wider type as soon as a larger value arrives. A thread rounds, compresses and writes.
    `experts` of a model that has some are noted in the metadata too.

    Raises FileError for ids out of order, ConfigError for mantissa_bits outside 1 to 23.
    """
    check_mantissa_bits(mantissa_bits)
    if list(sample_ids) != sorted(set(sample_ids)):
        raise FileError(f"{path}: sample ids must be sorted and unique")
    with hdf5.create_file(path) as file:
        with hdf5.naming_errors(path):
            noted = {"mantissa_bits": mantissa_bits, **metadata, **as_metadata(experts)}
            hdf5.write_metadata(file, site, noted)
            size = n_layers, n_neurons
            rows = Rows(
                file, path, sample_ids, cultures, site, *size, mantissa_bits,
                cache_bytes=_CACHE_BYTES, negative_sum=negative_sum, experts=experts,
            )  # fmt: skip
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
    `samples` (number of samples per culture). N and the moments of the samples' means are there where the negative
    part was recorded. Raises FileError for a damaged file.
    """
    with hdf5.open_file(path) as file:
        site, metadata = hdf5.read_metadata(file, path)
        cultures = hdf5.read_strings(file, "culture")
        if relabel:
            cultures = list(relabel(hdf5.read_strings(file, "sample_id"), cultures))
        experts, all_tokens = read_experts(metadata), read_tokens(file, site)
        counted = _count(cultures, file["tokens"][()])
        sums = (None if relabel else totals.read(file, site)) or _add_up(file, site, cultures, experts)
    samples, tokens = np.array(list(counted.values()), np.int64).reshape(-1, 2).T
    metadata |= {"site": site, "samples": dict(zip(counted, samples.tolist(), strict=True))}
    if experts is None:
        return Statistics(list(counted), tokens, samples=samples, **sums), metadata
    labels = np.array(cultures, dtype=object)
    by_culture = [all_tokens[labels == name] for name in counted]
    tokens = np.array([rows.sum(axis=0) for rows in by_culture], np.int64).reshape(-1, experts.columns)
    samples = np.array([(rows > 0).sum(axis=0) for rows in by_culture], np.int64).reshape(-1, experts.columns)
    return Statistics(list(counted), tokens, samples=samples, **sums, column=experts.column()), metadata


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a statistics or scores file, without its arrays."""
    with hdf5.open_file(path) as file:
        return hdf5.read_metadata(file, path)[1]


@dataclass(frozen=True)
class NeuronSums:
    """Sums of chosen neurons, sample by sample.

    sample_ids, cultures   [sample], sorted by id
    tokens                 int64 [sample]: T; of a model with experts [sample, neuron], those that reach the neuron's
    fired, positive_sum    int64, float64 [sample, neuron]: K and S, in the order in which neurons were asked for
    """

    sample_ids: list[str]
    cultures: list[str]
    tokens: np.ndarray
    fired: np.ndarray
    positive_sum: np.ndarray


def read_neurons(path: str | Path, layers: Sequence[int], neurons: Sequence[int]) -> tuple[NeuronSums, dict[str, Any]]:
    """T, K and S per sample of the neurons (layers[i], neurons[i]), and the metadata.

    One chunk of samples is in memory at a time. Raises FileError for a damaged file, or a neuron that it has not.
    """
    layers, neurons = np.asarray(layers, dtype=np.int64), np.asarray(neurons, dtype=np.int64)
    with hdf5.open_file(path) as file:
        site, metadata = hdf5.read_metadata(file, path)
        ids, cultures = hdf5.read_strings(file, "sample_id"), hdf5.read_strings(file, "culture")
        fired, positive_sum = file[f"{site}/fired"], file[f"{site}/positive_sum"]
        _, n_layers, n_neurons = fired.shape
        for layer, neuron in zip(layers, neurons, strict=True):
            if not (0 <= layer < n_layers and 0 <= neuron < n_neurons):
                raise FileError(f"{path}: neuron {neuron} of layer {layer}; it has {n_layers} x {n_neurons}")
        k = np.zeros((len(ids), len(layers)), np.int64)  # (sample, neuron)
        s = np.zeros(k.shape)
        for start in range(0, len(ids), step := fired.chunks[0]):
            rows = slice(start, start + step)
            k[rows], s[rows] = fired[rows][:, layers, neurons], positive_sum[rows][:, layers, neurons]
        tokens, experts = read_tokens(file, site).astype(np.int64), read_experts(metadata)
        if experts is not None:
            tokens = tokens[:, experts.column()[layers, neurons]]
        return NeuronSums(ids, cultures, tokens, k, s), metadata


def bytes_on_disk(path: str | Path) -> tuple[int, int]:
    """The size of a statistics file, and that of its K, S and N as plain arrays."""
    with hdf5.open_file(path) as file:
        site, _ = hdf5.read_metadata(file, path)
        raw = sum(dataset.nbytes for dataset in recorded_sums(file, site).values())
    return Path(path).stat().st_size, raw


def count_tokens(path: str | Path) -> dict[str, tuple[int, int]]:
    """Per culture, sorted by name: number of samples and of tokens; the large arrays are not read."""
    with hdf5.open_file(path) as file:
        hdf5.read_metadata(file, path)
        return _count(hdf5.read_strings(file, "culture"), file["tokens"][()])


def as_metadata(experts: Experts | None) -> dict[str, Any]:
    """What a file of a model with experts says of them; nothing for other models."""
    return {} if experts is None else {"experts": {"widths": list(experts.widths), "counts": list(experts.counts)}}


def read_experts(metadata: Mapping[str, Any]) -> Experts | None:
    """The experts that a file's metadata names."""
    given = metadata.get("experts")
    return None if given is None else Experts(given["widths"], given["counts"])


def read_tokens(file: h5py.File, site: str) -> np.ndarray:
    """T, int32 [sample], of a model with experts [sample, column]."""
    tokens = file["tokens"][()]
    if "expert_tokens" not in file[site]:
        return tokens
    return np.concatenate([tokens[:, None], file[f"{site}/expert_tokens"][()]], axis=1)


def _count(cultures: Sequence[str], tokens: np.ndarray) -> dict[str, tuple[int, int]]:
    labels = np.array(cultures, dtype=object)
    names = sorted(set(cultures) - {""})
    return {name: (int((labels == name).sum()), int(tokens[labels == name].sum())) for name in names}


def recorded_sums(file: h5py.File, site: str) -> dict[str, h5py.Dataset]:
    """K, S, and N where it was recorded, [sample, layer, neuron] each, by name."""
    return {name: file[f"{site}/{name}"] for name in SUMS if name != "negative_sum" or name in file[site]}


def _add_up(
    file: h5py.File, site: str, cultures: Sequence[str], experts: Experts | None
) -> dict[str, np.ndarray]:  # fmt: skip
    """The totals of a file without them, one chunk of samples after the other."""
    sums, tokens = recorded_sums(file, site), read_tokens(file, site)
    result = totals.Totals(cultures, sums["fired"].shape[1:], "negative_sum" in sums, experts)
    step = sums["fired"].chunks[0] if cultures else 1
    for start in range(0, len(cultures), step):
        rows = slice(start, start + step)
        result.add(cultures[rows], tokens[rows], {name: dataset[rows] for name, dataset in sums.items()})
    return result.sums
