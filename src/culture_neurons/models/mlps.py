"""The MLP of a decoder layer: found by its shape, and told from what is none by the numbers that it computes.

An MLP takes the residual stream (width h) to m neurons and back. A neuron is what enters the projection back:

    gated    down(act(gate x) * up x)   two projections from h to m, or one from h to 2 m that holds both
    plain    down(act(fc x))            one projection from h to m

Names play no part: any module is looked at that holds two or three such projections, whatever it is called and however
deep it lies in the layer; and the layer itself, where its projections are its own (OPT, XGLM). An activation is a
module beside them that works on each number apart. Where there is none, the MLP's code calls a function; which one is
seen when the MLP runs. Here is what may be an MLP; whether it is one, its numbers say (`models.mlp_numbers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

Function = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Layout:
    """What the parts of an MLP are called, as paths from its module.

    gate        the projection that the activation reads: gate of a gated MLP, fc of a plain one
    up          "" where `gate` holds both projections, and in a plain MLP
    down        the projection back to the residual stream
    activation  "" where a function is called in its place
    plain       whether it is not gated
    """

    gate: str
    up: str
    down: str
    activation: str = ""
    plain: bool = False

    def __str__(self) -> str:
        act, x = self.activation or "function", self.gate
        if self.plain:
            return f"{self.down}({act}({x} x))"
        return f"{self.down}({act}({x} x) * {self.up} x)" if self.up else f"{self.down}(halves of {x} x, {act} of one)"


#: Gate, up and down of gated MLPs whose weights are not there to be run (on the device "meta").
GATED_NAMES = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"), ("proj_up_gate", "proj_up", "proj_down"))


@dataclass(frozen=True)
class Mlp:
    """The MLP of one layer.

    name      its path from the layer; "" where the layer itself holds the parts
    up_first  whether the first half of a fused projection is up; None without one, or where nothing could be run
    function  of a gated MLP without an activation module: from what `gate` (its half) puts out to g
    """

    name: str
    module: nn.Module
    layout: Layout
    up_first: bool | None = None
    function: Function | None = None

    def part(self, name: str) -> nn.Module:
        return self.module.get_submodule(getattr(self.layout, name))

    @property
    def width(self) -> int:
        return sizes(self.part("down"))[0]


def sizes(projection: nn.Module) -> tuple[int, int]:
    """The widths of what a projection reads and puts out; `Conv1D` of GPT-2 holds its weight transposed."""
    if isinstance(projection, Conv1D):
        return projection.nx, projection.nf
    out, into = projection.weight.shape if projection.weight.ndim == 2 else (0, 0)
    return int(getattr(projection, "in_features", into)), int(getattr(projection, "out_features", out))


def is_projection(module: nn.Module) -> bool:
    """Whether a module multiplies by a matrix: its own weight has two axes, or it says its widths (quantised ones)."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor) or isinstance(module, nn.Embedding):
        return False
    return weight.ndim == 2 or hasattr(module, "in_features")


@dataclass(frozen=True)
class Candidate:
    """A module with projections that fit together; `activations` are those modules beside them that may be one."""

    name: str
    module: nn.Module
    layouts: Sequence[Layout]
    activations: Sequence[str]


def candidates(layer: nn.Module) -> Iterator[Candidate]:
    """The modules of a layer that may be its MLP, inner ones first, the layer itself last."""
    named = sorted(layer.named_modules(), key=lambda item: (item[0] == "", -item[0].count(".")))
    for name, module in named:
        parts = _parts(module, own_only=not name)
        if parts is None:
            continue
        projections, others = parts
        if layouts := list(_layouts(module, projections)):
            activations = [path for path in others if is_elementwise(module.get_submodule(path))]
            yield Candidate(name, module, layouts, activations)


def _parts(module: nn.Module, own_only: bool) -> tuple[list[str], list[str]] | None:
    """Paths of the two or three projections of a module, and of what beside them may be an activation. None where it
    holds more or fewer, or weights that an MLP has not (convolutions, states). Of a layer, its own children alone."""
    children, deep = list(module.named_children()), False
    direct = [path for path, child in children if is_projection(child)]
    if len(direct) < 2 and not own_only:
        children, deep = [(path, child) for path, child in module.named_modules() if path], True
        direct = [path for path, child in children if is_projection(child)]
        direct = [path for path in direct if not path.startswith(tuple(f"{other}." for other in direct))]
    if len(direct) not in (2, 3):
        return None
    inside = tuple(f"{path}." for path in direct)  # parts of a projection, such as those of LoRA
    others = [(path, child) for path, child in children if path not in direct and not path.startswith(inside)]
    matrices = [path for path, child in others if any(p.ndim > 1 for p in child.parameters(recurse=not deep))]
    if not own_only and (matrices or list(module.parameters(recurse=False))):
        return None
    return direct, [path for path, child in others if path not in matrices and next(child.children(), None) is None]


def _layouts(module: nn.Module, projections: Sequence[str]) -> Iterator[Layout]:
    """Every part that projections can play, by their widths."""
    for *first, down in permutations(projections):
        m, h = sizes(module.get_submodule(down))
        widths = [sizes(module.get_submodule(path)) for path in first]
        if h == 0 or any(into != h for into, _ in widths):
            continue
        if [out for _, out in widths] == [m, m]:
            yield Layout(*first, down)
        elif [out for _, out in widths] == [2 * m]:
            yield Layout(first[0], "", down)
        elif [out for _, out in widths] == [m]:
            yield Layout(first[0], "", down, plain=True)


@torch.no_grad()
def is_elementwise(module: nn.Module) -> bool:
    """Whether a module computes each number from one number, and changes some: an activation, no norm or dropout."""
    value = next(module.parameters(), torch.empty(0))
    if value.device.type == "meta":
        return "act" in type(module).__name__.lower()
    x = torch.linspace(-2, 2, 16, device=value.device).to(value.dtype)[None, None]
    other = x.clone()
    other[..., 0] = 1.5
    with evaluating(module):
        try:
            y, z = module(x.clone()), module(other)
        except Exception:  # whatever it is, it takes more than numbers
            return False
    same = isinstance(y, torch.Tensor) and y.shape == x.shape
    return same and bool((y[..., 1:] == z[..., 1:]).all()) and not torch.equal(y, x)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Without dropout inside the context."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
