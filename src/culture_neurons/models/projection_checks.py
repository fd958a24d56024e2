"""Whether the outputs of a fused projection are the queries, keys and values that they are taken for.

`projections` reads from names and sizes how a fused projection is laid out. What its outputs do tells them apart: of
two tokens, where o_s is what the attention gives at token s, and a_t what the projection puts out at token t,

    a query   changes neither o_0 (one token attends to itself alone, whatever its score) nor, from token 0, o_1;
    a key     changes o_1 from token 0, and not o_0;
    a value   changes both,

and an output gate, which stands beside queries in some projections, changes o_0. One pass and a few gradients of it
show all layers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import nn

from culture_neurons.models.loading import Loaded
from culture_neurons.models.projections import ATTENTION, Projection, Site, find_attention, n_outputs, projections

log = logging.getLogger("culture_neurons")


def find_sites(loaded: Loaded, sites: Sequence[str]) -> dict[str, Site]:
    """Where the sites are, as `projections.projections` finds them, without the queries, keys and values of layers
    whose fused projection is laid out in another way: a line in the log says so.

    Raises ConfigError for an unknown site.
    """
    by_site = projections(loaded.adapter, sites)
    if not set(ATTENTION) & set(by_site):
        return by_site
    parts = projections(loaded.adapter, ATTENTION)
    by_layer = [{site: of_site[i] for site, of_site in parts.items()} for i in range(loaded.adapter.n_layers)]
    strange = _strange(loaded, by_layer)
    if strange:
        log.warning(
            "%s: in %d of %d layers, queries, keys and values are not where such an attention has them in other models;"
            " they are left out there", loaded.name, len(strange), len(by_layer),
        )  # fmt: skip
    return {
        site: tuple(None if site in ATTENTION and i in strange else p for i, p in enumerate(of_site))
        for site, of_site in by_site.items()
    }


def _strange(loaded: Loaded, by_layer: Sequence[dict[str, Projection | None]]) -> list[int]:
    """Layers in which a part of a projection's outputs is a site that does not act as one."""
    doubtful = {}
    for layer, sites in enumerate(by_layer):
        parts = {site: p for site, p in sites.items() if p is not None and p.width < n_outputs(p.module)}
        attention = find_attention(loaded.adapter, layer)[1]
        # What linear attention gives at its first token depends on its query and its key, too.
        if parts and attention is not None and not hasattr(attention, "conv1d"):
            doubtful[layer] = parts, attention
    if not doubtful:
        return []
    outputs: dict[int, torch.Tensor] = {}
    leaves: dict[int, torch.Tensor] = {}

    def cut(layer: int, module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
        leaves[layer] = output.detach().requires_grad_()
        return leaves[layer]

    def keep(layer: int, module: nn.Module, args: tuple, output: torch.Tensor | tuple) -> None:
        outputs[layer] = output[0] if isinstance(output, tuple) else output

    with ExitStack() as hooks, torch.enable_grad():
        for layer, (parts, attention) in doubtful.items():
            module = next(iter(parts.values())).module
            hooks.enter_context(module.register_forward_hook(partial(cut, layer)))
            hooks.enter_context(attention.register_forward_hook(partial(keep, layer)))
        ids = torch.tensor([[i for i in range(3, 6) if i != loaded.image_token_id][:2]], device=loaded.model.device)
        loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        return [
            layer
            for layer, (parts, _) in doubtful.items()
            if layer not in outputs or not _act_as_said(parts, outputs[layer], leaves[layer])
        ]


def _act_as_said(parts: dict[str, Projection], output: torch.Tensor, leaf: torch.Tensor) -> bool:
    """Whether queries and keys of two tokens do what they should; then values, which are what is left, do too.

    output   [1, 2, hidden] of the attention; leaf [1, 2, output of the projection], from which it was made
    """
    direction = torch.randn(output.shape[-1], generator=torch.Generator().manual_seed(0)).to(output)
    effect = {}
    for token in (0, 1):
        (gradient,) = torch.autograd.grad((output[0, token] * direction).sum(), leaf, retain_graph=True)
        effect[token] = gradient[0].float().abs()  # [token of the leaf, output]
    tolerance = 1e-2 if leaf.dtype in (torch.float32, torch.float64) else 1e-1

    def mean(site: str, at: int, token: int) -> float:
        return float(parts[site].units(effect[at][token]).mean())

    good = True
    if "q_proj" in parts:
        good &= max(mean("q_proj", 0, 0), mean("q_proj", 1, 0)) < tolerance * mean("q_proj", 1, 1)
    if "k_proj" in parts:
        good &= mean("k_proj", 0, 0) < tolerance * mean("k_proj", 1, 0)
    return good
