"""Processors of the families that see images, small enough for the towers of `shrinking`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import transformers
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES
from transformers.utils import is_torchvision_available

from culture_neurons.models import processors
from tests.families.words import NUMBER, tokenizer

_SIDE, _PATCH = 16, 4
_SQUARE = {"height": _SIDE, "width": _SIDE}


@dataclass(frozen=True)
class Eye:
    """What a family's processor needs beside the sizes that its image processor names.

    text     what the chat template writes for an image
    images   arguments of the image processor
    more     arguments of the processor
    outer    fields of the model's configuration that go with them
    classes  names of processor, image processor and video processor, where the registry has none
    sounds   name of the feature extractor of sounds, where the processor insists on one
    """

    text: str = "<image>"
    images: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    outer: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, str, str] = ("", "", "")
    sounds: str = ""


_QWEN = "<|vision_start|><image><|vision_end|>"
_CLIP = {"num_additional_image_tokens": 1}
_GRID = {"image_grid_pinpoints": [[_SIDE, 2 * _SIDE], [2 * _SIDE, _SIDE]]}
_GLM = "<|begin_of_image|><image><|end_of_image|>"
_FULL = {"vision_feature_select_strategy": "full"}
EYES: dict[str, Eye] = {
    "aya_vision": Eye(images={"crop_to_patches": True, "max_patches": 3},
                      more={"img_size": _SIDE, "downsample_factor": 2},
                      outer={"image_token_index": NUMBER["<|IMG_PATCH|>"]}),
    "cohere2_vision": Eye(images={"patch_size": 2, "max_patches": 3}),
    "chameleon": Eye(images={"size": {"shortest_edge": _SIDE}}, more={"image_seq_length": 64}),
    "cosmos3_edge": Eye(_QWEN),
    "cosmos3_omni": Eye(_QWEN, classes=("Qwen3VLProcessor", "Qwen2VLImageProcessor", "Qwen3VLVideoProcessor")),
    "deepseek_vl": Eye(more={"num_image_tokens": 16}),
    "deepseek_vl_hybrid": Eye(images={"high_res_size": _SQUARE}, more={"num_image_tokens": 16}),
    "emu3": Eye(images={"min_pixels": 256, "max_pixels": 1024}),
    "exaone4_5": Eye(_QWEN),
    "fuyu": Eye(outer={"image_token_id": NUMBER["|SPEAKER|"]}),
    "gemma3": Eye("<boi>", more={"image_seq_length": 4}, outer={"mm_tokens_per_image": 4}),
    "gemma4": Eye(images={"patch_size": _PATCH, "pooling_kernel_size": 2, "max_soft_tokens": 70},
                  sounds="Gemma4AudioFeatureExtractor"),
    "gemma4_unified": Eye(images={"patch_size": _PATCH, "pooling_kernel_size": 2, "max_soft_tokens": 70},
                          sounds="Gemma4UnifiedAudioFeatureExtractor"),
    "glm46v": Eye(_GLM), "glm4v": Eye(_GLM),
    "glm_ocr": Eye(_GLM, classes=("Glm46VProcessor", "Glm46VImageProcessor", "Glm46VVideoProcessor")),
    "glmga": Eye(_GLM, classes=("Glm46VProcessor", "", "")),
    "granite4_vision": Eye(more=_FULL | {"downsample_rate": "1/2"}, outer=_GRID | _FULL),
    "hunyuan_vl": Eye("<|image_start|><image><|image_end|>"),
    "idefics3": Eye(images={"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": _SIDE}},
                    more={"image_seq_len": 4}),
    "internvl": Eye("<IMG_CONTEXT>", images={"crop_to_patches": True, "max_patches": 3},
                    more={"image_seq_length": 4}, outer={"image_token_id": NUMBER["<IMG_CONTEXT>"]}),
    "janus": Eye(more={"num_image_tokens": 16}),
    "lfm2_vl": Eye(images={"tile_size": _SIDE, "min_image_tokens": 2, "max_image_tokens": 4, "max_tiles": 2}),
    "llava": Eye(more=_CLIP),
    "llava_next": Eye(more=_CLIP, outer=_GRID),
    "llava_next_video": Eye(more=_CLIP, outer=_GRID),
    "llava_onevision": Eye(more=_FULL | {"num_image_tokens": 16}, outer=_FULL | _GRID),
    # Sums over the 800 tokens of a larger picture would differ by what float32 rounds away of each.
    "minicpmv4_6": Eye(images={"scale_resolution": 64}),
    "mistral3": Eye("[IMG]", more={"spatial_merge_size": 2}, outer={"image_token_index": NUMBER["[IMG]"]}),
    "muse_glimmer": Eye("<|patch|>", outer={"image_token_id": NUMBER["<|patch|>"]}),
    "ovis2": Eye(more={"image_seq_length": 16}, outer={"image_token_id": NUMBER["<IMG_ATOM>"]}),
    "paligemma": Eye(images={"image_seq_length": 16}),
    "phi4_multimodal": Eye(images={"size": {"height": 128, "width": 128}, "dynamic_hd": 2},
                           sounds="Phi4MultimodalFeatureExtractor"),
    "qianfan_ocr": Eye("<image>", images={"crop_to_patches": True, "max_patches": 3},
                       more={"image_seq_length": 4}, outer={"image_token_id": NUMBER["<IMG_CONTEXT>"]}),
    "qwen2_5_omni_thinker": Eye("<|vision_bos|><image><|vision_eos|>", sounds="WhisperFeatureExtractor", classes=(
        "Qwen2_5OmniProcessor", "Qwen2VLImageProcessor", "Qwen2VLVideoProcessor")),
    "qwen2_5_vl": Eye(_QWEN), "qwen2_vl": Eye(_QWEN), "qwen3_5": Eye(_QWEN), "qwen3_vl": Eye(_QWEN),
    "qwen3_vl_moe": Eye(_QWEN, classes=("Qwen3VLProcessor", "Qwen2VLImageProcessor", "Qwen3VLVideoProcessor")),
    "shieldgemma2": Eye("<boi>", more={"image_seq_length": 4}, outer={"mm_tokens_per_image": 4},
                        classes=("ShieldGemma2Processor", "Gemma3ImageProcessor", "")),
    "smolvlm": Eye(images={"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": _SIDE}},
                   more={"image_seq_len": 4}),
    "video_llava": Eye(images={"size": {"shortest_edge": _SIDE}, "crop_size": _SQUARE}),
    "vipllava": Eye(more=_CLIP, outer={"vision_feature_layers": [-1, -2]}),
}  # fmt: skip


def _eye(model_type: str) -> Eye:
    return EYES.get(model_type, Eye())


def outer(model_type: str) -> dict[str, Any]:
    """Fields of the model's configuration that fit its processor."""
    return _eye(model_type).outer


