"""All families of the installed transformers that have a causal or an image-text head, by its own registries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

#: Listed among language models alone, though they read images (`loading`).
_SEES = ("phi4_multimodal",)


@dataclass(frozen=True)
class Family:
    """One model type, and the model that loading makes of it.

    sees  whether it has an image-text head, which loading prefers to a causal one
    """

    model_type: str
    sees: bool

    @property
    def config(self) -> type:
        return CONFIG_MAPPING[self.model_type]

    @property
    def model(self) -> Any:
        """The class of models; the first, where there are several."""
        named = self.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        made = (MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING if named else MODEL_FOR_CAUSAL_LM_MAPPING)[self.config]
        return made[0] if isinstance(made, tuple) else made


def families() -> dict[str, Family]:
    """Model type -> family, in the order of the alphabet."""
    seeing = {*MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, *_SEES}
    names = sorted(seeing | set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
    return {name: Family(name, name in seeing) for name in names}
