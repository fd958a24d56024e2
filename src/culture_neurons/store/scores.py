"""Scores of one selector in an HDF5 file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from culture_neurons.errors import FileError
from culture_neurons.store.hdf5 import (
    compression_options,
    create_file,
    naming_errors,
    open_file,
    read_metadata,
    read_strings,
    write_metadata,
    write_strings,
)


def write_scores(
    path: str | Path, scores: np.ndarray, cultures: Sequence[str], site: str, metadata: Mapping[str, Any]
) -> None:
    """Write scores [culture, layer, neuron] as float32."""
    scores = np.asarray(scores, dtype=np.float32)
    if scores.ndim != 3 or len(scores) != len(cultures):
        expected = "expected [culture, layer, neuron]"
        raise FileError(f"{path}: scores {scores.shape} for {len(cultures)} cultures; {expected}")
    with create_file(path) as file, naming_errors(path):
        write_metadata(file, site, metadata)
        file.create_dataset(site, data=scores, **compression_options((min(1, len(scores)), *scores.shape[1:])))
        write_strings(file, "culture", cultures)


def read_scores(path: str | Path) -> tuple[np.ndarray, list[str], str, dict[str, Any]]:
    """Read scores float32 [culture, layer, neuron], the cultures, the site and the metadata."""
    with open_file(path) as file:
        site, metadata = read_metadata(file, path)
        return file[site][()], read_strings(file, "culture"), site, metadata
