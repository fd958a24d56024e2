"""Linear layers in float32 on a CPU, computed by oneDNN.

PyTorch's wheels carry two libraries for products of matrices, and ask MKL for those in float32. On AMD's processors MKL
makes no use of AVX-512: there oneDNN takes half the time (a core of Zen 5: 240 instead of 107 GFLOP/s; `make bench`
measures both), and with AVX2 alone nine tenths. Its sums differ from MKL's in the last bits; they hang less on how many
rows there are: those of a single row differ, with MKL those of up to three.

Layers keep their weights, their name and their place; only the class of `nn.Linear` changes, to one of its subclasses.
Where a gradient is asked for, PyTorch's own product is taken, as for all other dtypes and devices.
"""

from __future__ import annotations

import platform
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

#: Weights of a layer, at least: to call oneDNN costs as much as the product of a small layer with a few tokens.
LEAST_WEIGHTS = 2**16


class OneDnnLinear(nn.Linear):
    """`nn.Linear` whose product oneDNN computes where it can; [..., in] -> [..., out]."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        given = (input, self.weight, self.bias)
        needs_gradient = torch.is_grad_enabled() and any(value is not None and value.requires_grad for value in given)
        if needs_gradient or not (_fits(input) and _fits(self.weight)):
            return super().forward(input)
        return _product(input, self.weight, self.bias)


def use_onednn(model: nn.Module) -> int:
    """Let oneDNN compute the model's large float32 linear layers on the CPU; how many these are.

    None on processors other than x86, and where this build of PyTorch lacks it.
    """
    if not is_available():
        return 0
    linear = [module for module in model.modules() if type(module) is nn.Linear and _fits(module.weight)]
    layers = [module for module in linear if module.weight.numel() >= LEAST_WEIGHTS]
    for layer in layers:
        layer.__class__ = OneDnnLinear
    return len(layers)


@cache
def is_available() -> bool:
    """Whether PyTorch has oneDNN's product here, and it gives the numbers that PyTorch's own gives."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((3, 5, 64), (48, 64), (48,)))
    try:
        with torch.inference_mode():
            pairs = [(_product(x, weight, b), F.linear(x, weight, b)) for b in (None, bias)]
    except (AttributeError, RuntimeError, TypeError):  # an operator that PyTorch does not promise to keep
        return False
    return all(mine.shape == own.shape and torch.allclose(mine, own, rtol=1e-4, atol=1e-4) for mine, own in pairs)


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _fits(values: torch.Tensor) -> bool:
    is_plain = type(values) in (torch.Tensor, nn.Parameter)
    return is_plain and values.dtype == torch.float32 and values.is_cpu and values.numel() > 0
