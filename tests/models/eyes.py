"""Untrained vision-language models of many families with the processors of these families, without any download."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.utils import is_torchvision_available

from culture_neurons.models.processors import has_video_half, image_only

SIZES = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL = TOWER | {"image_size": 16, "patch_size": 4}
MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}}
WINDOW = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
NORM = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SQUARE = {"size": {"height": 16, "width": 16}} | NORM


@dataclass(frozen=True)
class Family:
    """How a family is made.

    image      what the chat template writes for an image
    names      names of the tokenizer's special tokens, as its processor asks for them
    tokens     special tokens without such a name
    pixels     image processor, and its settings
    processor  settings of the processor
    vision     configuration of the tower
    outer      configuration beside text and vision, from the ids of tokens
    text       configuration of the language model beside `SIZES`
    """

    image: str
    pixels: tuple[str, dict[str, Any]]
    vision: dict[str, Any]
    outer: Callable[[Callable[[str], int]], dict[str, Any]]
    names: dict[str, str] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    processor: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    name: str = ""


def _image(token: str, key: str = "image_token_id", **more: Any) -> Callable[[Callable[[str], int]], dict[str, Any]]:
    return lambda ids: {key: ids(token)} | more


def _qwen(ids: Callable[[str], int]) -> dict[str, Any]:
    return {"image_token_id": ids("<|image_pad|>"), "video_token_id": ids("<|video_pad|>"),
            "vision_start_token_id": ids("<|vision_start|>"), "vision_end_token_id": ids("<|vision_end|>")}  # fmt: skip


QWEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
QWEN_PIXELS = ("Qwen2VLImageProcessorPil", {"patch_size": 4, "temporal_patch_size": 2, "merge_size": 2,
                                            "size": {"shortest_edge": 64, "longest_edge": 1024}})  # fmt: skip
QWEN = {"patch_size": 4, "temporal_patch_size": 2, "spatial_merge_size": 2}
ROWS = tuple(f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7))
IDEFICS_TOKENS = ("<image>", "<fake_token_around_image>", "<global-img>", *ROWS)
GOT = ("GotOcr2ImageProcessorPil", SQUARE | {"crop_to_patches": True, "min_patches": 1, "max_patches": 4})
GEMMA = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}

FAMILIES = {
    "Qwen2VL": Family(
        QWEN_IMAGE, QWEN_PIXELS,
        {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2} | QWEN,
        _qwen, tokens=QWEN_TOKENS, text=MROPE),
    "Qwen2_5_VL": Family(
        QWEN_IMAGE, QWEN_PIXELS,
        {"depth": 2, "hidden_size": 16, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 24,
         "fullatt_block_indexes": [1], "window_size": 8} | QWEN,
        _qwen, tokens=QWEN_TOKENS, text=MROPE),
    "Qwen3VL": Family(
        QWEN_IMAGE, QWEN_PIXELS,
        {"depth": 2, "hidden_size": 16, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 24,
         "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 16} | QWEN,
        _qwen, tokens=QWEN_TOKENS, text=MROPE),
    "Glm4v": Family(
        "<|begin_of_image|><|image|><|end_of_image|>", ("Glm4vImageProcessorPil", dict(QWEN_PIXELS[1])),
        {"depth": 2, "hidden_size": 16, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 24,
         "image_size": 16} | QWEN,
        lambda ids: {"image_token_id": ids("<|image|>"), "video_token_id": ids("<|video|>"),
                     "image_start_token_id": ids("<|begin_of_image|>"), "image_end_token_id": ids("<|end_of_image|>"),
                     "video_start_token_id": ids("<|begin_of_video|>"), "video_end_token_id": ids("<|end_of_video|>")},
        tokens=("<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>",
                "<|end_of_video|>"), text=MROPE),
    "Llava": Family(
        "<image>\n", ("CLIPImageProcessorPil", {"size": {"shortest_edge": 16}, "crop_size": 16} | NORM),
        SMALL | {"model_type": "clip_vision_model"}, _image("<image>", "image_token_index"), tokens=("<image>",),
        processor={"patch_size": 4, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
        text={"model_type": "llama"}),
    "LlavaNext": Family(
        "<image>\n",
        ("LlavaNextImageProcessorPil", {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16},
                                        "image_grid_pinpoints": [[16, 32], [32, 16]]} | NORM),
        SMALL | {"model_type": "clip_vision_model"},
        _image("<image>", "image_token_index", image_grid_pinpoints=[[16, 32], [32, 16]]), tokens=("<image>",),
        processor={"patch_size": 4, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
        text={"model_type": "mistral"}),
    "LlavaOnevision": Family(
        "<image>\n",
        ("LlavaOnevisionImageProcessorPil", SQUARE | {"image_grid_pinpoints": [[16, 32], [32, 16]]}),
        SMALL | {"model_type": "siglip_vision_model", "vision_use_head": False},
        _image("<image>", "image_token_index", image_grid_pinpoints=[[16, 32], [32, 16]],
               vision_feature_select_strategy="full"),
        tokens=("<image>", "<video>"),
        processor={"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
        text={"model_type": "qwen2"}),
    "Mistral3": Family(
        "[IMG]", ("PixtralImageProcessorPil", {"size": {"longest_edge": 32}, "patch_size": 4} | NORM),
        TOWER | {"model_type": "pixtral", "head_dim": 8, "image_size": 32, "patch_size": 4},
        _image("[IMG]", "image_token_index", spatial_merge_size=2), tokens=("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        processor={"patch_size": 4, "spatial_merge_size": 2}, text={"model_type": "mistral"}, name="Pixtral"),
    "PaliGemma": Family(
        "<image>", ("SiglipImageProcessorPil", SQUARE | {"image_seq_length": 16}),
        SMALL | {"model_type": "siglip_vision_model", "projection_dim": 32},
        _image("<image>", "image_token_index", projection_dim=32), {"image_token": "<image>"},
        text={"model_type": "gemma"}),
    "Gemma3": Family(
        "<start_of_image>", ("Gemma3ImageProcessorPil", dict(SQUARE)),
        SMALL | {"model_type": "siglip_vision_model"},
        lambda ids: {"image_token_index": ids("<image_soft_token>"), "boi_token_index": ids("<start_of_image>"),
                     "eoi_token_index": ids("<end_of_image>"), "mm_tokens_per_image": 4},
        GEMMA, processor={"image_seq_length": 4}, text={"model_type": "gemma3_text"} | WINDOW),
    "Gemma4": Family(
        "<image_soft_token>",
        ("Gemma4ImageProcessorPil", {"patch_size": 4, "max_soft_tokens": 70, "pooling_kernel_size": 2} | NORM),
        TOWER | {"patch_size": 4, "pooling_kernel_size": 2, "position_embedding_size": 64, "head_dim": 8,
                 "num_key_value_heads": 2, "global_head_dim": 8, "default_output_length": 70},
        lambda ids: {"image_token_id": ids("<image_soft_token>"), "boi_token_id": ids("<start_of_image>"),
                     "eoi_token_id": ids("<end_of_image>"), "audio_config": None},
        GEMMA | {"audio_token": "<audio_soft_token>", "boa_token": "<start_of_audio>", "eoa_token": "<end_of_audio>"},
        processor={"image_seq_length": 70},
        text={"model_type": "gemma4_text", "hidden_size_per_layer_input": 0, "global_head_dim": 8,
              "num_kv_shared_layers": 0} | WINDOW),
    "Idefics3": Family(
        "<image>",
        ("Idefics3ImageProcessorPil", {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}} | NORM),
        dict(SMALL), _image("<image>", scale_factor=2), tokens=IDEFICS_TOKENS,
        processor={"image_seq_len": 4}, text={"model_type": "llama"}),
    "SmolVLM": Family(
        "<image>",
        ("SmolVLMImageProcessorPil", {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}} | NORM),
        dict(SMALL), _image("<image>", scale_factor=2), tokens=IDEFICS_TOKENS,
        processor={"image_seq_len": 4}, text={"model_type": "llama"}),
    "InternVL": Family(
        "<IMG_CONTEXT>\n", GOT, TOWER | {"image_size": [16, 16], "patch_size": [4, 4]},
        _image("<IMG_CONTEXT>", downsample_ratio=0.5, vision_feature_layer=-1),
        {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
         "video_token": "<video>"},
        processor={"image_seq_length": 4}, text={"model_type": "qwen2"}),
    "AyaVision": Family(
        "<image>", GOT, SMALL | {"model_type": "siglip_vision_model", "vision_use_head": False},
        _image("<|IMG_PATCH|>", vision_feature_layer=-1, adapter_layer_norm_eps=1e-6, downsample_factor=2,
               alignment_intermediate_size=32),
        tokens=("<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>"),
        processor={"patch_size": 4, "img_size": 16, "downsample_factor": 2}, text={"model_type": "cohere2"} | WINDOW),
    "Cohere2Vision": Family(
        "<image>", ("Cohere2VisionImageProcessor", {"size": {"height": 32, "width": 32}, "patch_size": 4,
                                                    "downsample_factor": 2, "max_patches": 4} | NORM),
        SMALL | {"model_type": "siglip_vision_model", "vision_use_head": False, "image_size": 32},
        _image("<image>", downsample_factor=2, alignment_intermediate_size=32),
        {"image_token": "<image>", "boi_token": "<|boi|>", "eoi_token": "<|eoi|>", "img_line_break_token": "<|br|>"},
        text={"model_type": "cohere2"} | WINDOW),
    "DeepseekVL": Family(
        "<image>", ("DeepseekVLImageProcessorPil", dict(SQUARE)),
        SMALL | {"model_type": "siglip_vision_model", "vision_use_head": False}, _image("<image>"),
        {"image_token": "<image>"}, processor={"num_image_tokens": 16}, text={"model_type": "llama"}),
    "Mllama": Family(
        "<|image|>", ("MllamaImageProcessorPil", SQUARE | {"max_image_tiles": 4}),
        {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_global_layers": 1,
         "attention_heads": 2, "image_size": 16, "patch_size": 4, "max_num_tiles": 4, "vision_output_dim": 32,
         "intermediate_layers_indices": [0]},
        _image("<|image|>", "image_token_index"), tokens=("<|image|>", "<|python_tag|>"),
        text={"cross_attention_layers": [1], "num_hidden_layers": 3,
              "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
}  # fmt: skip

#: Families whose processor needs torchvision for images too. The wheel of PyPI fits no CPU build of torch, so that it
#: is no requirement of the tests.
NEED_TORCHVISION = ("Mistral3", "Gemma4", "Idefics3", "SmolVLM", "Cohere2Vision")
#: The libraries' own: processors copy tensors in old ways, and Mllama's tower calls its layers in one.
WARNINGS = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`hidden_state` is deprecated:FutureWarning"),
]
#: Width and height of pictures.
SHAPES = [(16, 16), (40, 20), (20, 50), (33, 33)]
TEMPLATE = (
    "{% for m in messages %}user: {% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for part in m['content'] %}{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}\n{% endfor %}assistant:"
)


def names(*quick: str) -> list[Any]:
    """All families as parameters of a test: those that are not `quick` are slow, and what can't be had is left out."""
    missing = () if is_torchvision_available() else NEED_TORCHVISION
    skip = pytest.mark.skip("its processor needs torchvision, which is not installed")
    return [
        pytest.param(name, marks=[*([skip] if name in missing else []), *([] if name in quick else [pytest.mark.slow])])
        for name in FAMILIES
    ]


