"""Where the neurons of a loaded model are: its decoder layers and their gated MLPs.

A decoder layer is usable when its MLP is gated: down(act(gate x) * up x), with separate
gate and up projections (Llama, Mistral, Qwen) or one fused projection whose halves are
gate and up (Phi-3, GLM-4). The neurons of site `act_fn` are the outputs g of the activation.

A layer that holds more MLPs than that one is refused: mixtures of experts above all, also where a dense MLP stands
beside the experts, or where only some layers have any (`models.branches`).

Vision towers have MLPs too, so only the decoder is searched: for known model types its path
is written down; for others it is what the model itself calls its decoder. Every adapter is
checked against the numbers that the MLP computes before it is used.

To add a model type whose decoder is not found: one line in `DECODER_LAYERS`. To add an MLP
whose parts have other names: one line in `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from culture_neurons.errors import ModelError, nearest
from culture_neurons.models import branches

#: Model type (`config.model_type`) -> attribute path of the list of decoder layers.
DECODER_LAYERS = {
    "qwen2_5_vl": "model.language_model.layers",
    "llava_next": "model.language_model.layers",
}


@dataclass(frozen=True)
class Layout:
    """Attribute names of a gated MLP. `up` is "" when `gate` holds both projections."""

    gate: str
    up: str
    down: str


LAYOUTS = (
    Layout("gate_proj", "up_proj", "down_proj"),
    Layout("gate_up_proj", "", "down_proj"),
    Layout("w1", "w3", "w2"),
)
_ACTIVATIONS = ("act_fn", "activation_fn", "act")


@dataclass(frozen=True)
class Adapter:
    """The decoder of one model.

    model_type   `config.model_type`
    layers       decoder layers, input side first
    activations  the activation module of each layer's MLP, whose output is g
    n_neurons    neurons per layer (the MLP's intermediate width)
    mlps         the MLP of each layer
    attentions   the attention of each layer; None where it has another name than self_attn
    gated        how the parts of each layer's MLP are called
    up_first     whether the first half of a fused projection is up, and the second gate
    unseen       names of what layers hold beside attention and MLP, whose units are not looked at (Gemma 3n's laurel)
    """

    model_type: str
    layers: Sequence[nn.Module]
    activations: Sequence[nn.Module]
    n_neurons: int
    mlps: Sequence[nn.Module] = ()
    attentions: Sequence[nn.Module | None] = ()
    gated: Sequence[Layout] = ()
    up_first: bool = False
    unseen: Sequence[str] = ()

    @property
    def n_layers(self) -> int:
        return len(self.layers)


def adapt(model: nn.Module) -> Adapter:
    """Find and check the gated MLPs of a model's decoder.

    Raises ModelError, which says what was looked for, when there are none, when their widths
    differ, when an MLP computes something else than down(act(gate x) * up x), or when any layer
    has experts or a second MLP.
    """
    model_type = str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))
    layers = _decoder_layers(model, model_type)
    _refuse_experts(layers, model_type, branches.experts)
    gated_mlps = [_gated_mlp(layer, model_type, i) for i, layer in enumerate(layers)]
    for i, (layer, (mlp, _)) in enumerate(zip(layers, gated_mlps, strict=True)):
        if further := branches.further_mlp(layer, mlp, lambda module: _layout(module) is not None):
            raise ModelError(
                f"model type {model_type!r}: layer {i} has a second gated MLP ({further}) beside mlp; "
                "only models with one MLP per layer can be analysed"
            )
    activations = [_activation(mlp, model_type, i) for i, (mlp, _) in enumerate(gated_mlps)]
    if len({id(a) for a in activations}) != len(activations):
        raise ModelError(f"{model_type}: several layers share one activation module, so they can't be told apart")
    widths = {_width(mlp, layout) for mlp, layout in gated_mlps}
    if len(widths) != 1:
        raise ModelError(f"{model_type}: MLPs have different widths {sorted(widths)}; expected one")
    # Every layer: some models compute something else in a few of them (Gemma 3n's sparse ones).
    halves = [_check(*gated_mlps[i], activations[i], model_type, i) for i in range(len(layers))]
    up_first = {half for half in halves if half is not None} or {False}
    if len(up_first) != 1:
        raise _unknown(model_type, "the halves of its fused projection change places between layers")
    return Adapter(
        model_type,
        tuple(layers),
        tuple(activations),
        widths.pop(),
        mlps=tuple(mlp for mlp, _ in gated_mlps),
        attentions=tuple(_attention(layer) for layer in layers),
        gated=tuple(layout for _, layout in gated_mlps),
        up_first=up_first.pop(),
        unseen=tuple(
            dict.fromkeys(
                name
                for layer, (mlp, _) in zip(layers, gated_mlps, strict=True)
                for name in branches.unknown_matrices(layer, mlp)
            )
        ),
    )


def _unknown(model_type: str, why: str) -> ModelError:
    return ModelError(
        f"model type {model_type!r}{nearest(model_type, DECODER_LAYERS)}: {why}\n"
        f"known: {', '.join(sorted(DECODER_LAYERS))}, and any decoder whose layers have a gated MLP "
        f"({' or '.join('/'.join(filter(None, (x.gate, x.up, x.down))) for x in LAYOUTS)}); "
        "to add one, see models/adapters.py"
    )


def _refuse_experts(layers: Sequence[nn.Module], model_type: str, look: Callable[[nn.Module], str]) -> None:
    for i, layer in enumerate(layers):
        if sign := look(layer):
            raise ModelError(
                f"model type {model_type!r}: layer {i} holds experts: {sign}\n"
                "a mixture of experts can't be analysed; expected one dense gated MLP in every layer"
            )


def _attention(layer: nn.Module) -> nn.Module | None:
    module = getattr(layer, "self_attn", None)
    return module if isinstance(module, nn.Module) else None


def _decoder_layers(model: nn.Module, model_type: str) -> nn.ModuleList:
    path = DECODER_LAYERS.get(model_type)
    if path is not None:
        module: object = model
        for name in path.split("."):
            module = getattr(module, name, None)
        if isinstance(module, nn.ModuleList) and len(module):
            return module
        raise _unknown(model_type, f"it has no list of layers at {path}")
    get_decoder = getattr(model, "get_decoder", None)
    decoder = get_decoder() if callable(get_decoder) else model
    lists = [(name, child) for name, child in decoder.named_modules() if isinstance(child, nn.ModuleList) and child]
    gated = [(name, child) for name, child in lists if all(_layout(getattr(c, "mlp", None)) for c in child)]
    if len(gated) == 1:
        return gated[0][1]
    for _, child in lists:
        _refuse_experts(child, model_type, branches.named_experts)
    if gated:
        raise _unknown(model_type, f"several lists of layers have gated MLPs ({', '.join(n for n, _ in gated)})")
    raise _unknown(model_type, "its decoder has no list of layers with gated MLPs")


def _layout(mlp: nn.Module | None) -> Layout | None:
    """The layout whose named parts are all there as modules with a weight."""
    for layout in LAYOUTS:
        projections = [getattr(mlp, name, None) for name in (layout.gate, layout.up, layout.down) if name]
        if all(isinstance(projection, nn.Module) and hasattr(projection, "weight") for projection in projections):
            return layout
    return None


def _gated_mlp(layer: nn.Module, model_type: str, index: int) -> tuple[nn.Module, Layout]:
    mlp = getattr(layer, "mlp", None)
    layout = _layout(mlp)
    if mlp is None or layout is None:
        children = ", ".join(name for name, _ in (mlp or layer).named_children())
        raise _unknown(model_type, f"the MLP of layer {index} is not gated (its parts: {children or 'none'})")
    return mlp, layout


def _activation(mlp: nn.Module, model_type: str, index: int) -> nn.Module:
    for name in _ACTIVATIONS:
        module = getattr(mlp, name, None)
        if isinstance(module, nn.Module):
            return module
    raise _unknown(model_type, f"the MLP of layer {index} has no activation module ({' or '.join(_ACTIVATIONS)})")


def _width(mlp: nn.Module, layout: Layout) -> int:
    """The intermediate width: what the down projection reads."""
    down = getattr(mlp, layout.down)
    return int(getattr(down, "in_features", down.weight.shape[-1]))


@torch.no_grad()
def _check(mlp: nn.Module, layout: Layout, activation: nn.Module, model_type: str, index: int) -> bool | None:
    """Run one MLP on random input: its activation must give act(gate x), and its output down(g * up x).

    Returns whether a fused projection has up in its first half; None where the weights are not here to be run.
    """
    gate_up = getattr(mlp, layout.gate)
    weight = gate_up.weight
    if weight.device.type == "meta":  # offloaded to disk: accelerate brings it in during a forward pass only
        return None
    width = _width(mlp, layout)
    hidden = int(getattr(gate_up, "in_features", weight.shape[-1]))
    dtype = weight.dtype if weight.dtype.is_floating_point else torch.float32
    if dtype.itemsize == 1:  # float8 weights compute in a wider type
        dtype = torch.bfloat16
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, hidden, generator=generator).to(weight.device, dtype)
    seen: list[torch.Tensor] = []
    with activation.register_forward_hook(lambda module, args, output: seen.append(output)):
        output = mlp(x)
    if len(seen) != 1 or seen[0].shape[-1] != width:
        raise _unknown(model_type, f"the activation of layer {index} ran {len(seen)} times, or not on {width} neurons")
    up_first = False
    if layout.up:
        gate, up = gate_up(x), getattr(mlp, layout.up)(x)
    else:
        gate, up = gate_up(x).chunk(2, dim=-1)
        up_first = not _close(seen[0], activation(gate))
        if up_first:
            gate, up = up, gate
    g = activation(gate)
    if not (_close(seen[0], g) and _close(output, getattr(mlp, layout.down)(g * up))):
        raise _unknown(model_type, f"the MLP of layer {index} does not compute down(act(gate x) * up x)")
    return up_first


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two results agree to 1e-4 of their scale (half precision: 5e-2)."""
    tolerance = 1e-4 if a.dtype in (torch.float32, torch.float64) else 5e-2
    scale = b.float().abs().max().clamp_min(1e-6)
    return a.shape == b.shape and bool(((a.float() - b.float()).abs().max() / scale) <= tolerance)
