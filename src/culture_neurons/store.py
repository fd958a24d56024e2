"""HDF5 files: the only owner of their layout.

Statistics, one file per model (`statistics.h5`), sums over the valid tokens of each sample:

    /{site}/fired           uint16  [sample, layer, neuron]   K: tokens with g > 0
    /{site}/positive_sum    float32 [sample, layer, neuron]   S: sum of max(g, 0)
    /tokens                 int32   [sample]                  T: valid tokens
    /sample_id, /culture    UTF-8   [sample]                  rows are sorted by sample_id
    /metadata               UTF-8, JSON: site, model, revision, dtype, token rule, and what the step was
    attributes              schema (version of this layout), site, model, revision, dtype, token_rule

Scores, one file per model and selector (`scores/{selector}.h5`):

    /{site}                 float32 [culture, layer, neuron]  -inf: never selected
    /culture                UTF-8   [culture]
    /metadata, attributes   as above

All arrays are chunked and carry a Fletcher-32 checksum per chunk, so damage is found when
a chunk is read; the large ones are compressed (Blosc2, Zstandard, bit shuffle).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from culture_neurons.errors import FileError
from culture_neurons.files import atomic, first_line
from culture_neurons.types import Statistics

SCHEMA = 1
_CHUNK_BYTES = 1 << 20
_CACHE_BYTES = 64 << 20
#: Metadata that must agree between shards of one file.
_SAME_IN_SHARDS = ("model", "revision", "dtype", "token_rule")


class StatisticsWriter:
    """Writes per-sample sums into an open file; rows may come in any order."""

    def __init__(
        self,
        file: h5py.File,
        sample_ids: Sequence[str],
        cultures: Sequence[str],
        site: str,
        n_layers: int,
        n_neurons: int,
    ) -> None:
        n = len(sample_ids)
        self._row = {sample_id: row for row, sample_id in enumerate(sample_ids)}
        shape = (n, n_layers, n_neurons)
        rows = max(1, min(n, _CHUNK_BYTES // (n_layers * n_neurons * 4)))
        options = {"chunks": (rows, n_layers, n_neurons) if n else None, "fletcher32": n > 0}
        if n:
            options |= hdf5plugin.Blosc2(cname="zstd", clevel=3, filters=hdf5plugin.Blosc2.BITSHUFFLE)
        self._fired = file.create_dataset(f"{site}/fired", shape, np.uint16, **options)
        self._positive_sum = file.create_dataset(f"{site}/positive_sum", shape, np.float32, **options)
        self._tokens = np.full(n, -1, np.int32)
        self._file = file
        _write_strings(file, "sample_id", sample_ids)
        _write_strings(file, "culture", cultures)

    def write(self, sample_ids: Sequence[str], tokens: np.ndarray, fired: np.ndarray, positive_sum: np.ndarray) -> None:
        """Write T [sample], K and S [sample, layer, neuron] of some samples.

        Raises FileError for a non-finite sum or for more tokens than fit.
        """
        for i, sample_id in enumerate(sample_ids):
            if tokens[i] > np.iinfo(np.uint16).max:
                raise FileError(f"sample {sample_id!r}: {tokens[i]} tokens; at most 65535 can be recorded")
            if not np.isfinite(positive_sum[i]).all():
                layer = int(np.argwhere(~np.isfinite(positive_sum[i]))[0][0])
                raise FileError(
                    f"sample {sample_id!r}: activations of layer {layer} are not finite; "
                    "try another dtype (bfloat16 or float32 rather than float16)"
                )
            row = self._row[sample_id]
            self._tokens[row] = tokens[i]
            self._fired[row] = fired[i]
            self._positive_sum[row] = positive_sum[i]

    def close(self) -> None:
        """Write what is held in memory. Raises FileError if a sample never came."""
        if (self._tokens < 0).any():
            missing = int((self._tokens < 0).sum())
            raise FileError(f"{self._file.filename}: {missing} of {len(self._tokens)} samples were not recorded")
        _write_array(self._file, "tokens", self._tokens)


@contextmanager
def statistics_writer(
    path: str | Path,
    sample_ids: Sequence[str],
    cultures: Sequence[str],
    site: str,
    n_layers: int,
    n_neurons: int,
    metadata: Mapping[str, Any],
) -> Iterator[StatisticsWriter]:
    """Open a statistics file for the given samples, which must be sorted by id; rename it into place at the end."""
    if list(sample_ids) != sorted(set(sample_ids)):
        raise FileError(f"{path}: sample ids must be sorted and unique")
    with atomic(path) as temporary, h5py.File(temporary, "w", libver="latest", rdcc_nbytes=_CACHE_BYTES) as file:
        _write_metadata(file, site, metadata)
        writer = StatisticsWriter(file, sample_ids, cultures, site, n_layers, n_neurons)
        yield writer
        writer.close()


def merge_statistics(shards: Sequence[str | Path], target: str | Path, metadata: Mapping[str, Any]) -> None:
    """Merge shards into one file; the result is the same whatever their number and order.

    Raises FileError when shards disagree on the model, its revision, dtype, token rule, site
    or shape, or when a sample lies in two of them.
    """
    where: dict[str, tuple[int, int]] = {}
    culture: dict[str, str] = {}
    first: tuple[Any, ...] = ()
    for s, path in enumerate(shards):
        with _open(path) as file:
            site, attributes = _read_metadata(file, path)
            shape = file[f"{site}/fired"].shape[1:]
            key = (site, shape, *(attributes.get(k) for k in _SAME_IN_SHARDS))
            first = first or key
            if key != first:
                raise FileError(f"{path}: {key} differs from {shards[0]}: {first}; delete the shards and run again")
            for row, (sample_id, name) in enumerate(
                zip(_strings(file, "sample_id"), _strings(file, "culture"), strict=True)
            ):
                if sample_id in where:
                    raise FileError(f"{path}: sample {sample_id!r} is also in {shards[where[sample_id][0]]}")
                where[sample_id] = (s, row)
                culture[sample_id] = name
    site, (n_layers, n_neurons) = first[0], first[1]
    ids = sorted(where)
    merged = {**metadata, **dict(zip(_SAME_IN_SHARDS, first[2:], strict=True))}
    with statistics_writer(target, ids, [culture[i] for i in ids], site, n_layers, n_neurons, merged) as writer:
        for path in shards:
            with _open(path) as file:
                names = _strings(file, "sample_id")
                for rows, tokens, fired, positive_sum in _blocks(file, site):
                    writer.write(names[rows], tokens, fired, positive_sum)


def read_statistics(path: str | Path) -> tuple[Statistics, dict[str, Any]]:
    """Sum a statistics file per culture, reading each chunk once.

    Returns the statistics, cultures sorted by name, and the metadata with `site` and
    `samples` (number of samples per culture). Raises FileError for a damaged file.
    """
    with _open(path) as file:
        site, metadata = _read_metadata(file, path)
        labels = np.array(_strings(file, "culture"), dtype=object)
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
    with _open(path) as file:
        return _read_metadata(file, path)[1]


def count(path: str | Path) -> dict[str, tuple[int, int]]:
    """Per culture, sorted by name: number of samples and of tokens; the large arrays are not read."""
    with _open(path) as file:
        _read_metadata(file, path)
        tokens, labels = file["tokens"][()], np.array(_strings(file, "culture"), dtype=object)
    return {str(name): (int((labels == name).sum()), int(tokens[labels == name].sum())) for name in sorted(set(labels))}


def write_scores(
    path: str | Path, scores: np.ndarray, cultures: Sequence[str], site: str, metadata: Mapping[str, Any]
) -> None:
    """Write scores [culture, layer, neuron] as float32."""
    scores = np.asarray(scores, dtype=np.float32)
    if scores.ndim != 3 or len(scores) != len(cultures):
        expected = "expected [culture, layer, neuron]"
        raise FileError(f"{path}: scores {scores.shape} for {len(cultures)} cultures; {expected}")
    with atomic(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        _write_metadata(file, site, metadata)
        options = {"chunks": (1, *scores.shape[1:]), "fletcher32": True} if scores.size else {}
        if scores.size:
            options |= hdf5plugin.Blosc2(cname="zstd", clevel=3, filters=hdf5plugin.Blosc2.BITSHUFFLE)
        file.create_dataset(site, data=scores, **options)
        _write_strings(file, "culture", cultures)


def read_scores(path: str | Path) -> tuple[np.ndarray, list[str], str, dict[str, Any]]:
    """Read scores float32 [culture, layer, neuron], the cultures, the site and the metadata."""
    with _open(path) as file:
        site, metadata = _read_metadata(file, path)
        return file[site][()], _strings(file, "culture"), site, metadata


@contextmanager
def _open(path: str | Path) -> Iterator[h5py.File]:
    """Open for reading; whatever HDF5 finds wrong, now or while reading, becomes a FileError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, LookupError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise FileError(
            f"{path}: damaged, or no file of this project ({first_line(error)}); delete it and run again"
        ) from None


