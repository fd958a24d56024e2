"""Tiny models of real architectures that see images, for the demos and for tests.

They are ordinary Hugging Face models with a word-level tokenizer and a chat template in the
style of their family: `save_pretrained` and `from_pretrained` work as for the large ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
)
from transformers.utils import logging

from culture_neurons.data import prompts
from culture_neurons.data.readers import synthetic
from culture_neurons.errors import ConfigError, ModelError, nearest
from culture_neurons.files import first_line
from culture_neurons.models.processors import load_processor, qwen_processor
from culture_neurons.types import DEMO_ARCHITECTURES as ARCHITECTURES

#: Sizes of a demo model. Heads are 16 wide; there are half as many key-value heads as heads.
SIZES = {"layers": 4, "hidden": 64, "intermediate": 256, "vision_layers": 2, "vision_hidden": 64}
_HEAD = 16
#: Option letters that a demo model's tokenizer knows.
N_LETTERS = 10

_CHAT_ML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_INST = (
    "<s>{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %} [/INST]"
    "{% else %} {{ message['content'] if message['content'] is string else message['content'][0]['text'] }}</s>"
    "{% endif %}{% endfor %}"
)
_CHAT_ML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
#: Per architecture: chat template, special tokens (padding first), end of a turn, image token.
_STYLES = {
    "qwen2.5-vl": (
        _CHAT_ML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
        (*_CHAT_ML_TOKENS, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
        "<|im_end|>",
    ),
    "llava-next-mistral": (
        _INST.replace("IMAGE", "<image>\n"),
        ("<pad>", "<s>", "</s>", "[INST]", "[/INST]", "<image>"),
        "</s>",
    ),
    "llava-next-qwen2": (
        _CHAT_ML.replace("IMAGE", "<image>\n"),
        (*_CHAT_ML_TOKENS, "<image>"),
        "<|im_end|>",
    ),
}


def tokenizer(architecture: str, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer that knows every word of `texts`; others become `<unk>`.

    Words, punctuation marks and line feeds are tokens, other white space only separates; it
    gives offsets. Its vocabulary depends on the set of words alone, not on their order.
    """
    template, special, end = _STYLES[architecture]
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\S\n]+"), "removed"),
            pre_tokenizers.Split(Regex(r"\n|[^\w\s]"), "isolated"),
        ]
    )
    words = {"\n", "user", "assistant", "system", *prompts.LETTERS[:N_LETTERS], *"().,:;!?'"}
    words.update(piece for text in texts for piece, _ in split.pre_tokenize_str(text))
    vocabulary = {token: i for i, token in enumerate([*special, "<unk>", *sorted(words)])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = split
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="<unk>",
        pad_token=special[0],
        eos_token=end,
        additional_special_tokens=[t for t in special[1:] if t != end],
        chat_template=template,
        padding_side="left",
    )


def build(
    architecture: str,
    world: synthetic.World | None = None,
    seed: int = 0,
    instruction: str = prompts.INSTRUCTION,
    **sizes: int,
) -> tuple[Any, Any]:
    """An untrained model, in eval mode, and its processor.

    architecture   one of ARCHITECTURES
    world          whose words the tokenizer knows; the default world if None
    instruction    the prompt's fixed instruction, whose words it knows too
    sizes          override SIZES: layers, hidden (a multiple of 16), intermediate, ...

    The same arguments give the same weights; the global random state is left alone.
    Raises ConfigError naming an unknown architecture or size.
    """
    if architecture not in ARCHITECTURES:
        hint = nearest(architecture, ARCHITECTURES)
        raise ConfigError(f"architecture {architecture!r} is unknown{hint}; known: {', '.join(ARCHITECTURES)}")
    for name, value in sizes.items():
        if name not in SIZES:
            raise ConfigError(f"demo model: unknown size {name!r}{nearest(name, SIZES)}; known: {', '.join(SIZES)}")
        if not isinstance(value, int) or value < 1 or (name.endswith("hidden") and value % _HEAD):
            raise ConfigError(
                f"demo model: {name} is {value!r}; expected a positive integer, for hidden sizes a multiple of {_HEAD}"
            )
    size = SIZES | sizes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        world = world or synthetic.world()
        words = tokenizer(architecture, [*synthetic.texts(world), instruction])
        assemble = _qwen if architecture == "qwen2.5-vl" else _llava
        model, processor = assemble(architecture, words, world.image_size, size)
    # An answer is one letter, and training ends there: generation stops with it too.
    letters = words.convert_tokens_to_ids(list(prompts.LETTERS[:N_LETTERS]))
    model.generation_config.eos_token_id = [words.eos_token_id, *letters]
    return model.eval(), processor


