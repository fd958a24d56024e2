"""Recording and ablating neurons of an unmodified model, through forward hooks.

Hooks attach on entry and detach on exit, also after an error: the model is left as it was.
A forward pass in which a hook did not run exactly once per layer is an error, because a
silent hook would give plausible numbers that mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models.adapters import Adapter, adapt
from culture_neurons.models.expert_hooks import ExpertSums, gain_at
from culture_neurons.models.experts import RoutedExperts
from culture_neurons.models.mask_places import masks_of, on_devices, positions
from culture_neurons.models.taps import Tap, attached
from culture_neurons.types import Experts, NeuronMask, OwnMasks

#: Numbers of float32 that `token_sums` works on at a time on a CPU: 1 MiB.
_CACHED = 1 << 18


class Recorder:
    """Sums of one forward pass at a time; see `record`."""

    #: What messages call the layers; () where they have their numbers (`Adapter.numbers`).
    numbers: Sequence[int] = ()

    def __init__(self, n_layers: int, negative_sum: bool = False, experts: Experts | None = None) -> None:
        self._n_layers = n_layers
        self._negative_sum = negative_sum
        self._experts = experts
        self._of_experts: dict[int, ExpertSums] = {}
        self._weights: torch.Tensor | None = None
        self._left_out: dict[torch.device, torch.Tensor] = {}
        self._sums: dict[int, tuple[torch.Tensor, ...]] = {}

    def start(self, weights: torch.Tensor) -> None:
        """Announce a forward pass: `weights` bool [batch, token] on the CPU, true where a token counts."""
        self._weights = weights
        self._left_out = {}
        self._sums = {}
        self._of_experts = {}

    def _begin(self, layer: int, experts: RoutedExperts, n_tokens: int) -> None:
        if self._weights is None:
            raise ModelError("a forward pass ran without Recorder.start")
        if layer in self._of_experts:
            raise ModelError(f"the experts of layer {self._number(layer)} ran twice in one forward pass")
        self._of_experts[layer] = ExpertSums(experts, self._weights, self._negative_sum)
        self._of_experts[layer].begin(n_tokens)

    def _add_expert(self, layer: int, expert: int, tokens: torch.Tensor, g: torch.Tensor) -> None:
        self._of_experts[layer].add(expert, tokens, g)

    def _end(self, layer: int) -> None:
        self._sums[layer] = self._of_experts[layer].values()

    def _add(self, layer: int, g: torch.Tensor) -> None:
        if self._weights is None:
            raise ModelError("a forward pass ran without Recorder.start")
        if layer in self._sums:
            raise ModelError(f"the activation of layer {self._number(layer)} ran twice in one forward pass")
        if g.ndim == 2 and len(g) == self._weights.numel():  # OPT's; in this order (`mlp_numbers`)
            g = g.view(*self._weights.shape, -1)
        if g.shape[:2] != self._weights.shape:
            raise ModelError(
                f"layer {self._number(layer)}: activations of shape {tuple(g.shape)} for token weights "
                f"{tuple(self._weights.shape)}; expected [batch, token, neuron]"
            )
        if g.device not in self._left_out:
            self._left_out[g.device] = (~self._weights).flatten().nonzero()[:, 0].to(g.device)
        self._sums[layer] = token_sums(g.detach(), self._left_out[g.device], self._negative_sum)

    def _number(self, layer: int) -> int:
        return self.numbers[layer] if self.numbers else layer

    def collect(self) -> tuple[np.ndarray, ...]:
        """T int64 [sample], K int32 and S float32 [sample, layer, neuron] of the last forward pass; and N, like S, if
        it is recorded. Of a model with experts T is [sample, column] (`types.Experts`). Sums are 0 behind the last
        neuron of a layer that has fewer than others.

        The sums stay on the device until here. Raises ModelError when the hook of a layer did not run.
        """
        silent = [self._number(layer) for layer in range(self._n_layers) if layer not in self._sums]
        if silent or self._weights is None:
            raise ModelError(f"no activations came from layers {silent}: the model bypasses its activation modules")
        device = self._sums[0][0].device
        widest = max(sums[0].shape[1] for sums in self._sums.values())

        def of_layer(layer: int, k: int) -> torch.Tensor:
            values = self._sums[layer][k].to(device)
            return values if values.shape[1] == widest else nn.functional.pad(values, (0, widest - values.shape[1]))

        fired, *others = (
            torch.stack([of_layer(i, k) for i in range(self._n_layers)], dim=1) for k in range(len(self._sums[0]))
        )
        sums = [_to_host(values).numpy() for values in (fired.to(torch.int32), *others)]
        tokens = self._weights.sum(dim=1)
        if self._experts is not None:
            of_experts = [self._of_experts[layer].tokens.to("cpu", torch.int64) for layer in sorted(self._of_experts)]
            tokens = torch.cat([tokens[:, None], *of_experts], dim=1)
        tokens = tokens.numpy()
        self._weights, self._left_out, self._sums, self._of_experts = None, {}, {}, {}
        return tokens, *sums


def token_sums(g: torch.Tensor, left_out: torch.Tensor, negative_sum: bool = False) -> tuple[torch.Tensor, ...]:
    """K and S of a layer, and N with `negative_sum`, float32 [batch, neuron], exact for K below 2^24 tokens.

    g         [batch, token, neuron], float16, bfloat16 or float32; it is not changed
    left_out  int64: positions of [batch * token] that don't count

    Memory traffic is what this costs, so it reads and writes as little as it can. On a CPU a few samples at a
    time stay in the cache, and the sums over tokens are products with a row of ones.
    """
    batch, tokens, neurons = g.shape
    if g.device.type != "cpu":
        positive = g.clamp_min(0).contiguous()
        positive.view(-1, neurons).index_fill_(0, left_out, 0)
        fired = torch.linalg.vector_norm(positive, 0, dim=1, dtype=torch.float32)
        sums = fired, positive.sum(dim=1, dtype=torch.float32)
        if not negative_sum:
            return sums
        negative = torch.clamp_max(g, 0, out=positive)  # in the same memory
        negative.view(-1, neurons).index_fill_(0, left_out, 0)
        return *sums, negative.sum(dim=1, dtype=torch.float32)
    fired, positive_sum, negative = torch.empty(3, batch, neurons).unbind()
    step = max(1, _CACHED // max(1, tokens * neurons))
    ones = torch.ones(min(step, batch), 1, tokens)
    for start in range(0, batch, step):
        given = g[start : start + step].float()
        clamped = given.clamp_min(0).contiguous()
        at = left_out[(left_out >= start * tokens) & (left_out < (start + step) * tokens)] - start * tokens
        clamped.view(-1, neurons).index_fill_(0, at, 0)
        row = ones[: len(clamped)]
        torch.bmm(row, clamped, out=positive_sum[start : start + step, None])
        torch.bmm(row, clamped.sign_(), out=fired[start : start + step, None])
        if negative_sum:
            torch.clamp_max(given, 0, out=clamped)
            clamped.view(-1, neurons).index_fill_(0, at, 0)
            torch.bmm(row, clamped, out=negative[start : start + step, None])
    return (fired, positive_sum, negative) if negative_sum else (fired, positive_sum)


def _to_host(values: torch.Tensor) -> torch.Tensor:
    """On the CPU; from a GPU through memory that it can write to directly."""
    if values.device.type != "cuda":
        return values.cpu()
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)


@contextmanager
def record(model: nn.Module | Adapter, negative_sum: bool = False) -> Iterator[Recorder]:
    """Record K and S of g at every decoder layer, and N with `negative_sum`.

    Use: `recorder.start(weights)`, one forward pass, `recorder.collect()`; as often as needed.
    A float16 or bfloat16 g is summed in float32.
    """
    adapter = model if isinstance(model, Adapter) else adapt(model)
    recorder = Recorder(adapter.n_layers, negative_sum, adapter.expert_axis)
    recorder.numbers = adapter.numbers
    taps = [_recorded(adapter, layer) for layer in range(adapter.n_layers)]
    with attached(taps, recorder._add, recorder._begin, recorder._add_expert, recorder._end):
        yield recorder


def _recorded(adapter: Adapter, layer: int) -> Tap:
    """Where g of a layer is seen. Without an activation module, the projection back to the residual stream reads g in a
    plain MLP, and g * up in a gated one: there g is computed from what gate puts out, as the model does it."""
    function = adapter.functions.get(layer)
    if layer in adapter.experts:
        return Tap(adapter.activations[layer], experts=adapter.experts[layer])
    if function is None:
        return Tap(adapter.activations[layer], adapter.reads_input(layer))
    gate, m = adapter.part(layer, "gate"), adapter.widths[layer]
    start = 0 if adapter.layouts[layer].up else m * adapter.up_first  # half of a fused projection
    return Tap(gate, function=lambda values: function(values[..., start : start + m]))


class Ablation:
    """Which mask is in force; see `ablate`."""

    def __init__(self, adapter: Adapter, masks: Sequence[NeuronMask | OwnMasks]) -> None:
        #: What is hooked, by number, and the layer of each: first all activations, then projections.
        modules, self._layers, places = positions(adapter, masks)
        inputs = {id(module) for i, module in enumerate(adapter.activations) if adapter.reads_input(i)}
        experts = {id(adapter.activations[layer]): of_layer for layer, of_layer in adapter.experts.items()}
        self.taps = [Tap(module, id(module) in inputs, experts=experts.get(id(module))) for module in modules]
        devices = [_device(layer) for layer in adapter.layers]
        # Indices of all masks go to the devices now, so that changing masks waits for nothing.
        self._masks = [on_devices(masks_of(mask), places, devices) for mask in masks]
        #: Per mask, the cultures whose questions it is for; None: all questions.
        self._only = [[m.culture for m in mask.masks] if isinstance(mask, OwnMasks) else None for mask in masks]
        self._cultures: Sequence[str] = ()
        self._index: int | None = None
        self._gain: dict[int, torch.Tensor] = {}
        self._expert_gain: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
        self._length = 0  # tokens of each prompt
        self._runs = [0] * len(self.taps)

    def ask(self, cultures: Sequence[str]) -> None:
        """Say of which culture each prompt of the coming passes is; `OwnMasks` need it."""
        self._cultures = list(cultures)

    def use(self, index: int | None) -> None:
        """Put mask `index` in force from the next forward pass on; None: the model as it is."""
        self._index = index
        self._gain, self._expert_gain = {}, {}
        self._runs = [0] * len(self._runs)

    def check(self, first: int = 0, partly: bool = False) -> None:
        """Raise ModelError unless the hooks of all layers from `first` on ran since `use`.

        `partly`: of layer `first`, only the activation ran.
        """
        in_force = {} if self._index is None else self._masks[self._index]
        activations = len(set(self._layers))  # they come first
        runs = [
            n
            for place, (n, layer) in enumerate(zip(self._runs, self._layers, strict=True))
            if layer > first or (layer == first and (not partly or place < activations))
        ]
        if any(self._layers[place] < first for place in in_force) or 0 in runs:
            raise ModelError(f"hooks ran {self._runs} times per layer: the mask was not applied throughout")

    def _apply(self, place: int, g: torch.Tensor) -> torch.Tensor | None:
        self._runs[place] += 1
        if self._index is None or place not in self._masks[self._index]:
            return None
        if place not in self._gain:
            self._gain[place] = self._gain_of(place, g)
        gain = self._gain[place]
        if g.ndim == 2 and gain.ndim == 3:  # [prompt * token, neuron]
            return (g.view(len(gain), -1, g.shape[-1]) * gain).view(g.shape)
        return g * gain

    def _begin(self, place: int, experts: RoutedExperts, n_tokens: int) -> None:
        self._length = n_tokens // max(1, len(self._cultures))
        own = self._index is not None and self._only[self._index] is not None
        if own and self._length * len(self._cultures) != n_tokens:
            raise ModelError(f"masks for {len(self._cultures)} prompts, but {n_tokens} tokens reach the experts")

    def _apply_expert(self, place: int, expert: int, tokens: torch.Tensor, g: torch.Tensor) -> torch.Tensor | None:
        if self._index is None or place not in self._masks[self._index]:
            return None
        experts = self.taps[place].experts
        if place not in self._expert_gain:
            gain = self._rows(place, experts.count * experts.width, g)
            self._expert_gain[place] = gain, self._own_rows(g.device)
        return g * gain_at(*self._expert_gain[place], experts, expert, tokens, self._length)

    def _end(self, place: int) -> None:
        self._runs[place] += 1

    def _gain_of(self, place: int, g: torch.Tensor) -> torch.Tensor:
        """What to multiply g by: [neuron], or [prompt, 1, neuron] where each prompt has a mask of its own."""
        gain, own = self._rows(place, g.shape[-1], g), self._own_rows(g.device)
        if own is None:
            return gain[0]
        if len(g) % max(1, len(self._cultures)) if g.ndim == 2 else len(self._cultures) != len(g):
            raise ModelError(f"masks for {len(self._cultures)} prompts, but {len(g)} pass through the model")
        return gain[own, None]

    def _rows(self, place: int, width: int, g: torch.Tensor) -> torch.Tensor:
        """The gain of each mask in force, [mask, neuron], like g; the last of several is all ones: no mask."""
        neurons_by_row, only = self._masks[self._index][place], self._only[self._index]
        gain = torch.ones(len(only) + 1 if only is not None else 1, width, dtype=g.dtype, device=g.device)
        for row, (neurons, factor) in neurons_by_row.items():
            gain[row].index_fill_(0, neurons.to(g.device), factor)
        return gain

    def _own_rows(self, device: torch.device) -> torch.Tensor | None:
        """The row of `_rows` of each prompt, int64 [prompt]; None where one mask is for all."""
        only = self._only[self._index]
        if only is None:
            return None
        own = {culture: row for row, culture in enumerate(only)}
        return torch.tensor([own.get(c, len(only)) for c in self._cultures], device=device)


@contextmanager
def ablate(model: nn.Module | Adapter, masks: Sequence[NeuronMask | OwnMasks]) -> Iterator[Ablation]:
    """Multiply what a mask's neurons put out by its factor, at every token (0: zero ablation, 2: twice).

    Use: `ablation.use(i)`, forward passes, `ablation.check()`; with `OwnMasks`, `ablation.ask(cultures)` before.
    Raises ConfigError for a mask that names a layer or a neuron that the model does not have.
    """
    adapter = model if isinstance(model, Adapter) else adapt(model)
    ablation = Ablation(adapter, masks)
    with attached(ablation.taps, ablation._apply, ablation._begin, ablation._apply_expert, ablation._end):
        yield ablation


def _device(layer: nn.Module) -> torch.device:
    """Where a layer computes (weights offloaded by accelerate lie on "meta" until they are needed)."""
    device = next(layer.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device
