"""Folders that do not fit, and options that a processor ignores: one line says what, and what was expected."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    LlavaConfig,
    Phi4MultimodalConfig,
    Qwen2Config,
    ReformerConfig,
)

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models import loading
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, process, render
from culture_neurons.models.loading import load
from culture_neurons.models.processors import check_options
from culture_neurons.types import Sample
from tests.models import eyes
from tests.models.conftest import text_folder

pytestmark = eyes.WARNINGS


@pytest.mark.parametrize(
    ("name", "option", "advice"),
    [("Glm4v", "max_pixels", "size"), ("Llava", "max_pixels", "patch_size"), ("Gemma3", "do_pan_and_scan", "size")],
)
def test_options_that_a_processor_ignores_are_refused(family, name, option, advice):
    """Gemma 3's processor calls its image processor with a setting of its own, whatever that one was loaded with."""
    processor = family(name).processor
    with pytest.raises(ConfigError, match=rf"^model 'm': processor: '{option}' is no .*expected one of .*\b{advice}\b"):
        check_options("m", processor, {option: 1})
    check_options("m", processor, {advice: 1})


def test_options_that_a_processor_heeds_are_taken(family):
    check_options("m", family("Qwen2_5_VL").processor, {"max_pixels": 1, "min_pixels": 1, "do_normalize": False})


def test_a_language_model_has_no_processor_to_set(tmp_path):
    with pytest.raises(ConfigError, match=r"'max_pixels' is no option .* expected none: it is a language model"):
        load({"name": "m", "path": text_folder(tmp_path / "m"), "processor": {"max_pixels": 5}})


def test_a_tokenizer_that_does_not_name_the_tokens_of_images(tmp_path):
    eyes.save("InternVL", tmp_path)
    file = tmp_path / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    names = set(eyes.FAMILIES["InternVL"].names)
    settings = {key: value for key, value in settings.items() if key not in names | {"extra_special_tokens"}}
    file.write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"processor of .*AttributeError: .*start_image_token\)\nexpected tokenizer_"):
        load({"name": "m", "path": str(tmp_path)})


def test_a_config_without_a_setting_of_its_model(tmp_path, monkeypatch):
    def fails(*args, **more):
        return [][0]

    folder = text_folder(tmp_path / "m")
    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", fails)
    with pytest.raises(ModelError, match=r"model of .*IndexError: list index.*\nexpected config.json with all"):
        load({"name": "m", "path": folder})


@pytest.mark.parametrize("how", ["logprob", "generate"])
def test_a_processor_that_writes_other_image_tokens_than_there_are_features(tmp_path, how):
    """As LLaVA-NeXT's does whose folder has no num_additional_image_tokens; the advice works."""
    eyes.save("LlavaNext", tmp_path)
    file = tmp_path / "processor_config.json"
    settings = json.loads(file.read_text())
    del settings["num_additional_image_tokens"]
    file.write_text(json.dumps(settings))
    sample = Sample("s", "c", "k", "What?", ("a", "b"), 0, "evaluate", {"path": "1"}, "1")
    prompt = replace(Prompt(), answer=how, max_new_tokens=1)
    loaded = load({"name": "m", "path": str(tmp_path)})
    batch = process(loaded, render(loaded, [sample], prompt), eyes.opener)
    with pytest.raises(ModelError, match=r"^model 'm': its processor writes other image tokens .*num_additional_image"):
        answer(loaded, batch, prompt)
    loaded = load({"name": "m", "path": str(tmp_path), "processor": {"num_additional_image_tokens": 1}})
    assert answer(loaded, process(loaded, render(loaded, [sample], prompt), eyes.opener), prompt)


def test_a_type_whose_numbers_would_mean_nothing_is_refused_before_its_weights_are_read(tmp_path):
    ReformerConfig(is_decoder=True).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"^model 'm': models of type 'reformer' can't be analysed: it hashes"):
        load({"name": "m", "path": str(tmp_path)})


def test_models_of_any_input_see_images():
    """Phi-4-multimodal is listed among causal language models, and not among those of images and text."""
    assert loading._auto_class(Phi4MultimodalConfig(), "m", False) is AutoModelForCausalLM
    assert loading._sees(Phi4MultimodalConfig(), AutoModelForCausalLM)
    assert loading._sees(LlavaConfig(), AutoModelForImageTextToText)
    assert not loading._sees(Qwen2Config(), AutoModelForCausalLM)
