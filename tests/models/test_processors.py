"""Processors with and without torchvision, and after saving and loading."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from transformers import Qwen2_5_VLProcessor

from culture_neurons.data import prompts
from culture_neurons.models import processors
from culture_neurons.models.demo import architectures

TEXT = "Which dish is this?\nA. one\nB. two"


def inputs(processor, n: int = 2) -> dict[str, np.ndarray]:
    chat = processor.apply_chat_template(prompts.messages(TEXT, True), add_generation_prompt=True, tokenize=False)
    noise = np.random.default_rng(0).integers(0, 255, (n, 56, 56, 3), dtype=np.uint8)
    images = [Image.fromarray(pixels) for pixels in noise]
    return dict(processor(images=images, text=[chat] * n, return_tensors="np", padding=True))


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_a_saved_processor_loads_and_gives_the_same_inputs(architecture, tmp_path):
    model, processor = architectures.build(architecture, layers=1, hidden=32, intermediate=32, vision_hidden=32)
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    expected, actual = inputs(processor), inputs(processors.load_processor(tmp_path))
    assert expected.keys() == actual.keys()
    for key in expected:
        # With torchvision, the loaded processor computes in another order than the one that was saved.
        np.testing.assert_allclose(expected[key], actual[key], rtol=0, atol=1e-6)


@pytest.fixture
def qwen(tmp_path, monkeypatch):
    """A Qwen folder saved without torchvision."""
    monkeypatch.setattr(processors, "is_torchvision_available", lambda: False)
    model, processor = architectures.build("qwen2.5-vl", layers=1, hidden=32, intermediate=32, vision_hidden=32)
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return tmp_path


def test_without_torchvision_qwen_gets_an_image_only_processor(qwen):
    loaded = processors.load_processor(qwen)
    assert isinstance(loaded, processors.image_only(Qwen2_5_VLProcessor))
    given = inputs(loaded, 1)
    # 4 x 4 patches, merged 2 x 2; the ids of image tokens are marked.
    assert given["image_grid_thw"].tolist() == [[1, 4, 4]]
    assert (given["input_ids"] == loaded.image_token_id).sum() == 4
    assert (given["mm_token_type_ids"] == (given["input_ids"] == loaded.image_token_id)).all()


def test_arguments_reach_the_image_processor(qwen):
    image = Image.new("RGB", (84, 84))
    grids = []
    for more in ({}, {"min_pixels": 28 * 28, "max_pixels": 28 * 28}):
        loaded = processors.load_processor(qwen, **more)
        grids.append(loaded.image_processor([image], return_tensors="np")["image_grid_thw"].tolist())
    assert grids == [[[1, 4, 4]], [[1, 2, 2]]]


def test_the_folder_names_the_stock_class(qwen):
    settings = json.loads((qwen / "processor_config.json").read_text(encoding="utf-8"))
    assert settings["processor_class"] == "Qwen2_5_VLProcessor"


@pytest.mark.parametrize(
    ("torchvision", "video", "stock"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_the_stock_processor_needs_torchvision_and_video_settings(qwen, monkeypatch, torchvision, video, stock):
    if video:
        settings = json.loads((qwen / "processor_config.json").read_text(encoding="utf-8"))
        settings["video_processor"] = {"video_processor_type": "Qwen2VLVideoProcessor"}
        (qwen / "processor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    paths = []
    monkeypatch.setattr(processors, "is_torchvision_available", lambda: torchvision)
    monkeypatch.setattr(
        processors, "AutoProcessor", SimpleNamespace(from_pretrained=lambda path, **_: paths.append(path))
    )
    loaded = processors.load_processor(qwen)
    assert (paths == [qwen]) is stock
    assert isinstance(loaded, processors.image_only(Qwen2_5_VLProcessor)) is not stock


def test_a_missing_folder_is_an_error_of_from_pretrained(tmp_path):
    with pytest.raises((OSError, ValueError)):
        processors.load_processor(tmp_path / "nothing", local_files_only=True)
