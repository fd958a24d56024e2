"""The model's own forward pass of one batch, run again under every mask without what no mask changes.

Nothing that comes before a mask depends on it: neither embeddings, nor a layer below the first one that it touches, nor
in that layer attention, the gate and up projections and the activation before it is multiplied. In a replay they hand
back what they gave before, in place of their `forward`. All else is the model's own code, run as it runs without us:
attention masks, what is added between layers (DeepStack), norm, head and soft caps. So a replay gives the numbers of a
whole pass, bit for bit, in every dtype.

Masks run in the order of their first layers, and what is kept advances with them (`Replay.advance`). Kept on the device
at a time: the output of one layer; in the next one those of attention (hidden width h each), up and activation (neurons
m each; 3 m where gate and up are one projection); and the embeddings (h):

    bytes = tokens of the batch, padding included * (2 m + 3 h) * bytes of a number

In float32 on a CPU, where also the last layer's other positions are left out (`models.last_positions`), some h more,
and for each prompt its attention mask as numbers, tokens squared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models.forward import logits_at
from culture_neurons.models.last_positions import last_positions
from culture_neurons.models.loading import Loaded
from culture_neurons.models.readings import LAST, Positions
from culture_neurons.models.stand_ins import (
    Run,
    StandIn,
    record_runs,
    replace_forwards,
    returning,
    skipping_wrapper,
    with_additive_mask,
)

_ORDER = "its decoder layers don't run once each, one after the other"


class _StopForward(Exception):
    """The layer to advance to is reached; the rest of the pass is not wanted."""


class Replay:
    """Forward passes of one batch that start at any layer; see the module.

    layer  int: the layer at which they start, of those with an MLP
    kind   how the decoder layers are called (`_kind` of their arguments); None before the first complete pass

    `positions`: where logits are read.
    `savings`: what is computed around the layers before a mask acts is left out too, and of the last layer all but the
    last positions, in so far as that changes no bit.
    Raises ModelError for a model whose layers read the keys and values of others (Gemma 3n, the small Gemma 4).
    """

    def __init__(
        self, loaded: Loaded, inputs: Mapping[str, torch.Tensor], positions: Positions = LAST, savings: bool = True
    ) -> None:
        if any(getattr(attention, "is_kv_shared_layer", False) for attention in loaded.adapter.attentions):
            raise ModelError("its layers share keys and values")
        self._loaded, self._inputs, self._positions, self._savings = loaded, inputs, positions, savings
        self._layers = loaded.adapter.decoder_layers
        #: The place among all decoder layers of each layer with an MLP, which masks and `layer` count.
        self._place = loaded.adapter.numbers
        *self._around, self._decoder = _path(loaded)
        self.layer = 0
        self.kind: Hashable = None
        self._below: list[StandIn] = []  # layers before this one hand back the output of the last of them
        self._parts: list[StandIn] = []  # attention, projections and activation of this layer hand back theirs
        last = loaded.adapter.n_layers - 1  # experts are given all positions
        ends_with_mlp = loaded.adapter.layers[-1] is self._layers[-1] and last not in loaded.adapter.experts
        self._tail = (
            last_positions(loaded.adapter, getattr(self._decoder, "norm", None), positions.keep)
            if savings and ends_with_mlp
            else []
        )
        self._entry: list[StandIn] = []  # `_entry` of the decoder, once a pass was complete

    def advance(self, layer: int) -> None:
        """Start at `layer` from now on, if that is further; no mask may be in force.

        Raises ModelError when the layers before don't run once each, one after the other.
        """
        if layer <= self.layer:
            return
        place = self._place[layer]
        stop = [(self._layers[place], _stop)]
        with record_runs([self._layers[place - 1]]) as runs, replace_forwards(stop), suppress(_StopForward):
            self._pass(self._parts)
        if len(runs) != 1:
            raise ModelError(_ORDER)
        self.layer, self._parts = layer, []
        self._below = [returning(below, runs[0][1]) for below in self._layers[:place]]

    def logits(self, activation_only: bool = True) -> torch.Tensor:
        """Logits where they are wanted (`forward.logits_at`), under the mask in force, which acts in no layer before.

        `activation_only`: in this layer it acts on the activation's output alone. The first such pass keeps what comes
        before that, and the others hand it back.
        Raises ModelError for a model whose layers can't be replayed.
        """
        if self.kind is not None:
            return self._keeping(activation_only)
        with _record_modules(self._layers, [*self._around, self._decoder, *self._decoder.children()]) as seen:
            result = self._keeping(activation_only)
        self.kind = seen.kind()
        if self._savings:
            self._entry = _entry(self._around, self._decoder, seen)
        return result

    def _keeping(self, activation_only: bool) -> torch.Tensor:
        if not activation_only or self._parts:
            return self._pass(self._parts if activation_only else [])
        adapter, at = self._loaded.adapter, self.layer
        if at in adapter.experts:
            return self._keeping_attention(at)
        gate, up = adapter.part(at, "gate"), adapter.part(at, "up")
        # Where a function is the activation, what it reads is kept, and it runs again.
        activation = None if adapter.reads_input(at) else adapter.activations[at]
        modules = [m for m in (adapter.attentions[at], gate, up, activation) if m is not None]
        with record_runs(modules) as runs:
            result = self._pass([])
        outputs = dict(runs)
        if len(runs) != len(modules) or outputs.keys() != set(modules):
            raise ModelError(
                f"attention, projections and activation of its layer {self._place[at]} don't run once each"
            )
        if activation is not None and (up is not None or adapter.layouts[at].plain):
            outputs[gate] = outputs[activation]  # nobody reads it, and this is there
        self._parts = [returning(module, output) for module, output in outputs.items()]
        return result

    def _keeping_attention(self, at: int) -> torch.Tensor:
        """In a layer with experts, these run again: their activations come one by one."""
        attention = self._loaded.adapter.attentions[at]
        with record_runs([attention] if attention is not None else []) as runs:
            result = self._pass([])
        if len(runs) != (attention is not None):
            raise ModelError(f"attention of its layer {at} does not run once")
        self._parts = [returning(module, output) for module, output in runs]
        return result

    def _pass(self, stand_ins: Sequence[StandIn]) -> torch.Tensor:
        """A forward pass in which what is kept is handed back."""
        # In the last layer, what is kept of the MLP is there for all positions.
        tail = self._tail if self.layer < len(self._place) - 1 else []
        with replace_forwards([*self._below, *stand_ins, *self._entry, *tail]):
            return logits_at(self._loaded, self._inputs, self._positions)


@dataclass(frozen=True)
class _Recorded:
    """One complete pass, as seen from outside.

    calls   of decoder layers, in the order in which they run: index, and `_kind` of the arguments
    runs    of other modules, each the last one
    before  those of them that ran once before the first layer
    masks   what the layers were called with as attention mask
    """

    n_layers: int
    calls: list[tuple[int, Hashable]] = field(default_factory=list)
    runs: dict[nn.Module, Run] = field(default_factory=dict)
    before: dict[nn.Module, Run] = field(default_factory=dict)
    masks: list[Any] = field(default_factory=list)

    def kind(self) -> Hashable:
        """How the layers are called. Raises ModelError where they don't run once each, one after the other."""
        if [layer for layer, _ in self.calls] != list(range(self.n_layers)):
            raise ModelError(_ORDER)
        return tuple(kind for _, kind in self.calls)


