"""The demo's models, questions and masks, from results/demo-all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from culture_neurons.data.samples import read_samples
from culture_neurons.errors import FileError
from culture_neurons.models.inputs import Opener
from culture_neurons.models.loading import Loaded, load
from culture_neurons.steps.ablate import read_masks
from culture_neurons.types import SITES, NeuronMask, Sample

RESULTS = Path("results/demo-all")
MODELS = ("demo-qwen2.5-vl", "demo-llava-mistral")


def model(name: str, threads: int | None = None) -> Loaded:
    """One of the demo's trained models."""
    return load({"name": name, "path": str(RESULTS / name / "model")}, threads)


def questions() -> tuple[list[Sample], Opener]:
    """The evaluate split."""
    return read_samples(RESULTS / "samples.parquet", split="evaluate")


def masks(name: str, n: int) -> list[NeuronMask]:
    """The first `n` masks that have neurons, over all selectors by statistics and top fractions. Raises FileError for
    too few."""
    files = sorted((RESULTS / name / "masks").glob("*_top*.parquet"))
    found = [mask for file in files for mask in read_masks(file)[0] if len(mask) and np.isin(mask.site, SITES).all()]
    if len(found) < n:
        raise FileError(f"{RESULTS / name / 'masks'}: {len(found)} masks, expected {n}; run make demo-all first")
    return found[:n]
