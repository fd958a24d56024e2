"""Mask files for the steps that compare masks; apart from `mask_files`, which steps read that compare none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from culture_neurons.steps import mask_files

if TYPE_CHECKING:
    from culture_neurons.analysis.overlaps import Masks
    from culture_neurons.steps.history import History


def read(path: Path, history: History) -> tuple[Masks, dict[str, Any]]:
    """The masks of a file at one site, as sorted flat indices, and its metadata, which is added to the history."""
    import numpy as np

    from culture_neurons import files
    from culture_neurons.analysis import overlaps

    table, metadata = files.read_table(path, ["culture", "layer", "neuron"], only=True)
    history.add(metadata)
    shape = metadata["layers"], metadata["neurons"]
    cultures = metadata["cultures"]
    flat = mask_files.split_by_culture(table, cultures, mask_files.flat_indices(table, shape))
    masks = {name: np.sort(indices) for name, indices in zip(cultures, flat, strict=True)}
    return overlaps.Masks(shape, masks, mask_files.differing_widths(metadata)), metadata
