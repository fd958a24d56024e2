"""Tiny models of the real architectures: ordinary Hugging Face models, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaNextForConditionalGeneration, Qwen2_5_VLForConditionalGeneration

from culture_neurons.data import prompts
from culture_neurons.data.readers import synthetic
from culture_neurons.errors import ConfigError
from culture_neurons.models.demo import architectures
from culture_neurons.models.loading import load
from culture_neurons.types import Sample

SIZES = {"layers": 2, "hidden": 32, "intermediate": 48, "vision_layers": 1, "vision_hidden": 32}
WORLD = synthetic.world({"cultures": 2, "categories": 2})


def chats(processor, questions: list[str]) -> list[str]:
    texts = []
    for question in questions:
        sample = Sample("", "", "", question, tuple(WORLD.words[0, 0]), 0)
        text = prompts.user_text(sample, range(4))
        texts.append(
            processor.apply_chat_template(prompts.messages(text, True), add_generation_prompt=True, tokenize=False)
        )
    return texts


def inputs(processor, questions: list[str]):
    images = [Image.fromarray(p) for p in synthetic.make_examples(WORLD, "train", 1).pixels[: len(questions)]]
    return processor(images=images, text=chats(processor, questions), return_tensors="pt", padding=True)


@pytest.mark.parametrize(
    ("architecture", "kind", "decoder"),
    [
        ("qwen2.5-vl", Qwen2_5_VLForConditionalGeneration, "qwen2_5_vl_text"),
        ("llava-next-mistral", LlavaNextForConditionalGeneration, "mistral"),
        ("llava-next-qwen2", LlavaNextForConditionalGeneration, "qwen2"),
    ],
)
def test_models_are_of_the_real_classes_and_survive_saving(architecture, kind, decoder, tmp_path):
    model, processor = architectures.build(architecture, WORLD, **SIZES)
    assert type(model) is kind
    assert model.config.text_config.model_type == decoder
    assert not model.training
    model.save_pretrained(tmp_path)
    given = inputs(processor, ["Which dish is this?"] * 2)
    with torch.no_grad():
        torch.testing.assert_close(kind.from_pretrained(tmp_path)(**given).logits, model(**given).logits)


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_the_image_and_the_padding_are_taken_as_they_should(architecture):
    model, processor = architectures.build(architecture, WORLD, **SIZES)
    long, short = "What dish does the picture show?", "Which dish is this?"
    both, alone = inputs(processor, [short, long]), inputs(processor, [short])
    assert both["input_ids"].shape[1] > alone["input_ids"].shape[1]
    with torch.no_grad():
        padded, plain = model(**both).logits[0, -1], model(**alone).logits[0, -1]
        torch.testing.assert_close(padded, plain, atol=1e-4, rtol=1e-3)
        other = dict(alone) | {"pixel_values": alone["pixel_values"].flip(0) * 0.5}
        assert (model(**other).logits[0, -1] - plain).abs().max() > 1e-4


def test_seeds_decide_the_weights_and_the_global_state_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, repeated, other = (
        architectures.build("qwen2.5-vl", WORLD, seed, **SIZES)[0].state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], repeated[key]) for key in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_the_tokenizer_knows_every_prompt_and_gives_offsets(architecture):
    instruction = "Give one letter, e.g. 'B'!"
    _, processor = architectures.build(architecture, WORLD, instruction=instruction, **SIZES)
    tokenizer = processor.tokenizer
    text = "\n".join([*synthetic.texts(WORLD), instruction, "A. B. C. D."])
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.unk_token_id not in encoded["input_ids"]
    pieces = [text[start:end] for start, end in encoded["offset_mapping"]]
    assert pieces == tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    assert "".join(pieces) == text.replace(" ", "")
    assert tokenizer("zzz")["input_ids"] == [tokenizer.unk_token_id]


def test_option_letters_are_single_tokens_wherever_they_stand():
    _, processor = architectures.build("llava-next-mistral", WORLD, **SIZES)
    tokens = processor.tokenizer.tokenize(chats(processor, ["Which dish is this?"])[0])
    assert [t for t in tokens if t in "ABCD"] == list("ABCD")


def test_the_vocabulary_does_not_depend_on_the_order_of_texts():
    first, second = (architectures.tokenizer("qwen2.5-vl", texts).get_vocab() for texts in (["b a", "c"], ["c", "a b"]))
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"architecture": "qwen"}, "architecture 'qwen' is unknown"),
        ({"architecture": "llava-next-mistrl"}, "did you mean 'llava-next-mistral'"),
        ({"architecture": "qwen2.5-vl", "layer": 2}, "unknown size 'layer'.*did you mean 'layers'"),
        ({"architecture": "qwen2.5-vl", "hidden": 40}, "hidden is 40; expected .* a multiple of 16"),
        ({"architecture": "qwen2.5-vl", "layers": 0}, "layers is 0"),
    ],
)
def test_unknown_architectures_and_sizes_are_named(arguments, expected):
    with pytest.raises(ConfigError, match=expected):
        architectures.build(**arguments)


def test_larger_images_work_too():
    world = synthetic.world({"cultures": 2, "image_size": 84})
    image = Image.fromarray(synthetic.make_examples(world, "dev", 1).pixels[0])
    for architecture in architectures.ARCHITECTURES:
        model, processor = architectures.build(architecture, world, **SIZES)
        given = processor(images=[image], text=chats(processor, ["Which dish is this?"]), return_tensors="pt")
        with torch.no_grad():
            assert np.isfinite(model(**given).logits.numpy()).all()


def test_whoever_can_read_one_file_of_a_model_can_read_all(tmp_path):
    architectures.save(tmp_path, *architectures.build("llava-next-qwen2", layers=1, hidden=16, vision_hidden=16), {})
    assert len({path.stat().st_mode for path in tmp_path.iterdir() if path.is_file()}) == 1


def test_generation_ends_with_an_option_letter(tmp_path):
    model, processor = architectures.build("llava-next-qwen2", layers=1, hidden=16, vision_hidden=16)
    architectures.save(tmp_path, model, processor, {})
    loaded = load({"name": "m", "path": str(tmp_path)})
    stops = loaded.tokenizer.convert_ids_to_tokens(loaded.model.generation_config.eos_token_id)
    assert stops == ["<|im_end|>", *"ABCDEFGHIJ"]
    letter = loaded.tokenizer.convert_tokens_to_ids("C")
    loaded.model.lm_head = torch.nn.Linear(16, len(loaded.tokenizer))  # a model that says C whatever it is asked
    torch.nn.init.zeros_(loaded.model.lm_head.weight)
    loaded.model.lm_head.bias.data[:] = 0
    loaded.model.lm_head.bias.data[letter] = 9
    ids = torch.tensor([[5, 6, 7]])
    out = loaded.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
    assert out[0, 3:].tolist() == [letter]