def _decoder(words: PreTrainedTokenizerFast, size: dict[str, int]) -> dict[str, Any]:
    heads = size["hidden"] // _HEAD
    return {
        "vocab_size": len(words),
        "hidden_size": size["hidden"],
        "intermediate_size": size["intermediate"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "max_position_embeddings": 512,
        "initializer_range": 0.04,
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }


def _qwen(_: str, words: PreTrainedTokenizerFast, image_size: int, size: dict[str, int]) -> tuple[Any, Any]:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    token = words.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config=_decoder(words, size)
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [2, 3, 3]}},
        vision_config={
            "depth": size["vision_layers"],
            "hidden_size": size["vision_hidden"],
            "intermediate_size": 2 * size["vision_hidden"],
            "num_heads": size["vision_hidden"] // _HEAD,
            "out_hidden_size": size["hidden"],
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [size["vision_layers"] - 1],
            "initializer_range": 0.04,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    images = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=max(56, image_size) ** 2)
    return Qwen2_5_VLForConditionalGeneration(config), qwen_processor(images, words, words.chat_template)


def _llava(architecture: str, words: PreTrainedTokenizerFast, image_size: int, size: dict[str, int]) -> tuple[Any, Any]:
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    patch = image_size // 2
    decoder = MistralConfig if architecture == "llava-next-mistral" else Qwen2Config
    config = LlavaNextConfig(
        text_config=decoder(**_decoder(words, size), sliding_window=None, tie_word_embeddings=True),
        vision_config=CLIPVisionConfig(
            hidden_size=size["vision_hidden"],
            intermediate_size=2 * size["vision_hidden"],
            num_hidden_layers=size["vision_layers"] + 1,  # the last one is not used: features are of layer -2
            num_attention_heads=size["vision_hidden"] // _HEAD,
            image_size=image_size,
            patch_size=patch,
        ),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=[[image_size, image_size]],
        image_seq_length=10,  # 4 patches of the whole, then 2 rows of 2 patches and a line end
        tie_word_embeddings=True,
    )
    images = LlavaNextImageProcessorPil(
        size={"height": image_size, "width": image_size},
        crop_size={"height": image_size, "width": image_size},
        image_grid_pinpoints=[[image_size, image_size]],
    )
    processor = LlavaNextProcessor(
        images,
        words,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=words.chat_template,
    )
    return LlavaNextForConditionalGeneration(config), processor


def save(folder: Path, model: Any, processor: Any, summary: Mapping[str, Any]) -> None:
    """Write a Hugging Face folder, and `training.json` with how the model was trained."""
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):  # they are written for their owner alone, and jobs may have another
        path.chmod((folder / "config.json").stat().st_mode)
    text = json.dumps(dict(summary), indent=2, sort_keys=True) + "\n"
    (folder / "training.json").write_text(text, encoding="utf-8", newline="\n")


def load(folder: Path, architecture: str) -> tuple[Any, Any, dict[str, Any]]:
    """A model that `save` wrote, its processor and its summary.

    Raises ModelError when the folder is no such model, or holds another architecture.
    """
    logging.disable_progress_bar()
    try:
        summary = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        model, processor = AutoModelForImageTextToText.from_pretrained(folder), load_processor(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: no model that the train step wrote ({first_line(error)})") from None
    if summary.get("architecture") != architecture:
        raise ModelError(f"{folder}: a model of {summary.get('architecture')!r}; expected {architecture!r}")
    return model, processor, summary
