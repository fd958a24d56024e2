"""What a decoder layer holds beside its MLP: experts, and other branches.

A layer of a mixture of experts may hold a dense MLP as well (Gemma 4), or experts in some layers only (DeepSeek). What
they are, and whether they can be analysed: `models.experts`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

#: Parts of the names of modules that hold experts.
_EXPERTS = {"expert", "experts", "moe"}
#: Parts of the names of modules that mix tokens, which is no MLP's work.
_MIXERS = {"attn", "att", "attention", "mixer", "mamba", "conv", "ssm", "temporal", "lru"}


def named_experts(layer: nn.Module) -> str:
    """The first module with a matrix among a layer's that is called expert, experts, moe or router; "" without any."""
    for name, module in layer.named_modules():
        called = set(_words(name)) & _EXPERTS or _words(name)[0] == "router"
        if called and matrices(module):
            return f"{name} ({type(module).__name__})"
    return ""


def experts(layer: nn.Module) -> str:
    """The first sign of a mixture of experts among a layer's modules, as words; "" where there is none.

    Signs: a name (`named_experts`), a weight with three axes (expert, out, in) that is no convolution's and not of what
    mixes tokens (RecurrentGemma's by head), and a list of modules of one type that have
    several weight matrices each.
    """
    if sign := named_experts(layer):
        return sign
    for name, module in layer.named_modules():
        if isinstance(module, nn.ModuleList | nn.ModuleDict) and len(module) > 1:
            members = list(module.values()) if isinstance(module, nn.ModuleDict) else list(module)
            alike = len({type(member) for member in members}) == 1  # T5 lists attention and MLP
            if alike and all(matrices(member) > 1 for member in members) and "adapter" not in name:  # Zamba 2's
                return f"{name or 'the layer'}, a list of {len(members)} {type(members[0]).__name__}"
        if sign := _weight_with_three_axes(name, module):
            return sign
    return ""


def bank(layer: nn.Module, known: nn.Module) -> str:
    """The first weight with three axes outside of the module `known`, as in `experts`; "" where there is none."""
    inside = set(known.modules())
    outside = ((name, module) for name, module in layer.named_modules() if module not in inside)
    return next(filter(None, (_weight_with_three_axes(name, module) for name, module in outside)), "")


def _weight_with_three_axes(name: str, module: nn.Module) -> str:
    if isinstance(module, nn.modules.conv._ConvNd) or mixes_tokens(name):
        return ""
    for weight, value in module.named_parameters(recurse=False):
        if value.ndim == 3 and min(value.shape) > 1:
            where = f"{name}.{weight}" if name else weight
            return f"{where}, of shape {' x '.join(map(str, value.shape))}"
    return ""


def unknown_matrices(layer: nn.Module, of_mlp: Sequence[nn.Module]) -> list[str]:
    """Children of a layer with weight matrices that neither mix tokens nor are the MLP's, such as Gemma 3n's laurel.

    of_mlp  the projections of its MLP; empty for a layer without one
    """
    return [
        name
        for name, child in layer.named_children()
        if matrices(child) and not _mixes(name, _MIXERS) and not any(part in of_mlp for part in child.modules())
    ]


def mixes_tokens(path: str) -> bool:
    """Whether a path names what mixes tokens (all blocks of Nemotron-H are called mixer, so that word says nothing)."""
    return any(_mixes(name, _MIXERS - {"mixer"}) for name in path.split("."))


def _mixes(name: str, mixers: set[str]) -> bool:
    return any(word in mixers or word.endswith(("attention", "attn")) for word in _words(name))


def _words(name: str) -> list[str]:
    return name.rpartition(".")[2].lower().split("_")


def matrices(module: nn.Module) -> int:
    """How many weights of a module have two axes or more, and any number in them."""
    return sum(value.ndim > 1 and value.numel() > 0 for value in module.parameters())