@contextmanager
def _record_modules(layers: Sequence[nn.Module], modules: Sequence[nn.Module]) -> Iterator[_Recorded]:
    """Note one pass: the calls of layers, and the runs of modules."""
    seen, times = _Recorded(len(layers)), Counter[nn.Module]()

    def calling(layer: int) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            if not seen.calls:
                seen.before.update({m: run for m, run in seen.runs.items() if times[m] == 1})
            seen.calls.append((layer, (_kind(args), _kind(kwargs))))
            seen.masks.append(kwargs.get("attention_mask"))

        return note

    def ran(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        times[module] += 1
        seen.runs[module] = args, kwargs, output

    with ExitStack() as hooks:
        for i, layer in enumerate(layers):
            hooks.enter_context(layer.register_forward_pre_hook(calling(i), with_kwargs=True))
        for module in modules:
            hooks.enter_context(module.register_forward_hook(ran, with_kwargs=True))
        yield seen


def _entry(around: Sequence[nn.Module], decoder: nn.Module, seen: _Recorded) -> list[StandIn]:
    """What makes the decoder's input, and what in the decoder runs before its layers, hands back what it gave."""
    stand_ins = [returning(module, run[2]) for module, run in seen.before.items()]
    stand_ins += next(filter(None, (skipping_wrapper(decoder, module, seen.runs) for module in around)), [])
    return stand_ins + with_additive_mask(decoder, seen.runs, seen.masks)


def _kind(value: Any) -> Hashable:
    """Equal for arguments of the same names and types, and tensors of the same dtype and number of axes."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.ndim
    if isinstance(value, Mapping):
        return tuple((name, _kind(value[name])) for name in sorted(value))
    if isinstance(value, tuple | list):
        return tuple(map(_kind, value))
    return value if isinstance(value, bool | str) else type(value)


def _path(loaded: Loaded) -> list[nn.Module]:
    """The modules from below the model itself down to the one that holds the list of decoder layers."""
    first = loaded.adapter.decoder_layers[0]
    name = next(name for name, module in loaded.model.named_modules() if module is first)
    parts = name.split(".")[:-2]
    return [loaded.model.get_submodule(".".join(parts[:i])) for i in range(1, len(parts) + 1)] or [loaded.model]


def _stop(*_: Any, **__: Any) -> Any:
    raise _StopForward
