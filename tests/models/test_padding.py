from __future__ import annotations

import re

import pytest
import torch

from culture_neurons.errors import ModelError
from culture_neurons.models import padding
from culture_neurons.models.loading import Loaded, load
from tests.families import building


def loaded(family: str, folder, dtype: str = "float32") -> Loaded:
    building.save(family, folder)
    return load({"name": family, "path": str(folder), "dtype": dtype})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "opt", "bloom", "llava", "paligemma"])
def test_models_that_read_prompts_apart_pass(family, dtype, tmp_path):
    padding.check_padding(loaded(family, tmp_path, dtype))


def test_positions_that_count_padding_are_refused(tmp_path, monkeypatch):
    model = loaded("gpt2", tmp_path)
    padding.check_padding(model)
    monkeypatch.setattr(padding, "forward", lambda loaded, inputs: loaded.model(input_ids=inputs["input_ids"]))
    with pytest.raises(ModelError, match=r"'gpt2': its answer to a prompt depends on the padding before it"):
        padding.check_padding(model)
    # Learned positions that count from the padding, and no position_ids.
    with pytest.raises(ModelError, match=r"depends on the padding .* expected a model that takes position_ids"):
        padding.check_padding(loaded("bart", tmp_path / "bart"))


def test_blocks_that_padding_moves_are_refused(tmp_path):
    """DeepSeek-V4 compresses blocks of what it has read, counted from the padding."""
    with pytest.raises(ModelError, match=r"'deepseek_v4': its answer to a prompt depends on the padding before it"):
        padding.check_padding(loaded("deepseek_v4", tmp_path))


def test_texts_that_depend_on_padding_are_refused(tmp_path):
    """Whisper's decoder takes positions, but does not say so in its forward: `generate` gives it none."""
    for family in ("gpt2", "qwen2"):
        padding.check_padding(loaded(family, tmp_path / family), generates=True)
    model = loaded("whisper", tmp_path / "whisper")
    padding.check_padding(model)
    with pytest.raises(ModelError, match=r"'whisper': what it generates .* the padding .* set batch_size: 1"):
        padding.check_padding(model, generates=True)


def test_a_model_that_can_not_be_asked_in_words_alone_is_refused(tmp_path, monkeypatch):
    model = loaded("llama", tmp_path)

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids=None, use_cache=None):
        raise ValueError("inputs_embeds and shared_kv_states cannot be None")

    monkeypatch.setattr(model.model, "forward", forward)
    said = "can't be asked in words alone (ValueError: inputs_embeds and shared_kv_states cannot be None)"
    with pytest.raises(ModelError, match=re.escape(said)):
        padding.check_padding(model)