def processor(model_type: str) -> Any:
    """The family's own processor with a tokenizer of words. Raises LookupError where it has none."""
    eye = _eye(model_type)
    name = eye.classes[0] or PROCESSOR_MAPPING_NAMES.get(model_type)
    images = image_processor(model_type)
    if not name or images is None:
        raise LookupError(f"{model_type}: transformers has no processor for it")
    made = getattr(transformers, name)
    words = tokenizer(eye.text)
    wanted = inspect.signature(made.__init__).parameters
    parts = {"image_processor": images, "tokenizer": words, "chat_template": words.chat_template}
    if processors.has_video_half(made) and not is_torchvision_available():
        made = processors.image_only(made)
    elif "video_processor" in wanted and (video := _video_class(model_type)):
        parts["video_processor"] = getattr(transformers, video)()
    if "qformer_tokenizer" in wanted:
        parts["qformer_tokenizer"] = tokenizer(eye.text)
    for part in {"feature_extractor", "audio_processor"} & set(wanted):
        parts[part] = getattr(transformers, eye.sounds)() if eye.sounds else None
    defaults = {"patch_size": _PATCH, "vision_feature_select_strategy": "default"}
    given = {key: value for key, value in (parts | defaults | eye.more).items() if key in wanted or key in eye.more}
    result = made(**given)
    result.chat_template = words.chat_template
    return result


def _video_class(model_type: str) -> str:
    return _eye(model_type).classes[2] or VIDEO_PROCESSOR_MAPPING_NAMES.get(model_type) or ""


def image_processor(model_type: str) -> Any:
    """The family's image processor for pictures of some 16 x 16 pixels; None where it has none."""
    eye = _eye(model_type)
    by_backend = IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type, {})
    backends = ("torchvision", "pil") if is_torchvision_available() else ("pil", "torchvision")
    name = eye.classes[1] or next((by_backend[b] for b in backends if by_backend.get(b)), None)
    if name is None:
        return None
    made = getattr(transformers, name)
    sizes: dict[str, Any] = {}
    for key in ("size", "crop_size"):
        before = getattr(made, key, None)
        if isinstance(before, dict):
            sizes[key] = {side: _edge(side, before[side]) for side in before}
    for key in ("patch_size", "encoder_patch_size"):
        if isinstance(getattr(made, key, None), int):
            sizes[key] = _PATCH
        elif isinstance(getattr(made, key, None), dict):
            sizes[key] = {"height": _PATCH, "width": _PATCH}
    if getattr(made, "image_grid_pinpoints", None):
        sizes["image_grid_pinpoints"] = [[_SIDE, 2 * _SIDE], [2 * _SIDE, _SIDE]]
    return made(**sizes | eye.images)


def _edge(side: str, before: int) -> int:
    """A side of 16 pixels; numbers of pixels, as Qwen bounds them, of 8 x 8 to 16 x 16."""
    if before > 3000:
        return 64 if side == "shortest_edge" else _SIDE * _SIDE
    return _SIDE
