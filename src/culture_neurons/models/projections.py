"""The outputs of linear projections in decoder layers, by site: those of the MLP and those of the attention.

    gate_proj, up_proj        of the MLP, before the activation; a plain one has gate_proj, which its activation reads
    q_proj, k_proj, v_proj    of the attention, before normalisation and rotary embedding

Each layer has the sites that its structure has, so that a site may be in some layers only, and its width may differ
between them:

- The attention is the one module of a layer, outside its MLP, that holds a projection of queries, keys or values: by
  the names of single projections (q_proj, k_proj, v_proj) or of a fused one (`_FUSED`), whatever the module itself is
  called. Linear attention (Qwen3.5) has queries, keys and values too: what its convolution reads.
- Keys and values of a cross-attention (Mllama) are put out at positions of the image and not at tokens of the prompt:
  no site. Its queries are one.
- A layer that reads the keys and values of another one (Gemma 4) has no k_proj and no v_proj, one whose values are its
  keys no v_proj.
- The output gate that Qwen3.5 puts out beside each head's queries is no query.

A fused projection (gate and up in Phi-3 and GLM-4; q, k and v in Phi-3, GPT-2, GPT-NeoX) holds several sites in its
output: side by side, or in turns, head by head. `projection_checks` compares that with what the outputs do.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from culture_neurons.errors import ConfigError, ModelError, nearest
from culture_neurons.models.adapters import Adapter
from culture_neurons.types import PROJECTIONS

log = logging.getLogger("culture_neurons")
ATTENTION = ("q_proj", "k_proj", "v_proj")
#: Names of a fused projection of q, k and v, in this order; all queries come first, or those of a group of heads.
_FUSED = ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "in_proj_qkv")
#: What puts the heads' results back together.
_OUTPUT = ("o_proj", "out_proj", "dense", "c_proj")


@dataclass(frozen=True)
class Projection:
    """One site in one layer: units are the outputs `start` to `stop` of `module`; of `groups` stretches of `period`
    outputs each, where there are several, one stretch after the other."""

    module: nn.Module
    start: int
    stop: int
    groups: int = 1
    period: int = 0

    @property
    def width(self) -> int:
        return self.groups * (self.stop - self.start)

    def units(self, values: torch.Tensor) -> torch.Tensor:
        """The units of what the module puts out, [..., output] -> [..., unit]."""
        if self.groups == 1:
            return values[..., self.start : self.stop]
        return values.unflatten(-1, (self.groups, self.period))[..., self.start : self.stop].flatten(-2)

    def outputs(self) -> torch.Tensor:
        """Which output of the module each unit is, int64 [unit]."""
        return self.units(torch.arange(max(self.stop, self.groups * self.period)))


#: A site: its projection in each layer, None where a layer has none.
Site = tuple[Projection | None, ...]


def projections(adapter: Adapter, sites: Sequence[str]) -> dict[str, Site]:
    """Where the sites are: site -> one projection per layer, None for a layer without it.

    Raises ConfigError for an unknown site.
    """
    by_site = {}
    for site in sites:
        if site not in PROJECTIONS:
            raise ConfigError(f"unknown site {site!r}{nearest(site, PROJECTIONS)}; known: {', '.join(PROJECTIONS)}")
        find = _attention if site in ATTENTION else _mlp
        of_site = [find(adapter, layer, site) for layer in range(adapter.n_layers)]
        # One module in several layers (Zamba): their units can't be told apart.
        times = Counter(projection.module for projection in of_site if projection is not None)
        by_site[site] = tuple(p if p is not None and times[p.module] == 1 else None for p in of_site)
    return by_site


def widths(site: Site) -> list[int]:
    """How many units each layer has, 0 where it has none."""
    return [0 if projection is None else projection.width for projection in site]


def report_sites(name: str, by_site: Mapping[str, Site]) -> None:
    """Say in the log which sites some layers of model `name` do not have, and which no layer has.

    Raises ModelError for a model that has none of the sites.
    """
    n_layers = {site: sum(projection is not None for projection in of_site) for site, of_site in by_site.items()}
    nowhere = [site for site, n in n_layers.items() if not n]
    if nowhere and len(nowhere) == len(by_site):
        raise ModelError(
            f"model {name!r}: no layer has {' or '.join(nowhere)} by the structures that are known, so that nothing can"
            " be attributed; take the selectors by attribution (culnig-...) out of the config"
        )
    if nowhere:
        log.warning("%s: no layer has %s; the other sites are attributed", name, " or ".join(nowhere))
    for site, n in n_layers.items():
        if 0 < n < len(by_site[site]):
            log.info("%s: %d of %d layers have %s", name, n, len(by_site[site]), site)


def _mlp(adapter: Adapter, layer: int, site: str) -> Projection | None:
    gate, up, width = adapter.part(layer, "gate"), adapter.part(layer, "up"), adapter.widths[layer]
    if gate is None:  # routed experts have no modules of their own
        return None
    if adapter.layouts[layer].plain:
        return Projection(gate, 0, width) if site == "gate_proj" else None
    if up is not None:
        return Projection(gate if site == "gate_proj" else up, 0, width)
    second = (site == "up_proj") != adapter.up_first
    return Projection(gate, width * second, width * (1 + second))


def _attention(adapter: Adapter, layer: int, site: str) -> Projection | None:
    name, attention = find_attention(adapter, layer)
    if attention is None or (site != "q_proj" and _crosses(name)):
        return None
    module = _matrix(getattr(attention, site, None))
    if module is not None:
        return _beside_gate(attention, module) if site == "q_proj" else Projection(module, 0, n_outputs(module))
    fused = fused_name(attention)
    return _part(adapter.model_type, attention, fused, ATTENTION.index(site)) if fused else None


def _matrix(module: object) -> nn.Module | None:
    """A module that says its widths or has a weight, as it is; else the one inside it that does (Moshi's `linear`);
    None where there is none, or more than one."""
    if not isinstance(module, nn.Module):
        return None
    candidates = [m for m in module.modules() if any(hasattr(m, name) for name in ("out_features", "nf", "weight"))]
    return candidates[0] if candidates and (candidates[0] is module or len(candidates) == 1) else None


def find_attention(adapter: Adapter, layer: int) -> tuple[str, nn.Module | None]:
    """A layer's attention and its name in the layer; None where there is none, or more than one.

    Where there is a cross-attention beside another one, it is left out.
    """
    module = adapter.layers[layer]
    mlp = adapter.mlps[layer] if adapter.mlps else None
    # Some layers are their own MLP (OPT): their attention is no part of it.
    inside = set() if mlp is None or mlp is module else set(mlp.modules())
    holders = [
        (name, child)
        for name, child in module.named_modules()
        if child not in inside and any(isinstance(getattr(child, n, None), nn.Module) for n in (*ATTENTION, *_FUSED))
    ]
    if len(holders) > 1:
        holders = [(name, child) for name, child in holders if not _crosses(name)]
    return holders[0] if len(holders) == 1 else ("", None)


def fused_name(attention: nn.Module) -> str:
    """The name of the fused projection of q, k and v, "" where there is none."""
    return next((name for name in _FUSED if isinstance(getattr(attention, name, None), nn.Module)), "")


def _crosses(name: str) -> bool:
    return not {"cross", "encoder", "crossattention"}.isdisjoint(name.replace(".", "_").lower().split("_"))


def _beside_gate(attention: nn.Module, module: nn.Module) -> Projection:
    """Queries; where each head has an output gate of the same width behind them (Qwen3.5), without it."""
    width, head, result = n_outputs(module), _number(attention, "head_dim"), _result(attention)
    gated = result and head and width == 2 * result and hasattr(attention, "k_proj")
    return Projection(module, 0, head, width // (2 * head), 2 * head) if gated else Projection(module, 0, width)


def _part(model_type: str, attention: nn.Module, name: str, part: int) -> Projection | None:
    """Queries (0), keys (1) or values (2) in a fused projection; None where their sizes don't add up."""
    module = getattr(attention, name)
    width, n_groups = n_outputs(module), 1
    if name == "in_proj_qkv":  # of linear attention
        key, value = (_number(attention, name) for name in ("key_dim", "value_dim"))
        sizes = [key, key, value]
    else:
        heads = _number(attention, "num_heads", "num_attention_heads", "n_heads")
        head = _number(attention, "head_dim", "head_size")
        query = heads * head
        sizes = [query, (width - query) // 2, (width - query) // 2]
        in_turns = name == "query_key_value" or (name == "c_attn" and isinstance(module, nn.Linear))
        if model_type == "codegen":
            # Four stretches of queries, values and keys, each of a quarter of the heads.
            n_groups, part = 4, (0, 2, 1)[part]
        elif in_turns and head:
            n_groups = max(1, sizes[1] // head)  # heads of keys; with each go its queries
    if min(sizes) <= 0 or sum(sizes) != width or any(size % n_groups for size in sizes):
        return None
    ends = [sum(sizes[:i]) // n_groups for i in range(4)]
    return Projection(module, ends[part], ends[part + 1], n_groups, width // n_groups if n_groups > 1 else 0)


def _number(attention: nn.Module, *names: str) -> int:
    """The first of these settings that the attention or its configuration has, 0 for none."""
    for owner in (attention, getattr(attention, "config", None)):
        for name in names:
            value = getattr(owner, name, None)
            if isinstance(value, int):
                return value
    return 0


def _result(attention: nn.Module) -> int:
    """How many numbers all heads together give, 0 where that can't be told."""
    module = next((m for name in _OUTPUT if isinstance(m := getattr(attention, name, None), nn.Linear)), None)
    return int(module.in_features) if module is not None else 0


def n_outputs(module: nn.Module) -> int:
    """How many numbers a projection puts out; `nf` is what the Conv1D of GPT-2 calls it."""
    return int(getattr(module, "out_features", getattr(module, "nf", module.weight.shape[0])))
