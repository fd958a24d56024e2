"""Processors of vision-language models, with and without torchvision.

Many stock processors insist on a video processor, and that one needs torchvision. Where it is missing, or where a
folder was saved without a video processor, a subclass without the video half takes its place; for images it gives the
same inputs. Other processors work either way, but for a few whose images need torchvision too.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor, ProcessorMixin, Qwen2_5_VLProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import is_torchvision_available

from culture_neurons.errors import ConfigError, nearest

#: Arguments of `from_pretrained` that say where the files are; only these concern the config too.
_WHERE = ("revision", "trust_remote_code", "local_files_only", "cache_dir", "token", "subfolder")
_VIDEO = "video_processor"
#: Arguments of a call, which image processors name beside their settings.
_NO_OPTIONS = {"return_tensors", "data_format", "input_data_format", "device", "disable_grouping"}


class _WithoutVideo(ProcessorMixin):
    """Stands between a stock processor and its base class, and keeps the video half from it."""

    video_processor = None

    def __init__(self, *args: Any, video_processor: None = None, **kwargs: Any) -> None:
        super().__init__(*(part for part in args if part is not None), **kwargs)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return [name for name in super().get_attributes() if name != _VIDEO]

    @classmethod
    def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
        """The parts by position, as the stock __init__ takes them."""
        parts = super()._get_arguments_from_pretrained(*args, **kwargs)
        parts.insert(super().get_attributes().index(_VIDEO), None)
        return parts


@cache
def image_only(stock: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """The same processor without its video half. Folders that it saves name the stock class."""
    return type(stock.__name__, (stock, _WithoutVideo), {"__doc__": stock.__doc__, "__module__": stock.__module__})


def qwen_processor(image_processor: Any, tokenizer: Any, chat_template: str) -> Qwen2_5_VLProcessor:
    """Qwen2.5-VL's processor from its parts: the stock one where torchvision is installed."""
    if not is_torchvision_available():
        return image_only(Qwen2_5_VLProcessor)(image_processor, tokenizer, chat_template=chat_template)
    from transformers import Qwen2VLVideoProcessor

    video = Qwen2VLVideoProcessor(patch_size=image_processor.patch_size, merge_size=image_processor.merge_size)
    return Qwen2_5_VLProcessor(image_processor, tokenizer, video, chat_template=chat_template)


def load_processor(path: str | Path, **kwargs: Any) -> Any:
    """The processor of a Hugging Face folder or hub name.

    kwargs go to `from_pretrained` (revision, trust_remote_code, max_pixels, ...). A processor with a video half is the
    stock one where torchvision is installed and the folder has the settings of a video processor, and `image_only`
    otherwise; any other model gets what AutoProcessor finds, which for a text-only model is its tokenizer.

    Raises OSError, ValueError or ImportError as `from_pretrained` does.
    """
    config = AutoConfig.from_pretrained(path, **{key: kwargs[key] for key in _WHERE if key in kwargs})
    stock = PROCESSOR_MAPPING.get(type(config), None)
    if has_video_half(stock) and not (is_torchvision_available() and _has_video(path)):
        return image_only(stock).from_pretrained(path, **kwargs)
    return AutoProcessor.from_pretrained(path, **kwargs)


def check_options(name: str, processor: Any, options: Mapping[str, Any]) -> None:
    """Raise ConfigError for an option of a model's stanza that its processor and its image processor ignore."""
    takes = _options(processor) if isinstance(processor, ProcessorMixin) else set()
    for key in options:
        if key not in takes:
            expected = f"one of {', '.join(sorted(takes))}" if takes else "none: it is a language model"
            raise ConfigError(
                f"model {name!r}: processor: {key!r} is no option of its processor{nearest(key, takes)}; "
                f"expected {expected}"
            )


def _options(processor: Any) -> set[str]:
    """What a processor takes when it is loaded, and heeds."""
    parts = {*processor.get_attributes(), _VIDEO, "self", "kwargs", "chat_template", "audio_tokenizer"}
    own = set(inspect.signature(type(processor).__init__).parameters) - parts
    images = getattr(processor, "image_processor", None)
    named = getattr(getattr(images, "valid_kwargs", None), "__annotations__", None)
    of_images = set(vars(images) if named is None else named) - _NO_OPTIONS
    # With these a processor calls its image processor, whatever that one was loaded with.
    overruled = getattr(processor.valid_processor_kwargs, "_defaults", {}).get("images_kwargs", {})
    return own | (of_images - set(overruled))


def has_video_half(stock: Any) -> bool:
    """Whether a class is that of a processor with a video processor."""
    return isinstance(stock, type) and issubclass(stock, ProcessorMixin) and _VIDEO in stock.get_attributes()


def _has_video(path: str | Path) -> bool:
    """Whether a folder has the settings of a video processor; hub names are taken to have them."""
    settings = Path(path) / "processor_config.json"
    if not settings.is_file():
        return True  # A hub name, or the older layout in which one file serves images and videos.
    beside = Path(path) / "video_preprocessor_config.json"
    return beside.is_file() or "video_processor" in json.loads(settings.read_text(encoding="utf-8"))
