"""Mask files, for the steps that write and read them: their outputs, what they say of themselves, flat indices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from culture_neurons.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def check_outputs(given: Sequence[Any], out: Sequence[Path], label: str = "top fractions") -> None:
    """Raise ConfigError unless there is an output for each of what is given."""
    if len(out) != len(given):
        raise ConfigError(f"{len(given)} {label} and {len(out)} outputs; expected as many")


def describe_masks(
    cultures: list[str], layers: int, neurons: Any, selector: str, options: dict[str, Any], top_fraction: str,
    experts: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What the metadata of every mask file says of its masks, beside what made it.

    neurons   per layer; where units are at projections, site -> units per layer, a list where layers differ
    experts   of a model that has some, as the statistics name them: `neurons` is that of the widest layer then
    """
    about = {
        "cultures": cultures, "layers": layers, "neurons": neurons, "selector": selector, "options": options,
        "top_fraction": top_fraction,
    }  # fmt: skip
    return about | ({"experts": experts} if experts else {})


def differing_widths(metadata: dict[str, Any]) -> list[int]:
    """The neurons of each layer, where a mask file is of a model whose layers differ; empty where they do not."""
    widths = (metadata.get("experts") or {}).get("widths", [])
    return list(widths) if len(set(widths)) > 1 else []


def flat_indices(table: pd.DataFrame, shape: tuple[int, int]) -> np.ndarray:
    """The neurons of a mask table as flat indices into [layer, neuron], int64 [row]."""
    import numpy as np

    return np.ravel_multi_index((table["layer"], table["neuron"]), shape)


def split_by_culture(table: pd.DataFrame, cultures: Sequence[str], values: np.ndarray) -> list[np.ndarray]:
    """The values of the rows of a mask table, one array per culture; empty where a culture has no neuron."""
    culture = table["culture"].astype(str).to_numpy()
    return [values[culture == name] for name in cultures]
