"""Untrained models of many families, three layers each, made from their configurations, and a padded batch for each."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import torch
import transformers

from culture_neurons.models.adapters import adapt
from culture_neurons.models.inputs import Batch, Question
from culture_neurons.models.loading import Loaded
from culture_neurons.types import Sample
from tests.models import mlp_families

LAYERS, NEURONS, WORDS, IMAGE = 3, 24, 60, 50
SIZES = {"hidden_size": 32, "intermediate_size": NEURONS, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 8, "vocab_size": WORDS, "pad_token_id": 0, "bos_token_id": 1,
         "eos_token_id": 2}  # fmt: skip
WINDOW = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
PARTIAL = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}
FULL_LAST = {"sliding_window": 4, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
             "hidden_size_per_layer_input": 0, "global_head_dim": 8}  # fmt: skip
#: Language models, and what their configurations need beside `SIZES`.
TEXT: dict[str, dict[str, Any]] = {
    "Llama": {}, "Mistral": {"sliding_window": 4}, "Ministral": WINDOW, "Qwen2": {}, "Qwen3": {}, "Gemma": {},
    "Gemma2": WINDOW | {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0},
    "Gemma3Text": WINDOW, "Gemma4Text": FULL_LAST | {"num_kv_shared_layers": 0},
    "Olmo": {}, "Olmo2": {}, "Olmo3": WINDOW, "Cohere": {}, "Cohere2": WINDOW, "Granite": {"logits_scaling": 2.0},
    "SmolLM3": {"no_rope_layers": [1, 0, 1]}, "Exaone4": WINDOW, "Glm": PARTIAL, "Glm4": PARTIAL, "Phi3": {},
    "SeedOss": {}, "Ernie4_5": {}, "HunYuanDenseV1": {}, "Helium": {},
}  # fmt: skip
#: Some of their layers read keys and values of others.
SHARING = {
    "Gemma4Text": FULL_LAST | {"num_hidden_layers": 4, "num_kv_shared_layers": 1,
                               "layer_types": ["sliding_attention", "full_attention"] * 2},
    "Gemma3nText": FULL_LAST | {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "laurel_rank": 4,
                                "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": WORDS,
                                "intermediate_size": [NEURONS] * 4, "activation_sparsity_pattern": [0.0] * 4,
                                "layer_types": ["sliding_attention", "full_attention"] * 2},
}  # fmt: skip


@dataclass(frozen=True)
class Eye:
    """How a vision-language family is made, and what it reads images from.

    vision  configuration of the tower
    pixels  number of images -> inputs of their pixels
    outer   what the configuration needs beside text and vision
    text    type of the language model, where the family does not fix it
    more    what its configuration needs beside `SIZES`
    """

    vision: dict[str, Any]
    pixels: Callable[[int], dict[str, torch.Tensor]]
    outer: dict[str, Any]
    text: str = ""
    more: dict[str, Any] = field(default_factory=dict)


def _pictures(n: int, size: int) -> torch.Tensor:
    """[n, 3, size, size]; the third shows what the first does."""
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))[[0, 1, 0][:n]]


def _plain(size: int, **more: list[int]) -> Callable[[int], dict[str, torch.Tensor]]:
    return lambda n: {"pixel_values": _pictures(n, size)} | {key: torch.tensor([v] * n) for key, v in more.items()}


def _tiles(n: int) -> dict[str, torch.Tensor]:
    """Two tiles of 8 x 8 pixels for each image of 8 x 8: the whole, and its one part."""
    return {"pixel_values": _pictures(n, 8)[:, None].repeat(1, 2, 1, 1, 1), "image_sizes": torch.tensor([[8, 8]] * n)}


def _patches(n: int) -> dict[str, torch.Tensor]:
    """16 patches of each image, four of which make a token."""
    flat = torch.rand(3, 16, 3 * 2 * 4 * 4, generator=torch.Generator().manual_seed(0))[[0, 1, 0][:n]]
    return {"pixel_values": flat.flatten(0, 1), "image_grid_thw": torch.tensor([[1, 4, 4]] * n)}


def _one_each(n: int) -> dict[str, torch.Tensor]:
    return {"pixel_values": _pictures(n, 8)[:, None]}


_TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
_SMALL = _TOWER | {"image_size": 8, "patch_size": 4}
_QWEN = {"patch_size": 4, "temporal_patch_size": 2, "spatial_merge_size": 2}
_MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}}
_QWEN_IDS = {"image_token_id": IMAGE, "video_token_id": 51, "vision_start_token_id": 52, "vision_end_token_id": 53}
EYES = {
    "Qwen2VL": Eye({"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2} | _QWEN, _patches,
                   _QWEN_IDS, more=_MROPE),
    "Qwen2_5_VL": Eye({"depth": 2, "hidden_size": 16, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 24,
                       "fullatt_block_indexes": [1], "window_size": 8} | _QWEN, _patches, _QWEN_IDS, more=_MROPE),
    "Qwen3VL": Eye({"depth": 2, "hidden_size": 16, "out_hidden_size": 32, "num_heads": 2, "intermediate_size": 24,
                    "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 16} | _QWEN, _patches, _QWEN_IDS,
                   more=_MROPE),
    "Llava": Eye({"model_type": "clip_vision_model"} | _SMALL, _plain(8), {"image_token_index": IMAGE}, "llama"),
    "LlavaNext": Eye({"model_type": "clip_vision_model"} | _SMALL, _tiles,
                     {"image_token_index": IMAGE, "image_grid_pinpoints": [[8, 8]]}, "mistral"),
    "LlavaOnevision": Eye({"model_type": "siglip_vision_model"} | _SMALL, _tiles,
                          {"image_token_index": IMAGE, "image_grid_pinpoints": [[8, 8]],
                           "vision_feature_select_strategy": "full"}, "qwen2"),
    "Mistral3": Eye({"model_type": "pixtral", "head_dim": 8} | _SMALL, _plain(8, image_sizes=[8, 8]),
                    {"image_token_index": IMAGE}, "mistral"),
    "PaliGemma": Eye({"model_type": "siglip_vision_model", "projection_dim": 32} | _SMALL, _plain(8),
                     {"image_token_index": IMAGE, "projection_dim": 32}, "gemma"),
    "Gemma3": Eye({"model_type": "siglip_vision_model"} | _SMALL, _plain(8),
                  {"image_token_index": IMAGE, "mm_tokens_per_image": 1}, "gemma3_text", WINDOW),
    "SmolVLM": Eye(_SMALL, _one_each, {"image_token_id": IMAGE, "scale_factor": 2}, "llama"),
    "Idefics3": Eye(_SMALL, _one_each, {"image_token_id": IMAGE, "scale_factor": 2}, "llama"),
    "InternVL": Eye(_TOWER | {"image_size": [8, 8], "patch_size": [4, 4]}, _plain(8),
                    {"image_token_id": IMAGE, "downsample_ratio": 0.5, "vision_feature_layer": -1}, "qwen2"),
}  # fmt: skip


def load(name: str, **more: Any) -> Loaded:
    """A model of `TEXT`, `EYES` or `mlp_families` in float32; `more` for the configuration of a language model."""
    if family := mlp_families.ALL.get(name):
        name_of_class = name.partition(" ")[0]
        config = getattr(transformers, f"{name_of_class}Config")(**mlp_families.WORDS | family.options | more)
        with warnings.catch_warnings():  # the module of GPTBigCode uses what torch has replaced
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
            model_class = getattr(transformers, family.model_class or f"{name_of_class}ForCausalLM")
        model = _scaled(model_class, config)
    elif name not in EYES:
        config = getattr(transformers, f"{name}Config")(**SIZES | TEXT.get(name, {}) | more)
        model = _scaled(getattr(transformers, f"{name.removesuffix('Text')}ForCausalLM"), config)
    else:
        eye = EYES[name]
        text = SIZES | eye.more | ({"model_type": eye.text} if eye.text else {})
        config = getattr(transformers, f"{name}Config")(vision_config=dict(eye.vision), text_config=text, **eye.outer)
        model = _scaled(getattr(transformers, f"{name}ForConditionalGeneration"), config)
    letters = {letter: i for i, letter in enumerate("ABCD", 10)}
    names = {i: letter for letter, i in letters.items()}
    tokenizer = SimpleNamespace(convert_tokens_to_ids=letters.get, convert_ids_to_tokens=names.get)
    return Loaded(name, model, SimpleNamespace(tokenizer=tokenizer), adapt(model), "none", "float32")


def in_dtype(loaded: Loaded, dtype: torch.dtype) -> Loaded:
    """The same model, from now on in another dtype."""
    return replace(loaded, model=loaded.model.to(dtype), dtype=str(dtype).removeprefix("torch."))


def batch(loaded: Loaded, images: bool, n: int = 3) -> Batch:
    """Questions of different lengths, padded on the left; with `images` one about each, the third about the first's."""
    inputs: dict[str, torch.Tensor] = {}
    tokens = 0
    if images:
        inputs = EYES[loaded.name].pixels(n)
        compute = loaded.model.model.get_image_features
        known = inspect.signature(compute).parameters
        with torch.no_grad():
            features = compute(**{key: value for key, value in inputs.items() if key in known}).pooler_output
        tokens = features[0].shape[0]
    words = torch.randint(20, 49, (n, 9), generator=torch.Generator().manual_seed(0))
    ids = torch.cat([words[:, :3], torch.full((n, tokens), IMAGE), words[:, 3:]], dim=1)
    for i in range(n):
        ids[i, : i % 3] = 0
    inputs |= {"input_ids": ids, "attention_mask": (ids > 0).long()}
    for name in ("mm_token_type_ids", "token_type_ids"):
        if images and name in inspect.signature(loaded.model.forward).parameters:
            inputs[name] = (ids == IMAGE).long()
    image = {"path": "x"} if images else None
    samples = [Sample(str(i), f"c{i % 2}", "k", "?", ("a",) * 4, 0, "evaluate", image, "x") for i in range(n)]
    questions = [Question(sample, (0, 1, 2, 3), "", "") for sample in samples]
    return Batch(questions, inputs, None, (0, 1, 0)[:n] if images else ())


def _scaled(make: Callable[[Any], torch.nn.Module], config: Any) -> torch.nn.Module:
    """An untrained model whose logits depend on its tokens: the usual weights are too small for that."""
    torch.manual_seed(1)
    model = make(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(4 if parameter.ndim > 1 else 1)
    return model
