"""Recording and ablating neurons of an unmodified model, through forward hooks.

Hooks attach on entry and detach on exit, also after an error: the model is left as it was.
A forward pass in which a hook did not run exactly once per layer is an error, because a
silent hook would give plausible numbers that mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models.adapters import Adapter, adapt
from culture_neurons.models.projections import Projection, projections, widths
from culture_neurons.types import NeuronMask, OwnMasks

#: Numbers of float32 that `token_sums` works on at a time on a CPU: 1 MiB.
_CACHED = 1 << 18


@dataclass(frozen=True)
class Tap:
    """Where numbers are seen: at what a module puts out, or at what it reads; and `function` of them, where there is
    one."""

    module: nn.Module
    at_input: bool = False
    function: Callable[[torch.Tensor], torch.Tensor] | None = None


class Recorder:
    """Sums of one forward pass at a time; see `record`."""

    #: What messages call the layers; () where they have their numbers (`Adapter.numbers`).
    numbers: Sequence[int] = ()

    def __init__(self, n_layers: int, negative_sum: bool = False) -> None:
        self._n_layers = n_layers
        self._negative_sum = negative_sum
        self._weights: torch.Tensor | None = None
        self._left_out: dict[torch.device, torch.Tensor] = {}
        self._sums: dict[int, tuple[torch.Tensor, ...]] = {}

    def start(self, weights: torch.Tensor) -> None:
        """Announce a forward pass: `weights` bool [batch, token] on the CPU, true where a token counts."""
        self._weights = weights
        self._left_out = {}
        self._sums = {}

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
        it is recorded.

        The sums stay on the device until here. Raises ModelError when the hook of a layer did not run.
        """
        silent = [self._number(layer) for layer in range(self._n_layers) if layer not in self._sums]
        if silent or self._weights is None:
            raise ModelError(f"no activations came from layers {silent}: the model bypasses its activation modules")
        device = self._sums[0][0].device
        fired, *others = (
            torch.stack([self._sums[i][k].to(device) for i in range(self._n_layers)], dim=1)
            for k in range(len(self._sums[0]))
        )
        sums = [_to_host(values).numpy() for values in (fired.to(torch.int32), *others)]
        tokens = self._weights.sum(dim=1).numpy()
        self._weights, self._left_out, self._sums = None, {}, {}
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
    recorder = Recorder(adapter.n_layers, negative_sum)
    recorder.numbers = adapter.numbers
    with _attached([_recorded(adapter, layer) for layer in range(adapter.n_layers)], recorder._add):
        yield recorder


def _recorded(adapter: Adapter, layer: int) -> Tap:
    """Where g of a layer is seen. Without an activation module, the projection back to the residual stream reads g in a
    plain MLP, and g * up in a gated one: there g is computed from what gate puts out, as the model does it."""
    function = adapter.functions.get(layer)
    if function is None:
        return Tap(adapter.activations[layer], adapter.reads_input(layer))
    gate, m = adapter.part(layer, "gate"), adapter.n_neurons
    start = 0 if adapter.layouts[layer].up else m * adapter.up_first  # half of a fused projection
    return Tap(gate, function=lambda values: function(values[..., start : start + m]))


class Ablation:
    """Which mask is in force; see `ablate`."""

    def __init__(self, adapter: Adapter, masks: Sequence[NeuronMask | OwnMasks]) -> None:
        #: What is hooked, by number, and the layer of each: first all activations, then projections.
        modules, self._layers, places = _positions(adapter, masks)
        inputs = {id(module) for i, module in enumerate(adapter.activations) if adapter.reads_input(i)}
        self.taps = [Tap(module, id(module) in inputs) for module in modules]
        devices = [_device(layer) for layer in adapter.layers]
        # Indices of all masks go to the devices now, so that changing masks waits for nothing.
        self._masks = [_on_devices(masks_of(mask), places, devices) for mask in masks]
        #: Per mask, the cultures whose questions it is for; None: all questions.
        self._only = [[m.culture for m in mask.masks] if isinstance(mask, OwnMasks) else None for mask in masks]
        self._cultures: Sequence[str] = ()
        self._index: int | None = None
        self._gain: dict[int, torch.Tensor] = {}
        self._runs = [0] * len(self.taps)

    def ask(self, cultures: Sequence[str]) -> None:
        """Say of which culture each prompt of the coming passes is; `OwnMasks` need it."""
        self._cultures = list(cultures)

    def use(self, index: int | None) -> None:
        """Put mask `index` in force from the next forward pass on; None: the model as it is."""
        self._index = index
        self._gain = {}
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

    def _gain_of(self, place: int, g: torch.Tensor) -> torch.Tensor:
        """What to multiply g by: [neuron], or [prompt, 1, neuron] where each prompt has a mask of its own."""
        neurons_by_row, only = self._masks[self._index][place], self._only[self._index]
        gain = torch.ones(len(only) + 1 if only is not None else 1, g.shape[-1], dtype=g.dtype, device=g.device)
        for row, (neurons, factor) in neurons_by_row.items():
            gain[row].index_fill_(0, neurons.to(g.device), factor)
        if only is None:
            return gain[0]
        if len(g) % max(1, len(self._cultures)) if g.ndim == 2 else len(self._cultures) != len(g):
            raise ModelError(f"masks for {len(self._cultures)} prompts, but {len(g)} pass through the model")
        own = {culture: row for row, culture in enumerate(only)}  # the last row is all ones: no mask
        return gain[torch.tensor([own.get(c, len(only)) for c in self._cultures], device=g.device), None]


