"""What a decoder layer holds beside its gated MLP: experts, further MLPs, other branches.

A layer of a mixture of experts may hold a dense MLP as well (Gemma 4), or experts in some layers only (DeepSeek): what
is recorded and masked would then be a part of what the layer computes, and the results would look as any others do.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

#: Parts of the names of modules that hold experts.
_EXPERTS = {"expert", "experts", "moe"}
#: Parts of the names of modules that mix tokens, which is no MLP's work.
_MIXERS = {"attn", "attention", "mixer", "mamba", "conv", "ssm"}


def named_experts(layer: nn.Module) -> str:
    """The first module with a matrix among a layer's that is called expert, experts, moe or router; "" without any."""
    for name, module in layer.named_modules():
        called = set(_words(name)) & _EXPERTS or _words(name)[0] == "router"
        if called and _matrices(module):
            return f"{name} ({type(module).__name__})"
    return ""


def experts(layer: nn.Module) -> str:
    """The first sign of a mixture of experts among a layer's modules, as words; "" where there is none.

    Signs: a name (`named_experts`), a weight with three axes (expert, out, in) that is no convolution's, and a list of
    modules that have several weight matrices each.
    """
    if sign := named_experts(layer):
        return sign
    for name, module in layer.named_modules():
        if isinstance(module, nn.ModuleList | nn.ModuleDict) and len(module) > 1:
            members = list(module.values()) if isinstance(module, nn.ModuleDict) else list(module)
            if all(_matrices(member) > 1 for member in members):
                return f"{name or 'the layer'}, a list of {len(members)} {type(members[0]).__name__}"
        if isinstance(module, nn.modules.conv._ConvNd):
            continue
        for weight, value in module.named_parameters(recurse=False):
            if value.ndim == 3 and min(value.shape) > 1:
                where = f"{name}.{weight}" if name else weight
                return f"{where}, of shape {' x '.join(map(str, value.shape))}"
    return ""


def further_mlp(layer: nn.Module, mlp: nn.Module, is_gated: Callable[[nn.Module], bool]) -> str:
    """The name of a gated MLP of a layer beside `mlp`, "" where there is none."""
    own = set(map(id, mlp.modules()))
    return next((name for name, m in layer.named_modules() if id(m) not in own and is_gated(m)), "")


def unknown_matrices(layer: nn.Module, mlp: nn.Module) -> list[str]:
    """Children of a layer with weight matrices that are neither `mlp` nor mix tokens, such as Gemma 3n's laurel."""
    return [
        name
        for name, child in layer.named_children()
        if child is not mlp and _matrices(child) and not set(_words(name)) & _MIXERS
    ]


def _words(name: str) -> list[str]:
    return name.rpartition(".")[2].lower().split("_")


def _matrices(module: nn.Module) -> int:
    return sum(value.ndim > 1 for value in module.parameters())