def _blocks(file: h5py.File, site: str) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows, T, K and S of one chunk of samples after the other."""
    fired, positive_sum, tokens = file[f"{site}/fired"], file[f"{site}/positive_sum"], file["tokens"][()]
    n = len(tokens)
    step = fired.chunks[0] if n else 1
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        yield rows, tokens[rows], fired[rows], positive_sum[rows]


def _write_metadata(file: h5py.File, site: str, metadata: Mapping[str, Any]) -> None:
    file.attrs["schema"] = SCHEMA
    file.attrs["site"] = site
    for key in _SAME_IN_SHARDS:
        if key in metadata:
            file.attrs[key] = metadata[key]
    # What is read back is a data set: attributes, which are there for other readers, have no checksum.
    _write_strings(file, "metadata", [json.dumps({**metadata, "site": site}, sort_keys=True, ensure_ascii=False)])


def _read_metadata(file: h5py.File, path: str | Path) -> tuple[str, dict[str, Any]]:
    schema = file.attrs.get("schema")
    if schema != SCHEMA:
        raise FileError(f"{path}: file layout {schema!r}, expected {SCHEMA}; delete it and run again")
    metadata = json.loads(_strings(file, "metadata")[0])
    return metadata.pop("site"), metadata


def _write_array(file: h5py.File, name: str, values: np.ndarray) -> None:
    options = {"chunks": values.shape, "fletcher32": True} if values.size else {}
    file.create_dataset(name, data=values, **options)


def _write_strings(file: h5py.File, name: str, values: Sequence[str]) -> None:
    encoded = [value.encode() for value in values]
    width = max([len(value) for value in encoded] + [1])
    # Fixed width keeps the text in the chunk, under its checksum; variable-length text has none.
    _write_array(file, name, np.array(encoded, dtype=h5py.string_dtype("utf-8", width)))


def _strings(file: h5py.File, name: str) -> list[str]:
    return [value.decode() for value in file[name][()]]
