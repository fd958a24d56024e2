"""Processors of vision-language models, with and without torchvision.

Qwen2.5-VL's stock processor insists on a video processor, and that one needs
torchvision. Where it is missing, or where a folder was saved without a video
processor, a subclass without the video half takes its place; for images it gives the
same inputs. LLaVA-NeXT's processor works either way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor, Qwen2_5_VLProcessor
from transformers.utils import is_torchvision_available

#: Values of `model_type` whose processor has a video half.
_QWEN = ("qwen2_5_vl", "qwen2_vl")
#: Arguments of `from_pretrained` that say where the files are; only these concern the config too.
_WHERE = ("revision", "trust_remote_code", "local_files_only", "cache_dir", "token", "subfolder")


class ImageOnlyQwenProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor for text and images, without a video processor."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **_: Any) -> None:
        self.image_token = "<|image_pad|>"
        self.video_token = "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        # The stock __init__ passes a video processor on; its parent takes the parts that this signature names.
        super(Qwen2_5_VLProcessor, self).__init__(image_processor, tokenizer, chat_template=chat_template)


# Saved folders name the stock class, so that they don't depend on this package.
ImageOnlyQwenProcessor.__name__ = Qwen2_5_VLProcessor.__name__


def qwen_processor(image_processor: Any, tokenizer: Any, chat_template: str) -> Qwen2_5_VLProcessor:
    """Qwen2.5-VL's processor from its parts: the stock one where torchvision is installed."""
    if not is_torchvision_available():
        return ImageOnlyQwenProcessor(image_processor, tokenizer, chat_template=chat_template)
    from transformers import Qwen2VLVideoProcessor

    video = Qwen2VLVideoProcessor(patch_size=image_processor.patch_size, merge_size=image_processor.merge_size)
    return Qwen2_5_VLProcessor(image_processor, tokenizer, video, chat_template=chat_template)


def load_processor(path: str | Path, **kwargs: Any) -> Any:
    """The processor of a Hugging Face folder or hub name.

    kwargs go to `from_pretrained` (revision, trust_remote_code, max_pixels, ...). For Qwen2.5-VL and
    Qwen2-VL it is the stock processor where torchvision is installed and the folder has the
    settings of a video processor, and the image-only one otherwise; any other model gets what
    AutoProcessor finds, which for a text-only model is its tokenizer.

    Raises OSError or ValueError as `from_pretrained` does.
    """
    config = AutoConfig.from_pretrained(path, **{key: kwargs[key] for key in _WHERE if key in kwargs})
    if config.model_type in _QWEN and not (is_torchvision_available() and _has_video(path)):
        return ImageOnlyQwenProcessor.from_pretrained(path, **kwargs)
    return AutoProcessor.from_pretrained(path, **kwargs)


def _has_video(path: str | Path) -> bool:
    """Whether a folder has the settings of a video processor; hub names are taken to have them."""
    settings = Path(path) / "processor_config.json"
    if not settings.is_file():
        return True  # A hub name, or the older layout in which one file serves images and videos.
    beside = Path(path) / "video_preprocessor_config.json"
    return beside.is_file() or "video_processor" in json.loads(settings.read_text(encoding="utf-8"))
