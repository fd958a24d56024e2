"""The decoder of one batch run again for every mask, without what no mask changes.

Nothing that comes before a mask depends on it: not the image features, the embeddings, the positions or the
attention mask, no layer before the first one that it touches, and in that layer neither attention nor the gate
and up projections. So a batch enters the decoder once (`enter`), masks run in the order of their first layers,
and each starts where it begins to act.

Only the answer's position is read. In the last layer the MLP is therefore computed at that position alone: the
residual is added by broadcasting, and what that makes of other positions is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models.adapters import Adapter, close
from culture_neurons.models.inference import forward
from culture_neurons.models.loading import Loaded


class Entered:
    """A batch inside the decoder, at the input of one layer; see `enter`."""

    def __init__(self, adapter: Adapter, hidden: torch.Tensor, arguments: Sequence[tuple[tuple, dict]]) -> None:
        self._adapter = adapter
        self._hidden = hidden  # (batch, token, hidden)
        self._arguments = arguments
        self._kept: list[Any] = []  # outputs of `Adapter.before` in this layer
        self.layer = 0

    def advance(self, layer: int) -> None:
        """Go on to the input of `layer`, for good; no mask may be in force."""
        for at in range(self.layer, layer):
            self._hidden = self._run(at, self._hidden)
            self._kept = []
        self.layer = max(layer, self.layer)

    def keep(self) -> None:
        """Compute what a mask in this layer can't change, for all `logits` to come; no mask may be in force."""
        if self._kept or self.layer == self._adapter.n_layers:
            return
        modules = self._adapter.before[self.layer]
        handles = [m.register_forward_hook(lambda module, args, output: self._kept.append(output)) for m in modules]
        try:
            self._run(self.layer, self._hidden)
        finally:
            for handle in handles:
                handle.remove()
        if len(self._kept) != len(modules):
            self._kept = []
            raise ModelError(f"the parts of layer {self.layer} don't run once each")

    def logits(self) -> torch.Tensor:
        """Logits [batch, vocabulary] at the last position, from here through the rest; nothing is moved on."""
        hidden = self._hidden
        for at in range(self.layer, self._adapter.n_layers):
            modules = self._adapter.before[at] if at == self.layer and self._kept else []
            with replaced(modules, [_always(output) for output in self._kept if modules]):
                hidden = self._run(at, hidden)
        return self._adapter.head(self._adapter.norm(hidden[:, -1:]))[:, -1]

    def _run(self, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        args, kwargs = self._arguments[layer]
        last = layer == self._adapter.n_layers - 1
        with _at_last_position(self._adapter.mlps[layer]) if last else nullcontext():
            return self._adapter.layers[layer](hidden, *args, **kwargs)


def enter(loaded: Loaded, inputs: Mapping[str, torch.Tensor]) -> Entered:
    """Run a model up to its first decoder layer and note what each layer is called with; no layer is computed.

    Raises ModelError when a layer is not called exactly once, hidden states first.
    """
    layers = loaded.adapter.layers
    calls: list[list[tuple[tuple, dict]]] = [[] for _ in layers]
    first: list[torch.Tensor] = []

    def stand_in(layer: int) -> Callable[..., torch.Tensor]:
        def take(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            first.append(hidden_states)
            calls[layer].append((args, kwargs))
            return hidden_states

        return take

    with replaced(layers, [stand_in(i) for i in range(len(layers))]):
        forward(loaded, inputs)
    if any(len(call) != 1 for call in calls):
        raise ModelError(f"model {loaded.name!r}: its decoder layers don't run once each, one after the other")
    return Entered(loaded.adapter, first[0], [call[0] for call in calls])


def enter_checked(loaded: Loaded, inputs: Mapping[str, torch.Tensor]) -> Entered | None:
    """Like `enter`, but None when going through the decoder from there gives other logits than the model's own.

    That is so for a model that does more than normalise and project after its last layer (such as capping its
    logits), or whose layers pass on more than hidden states: its masks need whole forward passes.
    """
    if loaded.adapter.norm is None or loaded.adapter.head is None:
        return None
    expected = forward(loaded, inputs).logits[:, -1]
    try:
        entered = enter(loaded, inputs)
        entered.keep()
        found = entered.logits()
    except (ModelError, TypeError, AttributeError, IndexError):
        return None
    return entered if close(found.to(expected.device), expected) else None


@contextmanager
def replaced(modules: Sequence[nn.Module], functions: Sequence[Callable[..., Any]]) -> Iterator[None]:
    """Inside, the modules' `forward` is another function; what accelerate has put in its place comes back."""
    before = [vars(module).get("forward") for module in modules]
    try:
        for module, function in zip(modules, functions, strict=True):
            module.forward = function
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            if own is not None:
                module.forward = own
            elif "forward" in vars(module):
                del module.forward


def _always(output: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: output


@contextmanager
def _at_last_position(mlp: nn.Module) -> Iterator[None]:
    """Inside, an MLP sees the last position alone."""
    handle = mlp.register_forward_pre_hook(lambda module, args: (args[0][:, -1:], *args[1:]))
    try:
        yield
    finally:
        handle.remove()
