"""Shards of one model's statistics, merged into one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from culture_neurons.errors import FileError
from culture_neurons.store import hdf5
from culture_neurons.store.statistics import Rows
from culture_neurons.store.totals import Totals

#: K and S that are in memory at a time.
_BLOCK_BYTES = 32 << 20


def merge_statistics(shards: Sequence[str | Path], target: str | Path, metadata: Mapping[str, Any]) -> None:
    """Merge shards into one file, with totals per culture; the result is the same whatever their number and order.

    Raises FileError when shards disagree on the model, its revision, dtype, token rule, mantissa bits,
    site or shape, or when a sample lies in two of them.
    """
    found = _survey(shards)
    ids = sorted(found.where)
    cultures = [found.culture[i] for i in ids]
    totals = Totals(cultures, found.shape)
    # Whole chunks are written, in order and without a cache, so that they lie in the file in this order.
    with hdf5.created(target) as file:
        with hdf5.writing(target):
            hdf5.write_metadata(file, found.site, {**metadata, **found.identity})
            rows = Rows(file, target, ids, cultures, found.site, *found.shape, fired_type=found.fired_type)
        per_block = max(1, _BLOCK_BYTES // (found.shape[0] * found.shape[1] * 6) // rows.per_chunk) * rows.per_chunk
        # The same memory for all blocks: new pages for each would take longer than to decompress them.
        buffers = (
            np.empty(per_block, np.int64),
            np.empty((per_block, *found.shape), found.fired_type),
            np.empty((per_block, *found.shape), np.float32),
        )
        for start in range(0, len(ids), per_block):
            block = slice(start, start + per_block)
            where = [found.where[i] for i in ids[block]]
            tokens, fired, positive_sum = (buffer[: len(where)] for buffer in buffers)
            chunks = _read(shards, where, found.site, rows, tokens, fired, positive_sum)
            rows.write(ids[block], tokens, fired, positive_sum, chunks)
            totals.add(cultures[block], fired, positive_sum)
        rows.close()
        with hdf5.writing(target):
            totals.write(file, found.site)


@dataclass
class _Found:
    """What lies in the shards: what all have in common, and the shard, row and culture of each sample."""

    common: dict[str, Any]
    fired_type: np.dtype
    where: dict[str, tuple[int, int]] = field(default_factory=dict)
    culture: dict[str, str] = field(default_factory=dict)

    @property
    def site(self) -> str:
        return self.common["site"]

    @property
    def shape(self) -> tuple[int, int]:
        return self.common["shape"]

    @property
    def identity(self) -> dict[str, Any]:
        return {key: value for key, value in self.common.items() if key in hdf5.IDENTITY and value is not None}


def _survey(shards: Sequence[str | Path]) -> _Found:
    """Look into all shards. Raises FileError, see `merge_statistics`."""
    found: _Found | None = None
    for s, path in enumerate(shards):
        with hdf5.opened(path) as file:
            site, metadata = hdf5.read_metadata(file, path)
            fired = file[f"{site}/fired"]
            common = {"site": site, "shape": fired.shape[1:], **{key: metadata.get(key) for key in hdf5.IDENTITY}}
            found = found or _Found(common, fired.dtype)
            found.fired_type = np.promote_types(found.fired_type, fired.dtype)
            ids, cultures = hdf5.read_strings(file, "sample_id"), hdf5.read_strings(file, "culture")
        for key, value in found.common.items():
            if value != common[key]:
                raise FileError(
                    f"{path}: {key} {common[key]!r}, but {shards[0]} has {value!r}; delete the shards and run again"
                )
        for row, (sample_id, culture) in enumerate(zip(ids, cultures, strict=True)):
            if sample_id in found.where:
                raise FileError(f"{path}: sample {sample_id!r} is also in {shards[found.where[sample_id][0]]}")
            found.where[sample_id] = s, row
            found.culture[sample_id] = culture
    if found is None:
        raise FileError("no statistics to merge")
    return found


def _read(
    shards: Sequence[str | Path],
    where: Sequence[tuple[int, int]],
    site: str,
    rows: Rows,
    tokens: np.ndarray,
    fired: np.ndarray,
    positive_sum: np.ndarray,
) -> list[tuple[hdf5.Chunk, hdf5.Chunk]]:
    """Fill in T, K and S of samples that lie at (shard, row); return their compressed chunks if all can be copied."""
    # A cache of chunks that are read once only costs new pages of memory.
    cache_bytes = 0 if rows.per_chunk == 1 else 8 << 20
    chunks: dict[int, tuple[hdf5.Chunk, hdf5.Chunk]] = {}
    for s in sorted({shard for shard, _ in where}):
        with hdf5.opened(shards[s], cache_bytes) as file:
            sources = file[f"{site}/fired"], file[f"{site}/positive_sum"]
            copied = all(map(hdf5.same_storage, sources, (rows.fired, rows.positive_sum)))
            all_tokens = file["tokens"][()]
            for i, (shard, row) in enumerate(where):
                if shard == s:
                    tokens[i] = all_tokens[row]
                    for source, values in zip(sources, (fired, positive_sum), strict=True):
                        source.read_direct(values, np.s_[row], np.s_[i])
                    if copied:
                        chunks[i] = hdf5.read_chunk(sources[0], row), hdf5.read_chunk(sources[1], row)
    return [chunks[i] for i in range(len(where))] if len(chunks) == len(where) else []
