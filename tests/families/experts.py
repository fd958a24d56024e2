"""Routed experts, by other means than hooks on their activation: each token and each of its experts by itself, from
what the module of experts reads and from its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Experts:
    """The experts of one layer: `first` [expert, m or 2 m, hidden] is read by the activation, `down` is behind it."""

    module: nn.Module
    first: torch.Tensor
    down: torch.Tensor
    act: Any

    @property
    def width(self) -> int:
        return self.down.shape[2]

    @property
    def size(self) -> int:
        return len(self.down) * self.width


def experts_of(layer: nn.Module) -> Experts:
    """Those of a layer: the module with two weights of three axes."""
    (module,) = [m for m in layer.modules() if len([p for p in m.parameters(recurse=False) if p.ndim == 3]) == 2]
    first = module.gate_up_proj if hasattr(module, "gate_up_proj") else module.up_proj
    return Experts(module, first, module.down_proj, module.act_fn)


def neurons(experts: Experts, x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """g, [token, expert * neuron], 0 where a token does not reach an expert; and whether it does, [token, expert]."""
    g = torch.zeros(len(x), len(experts.down), experts.width)
    reached = torch.zeros(g.shape[:2], dtype=torch.bool)
    for token, chosen in enumerate(index.tolist()):
        for expert in chosen:
            if expert < len(experts.down):
                a = F.linear(x[token], experts.first[expert])
                g[token, expert] = experts.act(a[: experts.width])
                reached[token, expert] = True
    return g.flatten(1), reached


def output(experts: Experts, x: torch.Tensor, index: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """What the module gives, [token, hidden], token by token."""
    g, result = neurons(experts, x, index)[0], torch.zeros(len(x), experts.down.shape[1])
    for token, chosen in enumerate(index.tolist()):
        for place, expert in enumerate(chosen):
            if expert < len(experts.down):
                a = F.linear(x[token], experts.first[expert])
                h = g[token, expert * experts.width : (expert + 1) * experts.width]
                h = h * a[experts.width :] if len(a) > experts.width else h
                result[token] += p[token, place] * F.linear(h, experts.down[expert])
    return result
