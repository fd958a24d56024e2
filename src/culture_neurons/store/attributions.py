"""Attributions in HDF5 files: sums per culture, which is all that selection needs, added up over shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.files import damaged
from culture_neurons.store import hdf5
from culture_neurons.types import Attributions

#: What shards of one run agree on, beside the model.
_SAME = ("model", "revision", "dtype", "control")


def write_attributions(path: str | Path, attributions: Attributions, metadata: Mapping[str, Any]) -> None:
    """Write the sums of one shard; one chunk per culture and layer. A site that no layer has is an empty array."""
    sites = list(attributions.sums)
    with hdf5.create_file(path) as file, hdf5.naming_errors(path):
        hdf5.write_metadata(file, ",".join(sites), metadata)
        hdf5.write_strings(file, "culture", attributions.cultures)
        hdf5.write_array(file, "samples", attributions.samples)
        for site, values in attributions.sums.items():
            chunks = tuple(min(1, n) for n in values.shape[:2]) + values.shape[2:]
            file.create_dataset(f"{site}/attribution", data=values, **hdf5.compression_options(chunks))


def read_attributions(shards: Sequence[str | Path]) -> tuple[Attributions, dict[str, Any]]:
    """The sums of all shards, one after the other, cultures sorted by name, and the metadata of the first.

    Raises FileError when shards are of different models, sets, cultures, sites or shapes, or a file is damaged.
    """
    total, metadata = _read(shards[0])
    samples, sums = total.samples.copy(), dict(total.sums)
    expected = _identity(total, metadata)
    for path in shards[1:]:
        shard, shard_metadata = _read(path)
        for key, value in _identity(shard, shard_metadata).items():
            if value != expected[key]:
                raise FileError(
                    f"{path}: {key} {value!r}, but {shards[0]} has {expected[key]!r}; delete the shards and run again"
                )
        samples += shard.samples
        for site, values in shard.sums.items():
            sums[site] += values
    return Attributions(total.cultures, samples, sums), metadata


def _identity(attributions: Attributions, metadata: Mapping[str, Any]) -> dict[str, Any]:
    sites = {site: (values.shape[1:], attributions.widths(site)) for site, values in attributions.sums.items()}
    return {key: metadata.get(key) for key in _SAME} | {"cultures": attributions.cultures, "sites": sites}


def _read(path: str | Path) -> tuple[Attributions, dict[str, Any]]:
    with hdf5.open_file(path) as file:
        sites, metadata = hdf5.read_metadata(file, path)
        sums = {site: file[f"{site}/attribution"][()] for site in sites.split(",") if site}
        cultures, samples = hdf5.read_strings(file, "culture"), file["samples"][()]
    try:
        return Attributions(cultures, samples, sums), metadata
    except ConfigError as error:
        raise damaged(path, str(error)) from None
