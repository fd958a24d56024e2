"""Recording and ablating neurons of an unmodified model, through forward hooks.

Hooks attach on entry and detach on exit, also after an error: the model is left as it was.
A forward pass in which a hook did not run exactly once per layer is an error, because a
silent hook would give plausible numbers that mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models.adapters import Adapter, adapt
from culture_neurons.types import NeuronMask


class Recorder:
    """Sums of one forward pass at a time; see `record`."""

    def __init__(self, n_layers: int) -> None:
        self._n_layers = n_layers
        self._weights: torch.Tensor | None = None
        self._sums: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def start(self, weights: torch.Tensor) -> None:
        """Announce a forward pass: `weights` bool [batch, token], true where a token counts."""
        self._weights = weights
        self._sums = {}

    def _add(self, layer: int, g: torch.Tensor) -> None:
        if self._weights is None:
            raise ModelError("a forward pass ran without Recorder.start")
        if layer in self._sums:
            raise ModelError(f"the activation of layer {layer} ran twice in one forward pass")
        if g.shape[:2] != self._weights.shape:
            raise ModelError(
                f"layer {layer}: activations of shape {tuple(g.shape)} for token weights "
                f"{tuple(self._weights.shape)}; expected [batch, token, neuron]"
            )
        weights = self._weights.to(g.device, non_blocking=True)
        fired = torch.empty((g.shape[0], g.shape[2]), dtype=torch.int32, device=g.device)
        positive_sum = torch.empty((g.shape[0], g.shape[2]), dtype=torch.float32, device=g.device)
        # One sample at a time, so that the float32 copy is [token, neuron], never the whole batch.
        for b in range(g.shape[0]):
            positive = torch.where(weights[b, :, None], g[b].float(), 0.0).clamp_min_(0.0)
            positive_sum[b] = positive.sum(dim=0)
            fired[b] = (positive > 0).sum(dim=0)
        self._sums[layer] = fired, positive_sum

    def collect(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """T int64 [sample], K int32 and S float32 [sample, layer, neuron] of the last forward pass.

        Raises ModelError when the hook of a layer did not run.
        """
        silent = [layer for layer in range(self._n_layers) if layer not in self._sums]
        if silent or self._weights is None:
            raise ModelError(f"no activations came from layers {silent}: the model bypasses its activation modules")
        fired = torch.stack([self._sums[i][0].cpu() for i in range(self._n_layers)], dim=1)
        positive_sum = torch.stack([self._sums[i][1].cpu() for i in range(self._n_layers)], dim=1)
        tokens = self._weights.sum(dim=1).cpu()
        self._weights, self._sums = None, {}
        return tokens.numpy(), fired.numpy(), positive_sum.numpy()


@contextmanager
def record(model: nn.Module | Adapter) -> Iterator[Recorder]:
    """Record K and S of g at every decoder layer.

    Use: `recorder.start(weights)`, one forward pass, `recorder.collect()`; as often as needed.
    A float16 or bfloat16 g is summed in float32.
    """
    adapter = model if isinstance(model, Adapter) else adapt(model)
    recorder = Recorder(adapter.n_layers)
    with _attached(adapter, recorder._add):
        yield recorder


class Ablation:
    """Which mask is in force; see `ablate`."""

    def __init__(self, adapter: Adapter, masks: Sequence[NeuronMask], factor: float) -> None:
        self._masks = masks
        self._factor = factor
        self._shape = adapter.n_layers, adapter.n_neurons
        self._devices = [_device(layer) for layer in adapter.layers]
        self._gain: dict[int, torch.Tensor] = {}
        self._runs = np.zeros(adapter.n_layers, dtype=np.int64)

    def use(self, index: int | None) -> None:
        """Put mask `index` in force from the next forward pass on; None: the model as it is."""
        self._gain = {}
        self._runs[:] = 0
        if index is None:
            return
        mask = self._masks[index]
        for layer in np.unique(mask.layer):
            gain = torch.ones(self._shape[1])
            gain[torch.from_numpy(mask.neuron[mask.layer == layer])] = self._factor
            self._gain[int(layer)] = gain.to(self._devices[layer])

    def check(self) -> None:
        """Raise ModelError unless every layer's hook ran since `use`, each equally often."""
        if len(set(self._runs)) != 1 or not self._runs[0]:
            raise ModelError(f"hooks ran {self._runs.tolist()} times per layer: the mask was not applied throughout")

    def _apply(self, layer: int, g: torch.Tensor) -> torch.Tensor | None:
        self._runs[layer] += 1
        gain = self._gain.get(layer)
        return None if gain is None else g * gain.to(g.device, g.dtype)


@contextmanager
def ablate(model: nn.Module | Adapter, masks: Sequence[NeuronMask], factor: float = 0.0) -> Iterator[Ablation]:
    """Multiply g by `factor` on the neurons of a mask, at every token (0: zero ablation).

    Use: `ablation.use(i)`, forward passes, `ablation.check()`. Raises ConfigError for a mask
    that names a layer or a neuron that the model does not have.
    """
    adapter = model if isinstance(model, Adapter) else adapt(model)
    for mask in masks:
        if len(mask) and (
            mask.layer.min() < 0
            or mask.layer.max() >= adapter.n_layers
            or mask.neuron.min() < 0
            or mask.neuron.max() >= adapter.n_neurons
        ):
            raise ConfigError(
                f"mask of {mask.culture!r}: layer {mask.layer.max()}, neuron {mask.neuron.max()} is outside the "
                f"model ({adapter.n_layers} layers of {adapter.n_neurons} neurons); was it made for another model?"
            )
    ablation = Ablation(adapter, masks, factor)
    with _attached(adapter, ablation._apply):
        yield ablation


@contextmanager
def _attached(adapter: Adapter, react: Callable[[int, torch.Tensor], torch.Tensor | None]) -> Iterator[None]:
    """Call `react(layer, g)` at every layer's activation; a tensor that it returns takes the place of g."""

    def hook(layer: int) -> Callable[..., torch.Tensor | None]:
        return lambda module, args, output: react(layer, output)

    handles = []
    try:
        for layer, activation in enumerate(adapter.activations):
            handles.append(activation.register_forward_hook(hook(layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _device(layer: nn.Module) -> torch.device:
    """Where a layer computes (weights offloaded by accelerate lie on "meta" until they are needed)."""
    device = next(layer.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device
