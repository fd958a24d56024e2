"""The outputs of linear projections in every decoder layer, by site: those of the MLP and those of the attention.

    gate_proj, up_proj        of the MLP, before the activation; a plain one has gate_proj, which its activation reads
    q_proj, k_proj, v_proj    of the attention, before normalisation and rotary embedding

A fused projection (gate and up in Phi-3 and GLM-4; q, k and v in Phi-3) holds several sites side by side in its
output: a site then is a slice of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from culture_neurons.errors import ConfigError, ModelError, nearest
from culture_neurons.models.adapters import Adapter
from culture_neurons.types import PROJECTIONS

_ATTENTION = ("q_proj", "k_proj", "v_proj")
#: Names of a fused projection of q, k and v, in this order.
_FUSED = ("qkv_proj", "query_key_value")


@dataclass(frozen=True)
class Projection:
    """One site in one layer: units `start` to `stop` of what `module` puts out."""

    module: nn.Module
    start: int
    stop: int

    @property
    def width(self) -> int:
        return self.stop - self.start


def projections(adapter: Adapter, sites: Sequence[str]) -> dict[str, tuple[Projection, ...]]:
    """Where the sites are: site -> one projection per layer.

    Raises ConfigError for an unknown site, ModelError where a layer has no such projection, or widths differ between
    layers.
    """
    by_site = {}
    for site in sites:
        if site not in PROJECTIONS:
            raise ConfigError(f"unknown site {site!r}{nearest(site, PROJECTIONS)}; known: {', '.join(PROJECTIONS)}")
        find = _attention if site in _ATTENTION else _mlp
        by_site[site] = tuple(find(adapter, layer, site) for layer in range(adapter.n_layers))
        widths = sorted({projection.width for projection in by_site[site]})
        if len(widths) != 1:
            raise ModelError(f"{adapter.model_type}: {site} has different widths {widths}; expected one")
    return by_site


def _mlp(adapter: Adapter, layer: int, site: str) -> Projection:
    gate, up, width = adapter.part(layer, "gate"), adapter.part(layer, "up"), adapter.n_neurons
    if adapter.layouts[layer].plain:
        if site == "up_proj":
            raise ModelError(f"{adapter.model_type}: the MLP of layer {layer} is not gated, so it has no {site}; "
                             "leave the site out")  # fmt: skip
        return Projection(gate, 0, width)
    if up is not None:
        return Projection(gate if site == "gate_proj" else up, 0, width)
    second = (site == "up_proj") != adapter.up_first
    return Projection(gate, width * second, width * (1 + second))


def _attention(adapter: Adapter, layer: int, site: str) -> Projection:
    attention = getattr(adapter.layers[layer], "self_attn", None)
    module = getattr(attention, site, None)
    if isinstance(module, nn.Module):
        return Projection(module, 0, _width(module))
    fused = next((m for name in _FUSED if isinstance(m := getattr(attention, name, None), nn.Module)), None)
    if fused is None:
        raise ModelError(
            f"{adapter.model_type}: the attention of layer {layer} has no {site}, nor a fused projection"
            f" ({' or '.join(_FUSED)}); leave the site out"
        )
    config, head = attention.config, int(attention.head_dim)
    sizes = [head * int(n) for n in (config.num_attention_heads, *[config.num_key_value_heads] * 2)]
    if sum(sizes) != _width(fused):
        raise ModelError(f"{adapter.model_type}: layer {layer} puts q, k and v out as {_width(fused)}, not {sizes}")
    at = _ATTENTION.index(site)
    return Projection(fused, sum(sizes[:at]), sum(sizes[: at + 1]))


def _width(module: nn.Module) -> int:
    return int(getattr(module, "out_features", module.weight.shape[0]))
