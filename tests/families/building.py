"""A tiny random model of any family of transformers, saved to a folder with its tokenizer or processor.

    from tests.families import building
    building.save("qwen3_vl", folder)             # then: loading.load({"name": ..., "path": folder})
    model = building.model("falcon_h1")           # without a folder

What a family needs beyond the generic sizes stands in `overrides` and `seeing`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from culture_neurons.models import processors
from tests.families import seeing
from tests.families.registry import families
from tests.families.shrinking import shrunk
from tests.families.words import tokenizer

#: Nobody waits for more parameters than these.
_LIMIT = 30_000_000


def model(model_type: str, **more: Any) -> Any:
    """A model of the family with seeded weights, float32, in eval mode; `more` for its configuration."""
    family = families()[model_type]
    config = shrunk(family.config, **seeing.outer(model_type) | more)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in family.model(config).parameters())
    if size > _LIMIT:
        raise ValueError(f"{model_type}: {size} parameters are no tiny model; see tests/families/overrides.py")
    torch.manual_seed(1)
    result = family.model(config).float().eval().requires_grad_(False)
    _enlarge(result)
    return result


def processor(model_type: str) -> Any:
    """The tokenizer of a language model, or the processor of a family that sees images."""
    if families()[model_type].sees:
        return seeing.processor(model_type)
    return tokenizer("")


def save(model_type: str, folder: Path, **more: Any) -> Any:
    """Write a folder that `loading.load` reads; the model that it holds is returned."""
    result = model(model_type, **more)
    result.save_pretrained(folder)
    processor(model_type).save_pretrained(folder)
    return result


def has_encoder(model_type: str) -> bool:
    """Whether what loading makes of the family has an encoder beside its decoder; its models are not built. A causal
    head leaves the encoder of such a family out."""
    family = families()[model_type]
    if family.config.has_no_defaults_at_init:
        return True
    return family.sees and bool(shrunk(family.config).is_encoder_decoder)


def accepts(model: nn.Module, name: str) -> bool:
    """Whether the model's forward takes an argument of this name."""
    return name in inspect.signature(model.forward).parameters


def keeps_template(folder: Path) -> bool:
    """Whether the processor of a saved family has its chat template when it is read from its folder."""
    return bool(processors.load_processor(str(folder)).chat_template)


@torch.no_grad()
def _enlarge(model: nn.Module) -> None:
    """Matrices four times as large: the usual ones are so small that nothing depends on the tokens. Gates that begin
    closed (of Mllama's cross-attention) are opened."""
    kinds = nn.Linear, nn.Embedding, Conv1D
    matrices = {module.weight for module in model.modules() if isinstance(module, kinds)}
    matrices |= {p for module in model.modules() if "Experts" in type(module).__name__
                 for p in module.parameters(recurse=False) if p.ndim == 3}  # fmt: skip
    for weight in matrices:
        weight.mul_(4)
    for parameter in model.parameters():
        if parameter.numel() == 1:
            parameter.copy_(torch.where(parameter == 0, 1, parameter))
