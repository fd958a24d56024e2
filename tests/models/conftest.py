"""Untrained models of the real architectures, two layers each, and questions with images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from culture_neurons.data import images, synthetic
from culture_neurons.models import demo, loading
from culture_neurons.types import Sample

torch.set_num_threads(1)
SIZES = {"layers": 2, "hidden": 32, "intermediate": 48, "vision_layers": 2, "vision_hidden": 32}


@pytest.fixture(scope="session")
def questions() -> SimpleNamespace:
    """`samples` and `opener`; questions differ in length, so that batches are padded."""
    source = synthetic.read({"samples_per_culture": 3})
    samples = [
        Sample(r.sample_id, r.culture, r.category, r.question, tuple(r.options), int(r.label), "identify",
               r.image, r.image_id)
        for r in source.rows.itertuples()
    ]  # fmt: skip
    return SimpleNamespace(samples=samples, opener=images.opener(source.images))


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, str]:
    """Saved tiny models by architecture."""
    result = {}
    for architecture in demo.ARCHITECTURES:
        folder = tmp_path_factory.mktemp("models") / architecture
        model, processor = demo.build(architecture, seed=3, **SIZES)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        result[architecture] = str(folder)
    return result


@pytest.fixture(scope="session", params=demo.ARCHITECTURES)
def loaded(request, folders) -> loading.Loaded:
    """One loaded model per architecture."""
    return loading.load({"name": request.param, "path": folders[request.param], "dtype": "float32"})


@pytest.fixture(scope="session")
def one(folders) -> loading.Loaded:
    """A single loaded model, where one architecture is enough."""
    return loading.load({"name": "one", "path": folders["llava-next-mistral"]})
