"""Muon in float32, for the tiny models that are trained here.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) updates a matrix by its momentum made orthogonal.
`torch.optim.Muon` does so in bfloat16. Processors without such instructions take longer for that than for the model's
own passes, and processors with and without them round differently, so that the same seed gives other models.

Measured on a processor without them: a whole training of demo-llava-mistral took 73 s of CPU here and 121 s with
torch's Muon.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from culture_neurons.models.threads import pool

#: Of the published iteration: x <- a x + (b G + c G²) x with G = x xᵀ; singular values end between 0.7 and 1.2.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_EPS = 1e-7


def orthogonal(matrices: torch.Tensor, steps: int) -> torch.Tensor:
    """[matrix, row, column] of any float type -> the same with all singular values near 1 (Newton-Schulz iteration)."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_EPS)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, for parameters that are matrices; with decoupled weight decay.

    Settings mean what they mean for `torch.optim.Muon`. Matrices of one shape are updated together.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.1,
        ns_steps: int = 5,
    ) -> None:  # fmt: skip
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "ns_steps": ns_steps}
        super().__init__(matrices, settings)
        self._threads = pool(2)  # kept: to start threads takes a quarter of a step

    def step(self, closure: None = None) -> None:
        """One update; parameters without a gradient stay. Two threads work, each on matrices of one shape at a time, so
        that the result is the same on one core."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            list(self._threads.map(partial(self._update, group), shapes.values()))

    @torch.no_grad()
    def _update(self, group: Mapping[str, Any], same: Sequence[nn.Parameter]) -> None:
        """Update matrices of one shape."""
        rows, columns = same[0].shape
        momenta = torch.stack([self._momentum(p, group["momentum"]) for p in same])
        updates = orthogonal(momenta, group["ns_steps"])
        rate = group["lr"] * math.sqrt(max(1, rows / columns))
        for p, update in zip(same, updates, strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)

    def _momentum(self, p: nn.Parameter, momentum: float) -> torch.Tensor:
        """The gradient and its running mean, mixed (Nesterov)."""
        mean = self.state[p].setdefault("momentum", torch.zeros_like(p))
        mean.lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(mean, momentum)