def opener(reference: Mapping[str, Any] | None) -> Image.Image | None:
    """The picture of noise that a number, as a path, stands for."""
    if reference is None:
        return None
    number = int(reference["path"])
    width, height = SHAPES[number]
    noise = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """Bytes as tokens, and the family's special ones; offsets are characters."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<pad>", "<s>", "</s>", *alphabet]
    backend = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = list(dict.fromkeys([*family.names.values(), *family.tokens]))
    special = ["<pad>", "<s>", "</s>", *special]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", padding_side="left",
        extra_special_tokens=family.names, chat_template=TEMPLATE.replace("IMAGE", family.image),
    )  # fmt: skip


def save(name: str, folder: Path) -> str:
    """Save a model of a family with its processor, as far as images go, and give its folder."""
    family = FAMILIES[name]
    tokens = tokenizer(family)
    text = SIZES | {"vocab_size": len(tokens)} | family.text
    outer = family.outer(tokens.convert_tokens_to_ids) | {"pad_token_id": 0}
    config = getattr(transformers, f"{name}Config")(vision_config=dict(family.vision), text_config=text, **outer)
    torch.manual_seed(1)
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval().requires_grad_(False)
    for parameter in model.parameters():  # the usual weights are too small for logits to depend on tokens
        if parameter.ndim > 1:
            parameter.mul_(4)
        elif name == "Mllama" and parameter.numel() == 1:
            parameter.fill_(0.7)  # gates of cross-attention begin at 0
    model.save_pretrained(folder)
    processor(name, tokens).save_pretrained(folder)
    return str(folder)


def processor(name: str, tokens: PreTrainedTokenizerFast) -> Any:
    """The processor of a family, without the half for videos."""
    family = FAMILIES[name]
    kind, settings = family.pixels
    parts = {"image_processor": getattr(transformers, kind)(**settings), "tokenizer": tokens}
    if name == "Gemma4":
        parts["feature_extractor"] = transformers.Gemma4AudioFeatureExtractor()
    if name == "SmolVLM":
        module = importlib.import_module("transformers.models.smolvlm.processing_smolvlm")
        module.num2words = module.num2words or str  # for videos alone
        parts["video_processor"] = transformers.SmolVLMVideoProcessor()  # its chat template reads settings of it
    stock = getattr(transformers, f"{family.name or name}Processor")
    make = stock
    if has_video_half(stock) and "video_processor" not in parts:
        make, parts["video_processor"] = image_only(stock), None
    return make(**parts, chat_template=tokens.chat_template, **family.processor)