def masks_of(mask: NeuronMask | OwnMasks) -> Sequence[NeuronMask]:
    """The masks that are in force together; for different questions, where there are several."""
    return mask.masks if isinstance(mask, OwnMasks) else (mask,)


def _positions(
    adapter: Adapter, masks: Sequence[NeuronMask | OwnMasks]
) -> tuple[list[nn.Module], list[int], dict[str, dict[int, tuple[int, Projection]]]]:
    """The modules that masks act on, the layer of each, and by site, per layer, the module's number and the site's
    place in what it puts out. Raises ConfigError for a neuron that the model does not have."""
    single_masks = [mask for group in masks for mask in masks_of(group)]
    used = sorted({str(site) for mask in single_masks for site in np.unique(mask.site)} - {"act_fn"})
    by_site = {"act_fn": [Projection(module, 0, adapter.n_neurons) for module in adapter.activations]}
    by_site |= projections(adapter, used)
    for mask in single_masks:
        for site in map(str, np.unique(mask.site)):
            layer, neuron = mask.layer[mask.site == site], mask.neuron[mask.site == site]
            units = np.array(widths(by_site[site]))
            outside = (layer < 0) | (layer >= len(units)) | (neuron < 0)
            outside |= neuron >= np.where(outside, 0, units[np.where(outside, 0, layer)])
            if outside.any():
                at, sizes = int(outside.argmax()), " or ".join(map(str, np.unique(units)))
                raise ConfigError(
                    f"mask of {mask.culture!r}: layer {layer[at]}, neuron {neuron[at]} is outside the model "
                    f"({len(units)} layers of {sizes} neurons at {site}); was it made for another model?"
                )
    # A fused projection is one module, which holds several sites.
    layer_of = {p.module: layer for of_site in by_site.values() for layer, p in enumerate(of_site) if p is not None}
    number = {module: i for i, module in enumerate(layer_of)}
    places = {
        site: {layer: (number[p.module], p) for layer, p in enumerate(of_site) if p is not None}
        for site, of_site in by_site.items()
    }
    return list(layer_of), list(layer_of.values()), places


def _on_devices(
    masks: Sequence[NeuronMask],
    places: dict[str, dict[int, tuple[int, Projection]]],
    devices: Sequence[torch.device],
) -> dict[int, dict[int, tuple]]:
    """Number of the module -> number of the mask -> its neurons there, on the layer's device, and its factor."""
    result: dict[int, dict[int, tuple]] = {}
    for number, mask in enumerate(masks):
        for site in map(str, np.unique(mask.site)):
            for layer in map(int, np.unique(mask.layer[mask.site == site])):
                place, projection = places[site][layer]
                chosen = mask.neuron[(mask.site == site) & (mask.layer == layer)]
                neurons = projection.outputs()[torch.from_numpy(chosen)].to(devices[layer])
                of_place = result.setdefault(place, {})
                before = [of_place[number][0]] if number in of_place else []
                of_place[number] = torch.cat([*before, neurons]), mask.factor
    return result


@contextmanager
def ablate(model: nn.Module | Adapter, masks: Sequence[NeuronMask | OwnMasks]) -> Iterator[Ablation]:
    """Multiply what a mask's neurons put out by its factor, at every token (0: zero ablation, 2: twice).

    Use: `ablation.use(i)`, forward passes, `ablation.check()`; with `OwnMasks`, `ablation.ask(cultures)` before.
    Raises ConfigError for a mask that names a layer or a neuron that the model does not have.
    """
    adapter = model if isinstance(model, Adapter) else adapt(model)
    ablation = Ablation(adapter, masks)
    with _attached(ablation.taps, ablation._apply):
        yield ablation


@contextmanager
def _attached(
    taps: Sequence[Tap], react: Callable[[int, torch.Tensor], torch.Tensor | None]
) -> Iterator[None]:
    """Call `react(number, g)` at every tap; a tensor that it returns takes the place of g."""

    def hook(number: int) -> Callable[..., torch.Tensor | None]:
        return lambda module, args, output: react(number, output)

    def function_hook(number: int, function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., None]:
        return lambda module, args, output: react(number, function(output))

    def input_hook(number: int) -> Callable[..., Any]:
        def replace(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
            new = react(number, args[0])
            return None if new is None else (new, *args[1:])

        return replace

    with ExitStack() as hooks:
        for number, tap in enumerate(taps):
            if tap.at_input:
                hooks.enter_context(tap.module.register_forward_pre_hook(input_hook(number)))
            elif tap.function is not None:
                hooks.enter_context(tap.module.register_forward_hook(function_hook(number, tap.function)))
            else:
                hooks.enter_context(tap.module.register_forward_hook(hook(number)))
        yield


def _device(layer: nn.Module) -> torch.device:
    """Where a layer computes (weights offloaded by accelerate lie on "meta" until they are needed)."""
    device = next(layer.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device
