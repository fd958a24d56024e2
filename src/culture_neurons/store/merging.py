"""Shards of one model's statistics, merged into one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from culture_neurons.errors import FileError
from culture_neurons.store import hdf5
from culture_neurons.store.statistics import Rows, as_metadata, read_experts, read_tokens, recorded_sums
from culture_neurons.store.totals import Totals
from culture_neurons.types import Experts

#: Sums that are in memory at a time.
_BLOCK_BYTES = 32 << 20


def merge_statistics(shards: Sequence[str | Path], target: str | Path, metadata: Mapping[str, Any]) -> None:
    """Merge shards into one file, with totals per culture; the result is the same whatever their number and order.

    Raises FileError when shards disagree on the model, its revision, dtype, token rule, mantissa bits,
    site, shape, experts or whether N was recorded, or when a sample lies in two of them.
    """
    survey = _survey(shards)
    ids = sorted(survey.where)
    cultures = [survey.culture[i] for i in ids]
    negative_sum = survey.common["negative_sum"]
    experts: Experts | None = survey.common["experts"]
    totals = Totals(cultures, survey.shape, negative_sum, experts)
    # Whole chunks are written, in order and without a cache, so that they lie in the file in this order.
    with hdf5.create_file(target) as file:
        with hdf5.naming_errors(target):
            hdf5.write_metadata(file, survey.site, {**metadata, **survey.identity, **as_metadata(experts)})
            rows = Rows(
                file, target, ids, cultures, survey.site, *survey.shape,
                fired_type=survey.fired_type, negative_sum=negative_sum, experts=experts,
            )  # fmt: skip
        of_sample = survey.shape[0] * survey.shape[1] * (10 if negative_sum else 6)
        per_block = max(1, _BLOCK_BYTES // of_sample // rows.per_chunk) * rows.per_chunk
        # The same memory for all blocks: new pages for each would take longer than to decompress them.
        all_tokens = np.empty(per_block if experts is None else (per_block, experts.columns), np.int64)
        buffers = {name: np.empty((per_block, *survey.shape), dataset.dtype) for name, dataset in rows.sums.items()}
        for start in range(0, len(ids), per_block):
            block = slice(start, start + per_block)
            where = [survey.where[i] for i in ids[block]]
            tokens = all_tokens[: len(where)]
            sums = {name: buffer[: len(where)] for name, buffer in buffers.items()}
            chunks = _read(shards, where, survey.site, rows, tokens, sums)
            rows.write(ids[block], tokens, list(sums.values()), chunks)
            totals.add(cultures[block], tokens, sums)
        rows.close()
        with hdf5.naming_errors(target):
            totals.write(file, survey.site)


@dataclass
class _Shards:
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


def _survey(shards: Sequence[str | Path]) -> _Shards:
    """Look into all shards. Raises FileError, see `merge_statistics`."""
    survey: _Shards | None = None
    for s, path in enumerate(shards):
        with hdf5.open_file(path) as file:
            site, metadata = hdf5.read_metadata(file, path)
            fired = file[f"{site}/fired"]
            common = {
                "site": site,
                "shape": fired.shape[1:],
                "negative_sum": "negative_sum" in recorded_sums(file, site),
                "experts": read_experts(metadata),
            }
            common |= {key: metadata.get(key) for key in hdf5.IDENTITY}
            survey = survey or _Shards(common, fired.dtype)
            survey.fired_type = np.promote_types(survey.fired_type, fired.dtype)
            ids, cultures = hdf5.read_strings(file, "sample_id"), hdf5.read_strings(file, "culture")
        for key, value in survey.common.items():
            if value != common[key]:
                raise FileError(
                    f"{path}: {key} {common[key]!r}, but {shards[0]} has {value!r}; delete the shards and run again"
                )
        for row, (sample_id, culture) in enumerate(zip(ids, cultures, strict=True)):
            if sample_id in survey.where:
                raise FileError(f"{path}: sample {sample_id!r} is also in {shards[survey.where[sample_id][0]]}")
            survey.where[sample_id] = s, row
            survey.culture[sample_id] = culture
    if survey is None:
        raise FileError("no statistics to merge")
    return survey


def _read(
    shards: Sequence[str | Path],
    where: Sequence[tuple[int, int]],
    site: str,
    rows: Rows,
    tokens: np.ndarray,
    sums: Mapping[str, np.ndarray],
) -> list[list[hdf5.Chunk]]:
    """Fill in T and the sums of samples that lie at (shard, row); return their compressed chunks if all can be copied.

    A sample's chunks are in the order of `rows.sums`.
    """
    # A cache of chunks that are read once only costs new pages of memory.
    cache_bytes = 0 if rows.per_chunk == 1 else 8 << 20
    chunks: dict[int, list[hdf5.Chunk]] = {}
    for s in sorted({shard for shard, _ in where}):
        with hdf5.open_file(shards[s], cache_bytes) as file:
            sources = recorded_sums(file, site)
            copied = all(hdf5.same_storage(source, rows.sums[name]) for name, source in sources.items())
            all_tokens = read_tokens(file, site)
            for i, (shard, row) in enumerate(where):
                if shard == s:
                    tokens[i] = all_tokens[row]
                    for name, source in sources.items():
                        source.read_direct(sums[name], np.s_[row], np.s_[i])
                    if copied:
                        chunks[i] = [hdf5.read_chunk(source, row) for source in sources.values()]
    return [chunks[i] for i in range(len(where))] if len(chunks) == len(where) else []
