"""The last layer at the last positions alone, where that gives the numbers of the whole layer, bit for bit.

Only the last position is read, or the last few where texts of options are. Modules that work on each position apart,
and attention's queries, need no other in the last layer. But a matrix product of fewer rows may add in another order,
and so round differently. So each batch tries: the first pass computes both, and only where they are equal do later
passes leave positions out. What decides is shapes (which code computes a product), not what is in them. Activations are
the exception: PyTorch computes what is left over after whole vectors with another exponential function, so that nothing
may be left over (`_whole_vectors`).

Rounding hides differences in half precision, and looking for them makes a GPU wait: there all positions are computed.

What stands in for a module gives one array of its output's size, the same in every pass, of which only the last
positions are written: some [batch, token, hidden] for the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from culture_neurons.models.adapters import Adapter
from culture_neurons.models.stand_ins import StandIn, full_precision

#: Rows of a matrix product that are enough for MKL to compute each as it does in a larger one.
_ROWS = 16
#: Numbers that PyTorch computes together on any CPU are a divisor of this, and a thread takes at least `_GRAIN`.
_VECTORS, _GRAIN = 64, 32768
#: How norms are called that a layer applies to one position after the other, and not before attention.
_AFTER_ATTENTION = ("post_", "pre_feedforward")


def last_positions(adapter: Adapter, norm: nn.Module | None, keep: int = 1) -> list[StandIn]:
    """Stand-ins for modules of the last layer, and for the `norm` after it; for the passes of one batch.

    keep  how many last positions are read
    """
    attention = adapter.attentions[-1]
    modules = [norm, *(getattr(attention, name, None) for name in ("q_proj", "o_proj"))]
    modules += [module for name, module in adapter.layers[-1].named_children() if name.startswith(_AFTER_ATTENTION)]
    modules = [module for module in modules if isinstance(module, nn.Module)]
    stand_ins: list[StandIn] = [(module, _rows(module, keep=keep)) for module in modules]
    if adapter.mlps[-1] is not adapter.layers[-1]:
        stand_ins.append((adapter.mlps[-1], _rows(adapter.mlps[-1], adapter.widths[-1], keep)))
    return stand_ins if attention is None else [*stand_ins, (attention, _queries(attention, keep))]


def _rows(module: nn.Module, neurons: int = 0, keep: int = 1) -> Callable[..., Any]:
    """The module's forward of [batch, token, width] at the last positions, zeros elsewhere; `neurons` are activated."""
    own = module.forward
    few: int | None = None  # positions that give the numbers of those that are read; 0: all of them
    rest: torch.Tensor  # zeros, but for the last positions of the pass before

    def run(*args: Any, **kwargs: Any) -> Any:
        nonlocal few, rest
        hidden = args[0] if len(args) == 1 and not kwargs else None
        if few == 0 or not full_precision(hidden) or hidden.ndim != 3:
            return own(*args, **kwargs)
        if few:
            rest[:, -few:] = own(hidden[:, -few:].contiguous())
            return rest
        n = hidden.shape[1]
        output, tried = own(hidden), max(keep, -(-_ROWS // len(hidden)))
        alike = tried < n and all(_whole_vectors(len(hidden) * k * neurons) for k in (n, tried))
        exact = alike and torch.equal(own(hidden[:, -tried:].contiguous())[:, -keep:], output[:, -keep:])
        few = 0
        if exact:
            few, rest = tried, torch.zeros_like(output)
        return output

    return run


class _LastQueries(TorchFunctionMode):
    """Inside, attention is computed for the last queries, and zeros elsewhere."""

    def __init__(self, keep: int) -> None:
        super().__init__()
        self._keep = keep
        self._few: int | None = None  # queries that give the numbers of those that are read; 0: all of them
        self._rest: torch.Tensor | None = None  # zeros, but for the last queries of the pass before

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        mask = kwargs.get("attn_mask")
        if (
            func is not F.scaled_dot_product_attention
            or self._few == 0
            or len(args) != 3
            or not full_precision(args[0])
        ):
            return func(*args, **kwargs)
        n = args[0].shape[-2]
        if not isinstance(mask, torch.Tensor) or mask.shape[-2] != n:
            return func(*args, **kwargs)

        def of_last(few: int) -> torch.Tensor:
            query = args[0][..., -few:, :]
            return func(query, *args[1:], **kwargs | {"attn_mask": mask[..., -few:, :]})

        if self._few and self._rest is not None:
            self._rest[..., -self._few :, :] = of_last(self._few)
            return self._rest
        output = func(*args, **kwargs)
        tried = [few for few in (_ROWS // 4, _ROWS // 2, _ROWS, self._keep + _ROWS) if self._keep <= few < n]
        last = output[..., -self._keep :, :]
        self._few = next((few for few in tried if torch.equal(of_last(few)[..., -self._keep :, :], last)), 0)
        self._rest = torch.zeros_like(output) if self._few else None
        return output


def _queries(attention: nn.Module, keep: int = 1) -> Callable[..., Any]:
    own, mode = attention.forward, _LastQueries(keep)

    def run(*args: Any, **kwargs: Any) -> Any:
        with mode:
            return own(*args, **kwargs)

    return run


def _whole_vectors(n: int) -> bool:
    """Whether n numbers, dealt to the threads, are whole vectors for each."""
    threads = max(1, min(torch.get_num_threads(), -(-n // _GRAIN)))
    return n % _VECTORS == 0 and -(-n // threads) % _VECTORS == 0
