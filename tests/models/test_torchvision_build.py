"""torchvision beside a torch that it does not fit, and not there at all where a processor needs it."""

from __future__ import annotations

import importlib

import pytest

from culture_neurons.errors import ModelError
from culture_neurons.models import loading, processors, torchvision_build
from tests.models import eyes


def test_a_torchvision_that_does_not_fit_is_named(monkeypatch):
    def fails(name):
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(
        ModelError, match=r"^torchvision does not fit torch \(operator torchvision::nms does not exist\)"
    ):
        torchvision_build.check_torchvision()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    torchvision_build.check_torchvision()


def test_it_is_checked_before_anything_is_loaded(monkeypatch, folders):
    def refuses():
        raise ModelError("does not fit")

    monkeypatch.setattr(loading, "check_torchvision", refuses)
    with pytest.raises(ModelError, match="does not fit"):
        loading.load({"name": "m", "path": folders["qwen2.5-vl"]})


def test_a_processor_that_needs_it_says_how_to_get_it(monkeypatch, folders):
    def fails(path, **more):
        raise ImportError("\nIdefics3ImageProcessorPil requires the Torchvision library but it was not found")

    monkeypatch.setattr(processors.AutoProcessor, "from_pretrained", fails)
    with pytest.raises(ModelError, match=r"^model 'm': the processor of .* needs torchvision; .*\[vision\]") as caught:
        loading.load({"name": "m", "path": folders["llava-next-qwen2"]})
    assert "\n" not in str(caught.value)


def test_families_that_need_it_are_those_that_transformers_can_make_only_with_it(tmp_path):
    """Where it is missing, the list of families that tests leave out is right."""
    if eyes.is_torchvision_available():
        pytest.skip("torchvision is installed")
    for name in eyes.NEED_TORCHVISION:
        with pytest.raises(ImportError):
            eyes.processor(name, eyes.tokenizer(eyes.FAMILIES[name]))
