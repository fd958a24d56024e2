"""Gradient times activation: how much each unit of a projection holds up the right answer.

Source: Yamamoto et al. 2026, "Neuron-Level Analysis of Cultural Understanding in LLMs" (CULNIG), arXiv 2510.08284.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models import finite
from culture_neurons.models.forward import forward
from culture_neurons.models.inference import on_device, right_answer
from culture_neurons.models.inputs import Batch
from culture_neurons.models.loading import Loaded
from culture_neurons.models.projections import Projection, projections


class Attributor:
    """Gradients of one pass at a time; see `attributor`."""

    def __init__(self, sites: Mapping[str, Sequence[Projection]], n_layers: int) -> None:
        self._sites, self._n_layers = sites, n_layers
        self._left_out: torch.Tensor | None = None
        self._scores: dict[tuple[str, int], torch.Tensor] = {}
        self._entrance: torch.Tensor | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """By site, layers and units."""
        return {site: (len(of_site), of_site[0].width) for site, of_site in self._sites.items()}

    def start(self, counts: torch.Tensor) -> None:
        """Announce a pass: `counts` bool [batch, token], true for the tokens of the sample itself."""
        self._left_out, self._scores, self._entrance = ~counts, {}, None

    def collect(
        self, probability: torch.Tensor, rows_of: Sequence[Sequence[int]] | None = None
    ) -> dict[str, torch.Tensor]:
        """Go back from P(y) [sample]; by site P(y) max_t [a_t dP(y)/da_t], [sample, layer, unit], on the device of P.

        rows_of  the rows of each sample; None: rows are samples

        Raises ModelError when the hook of a layer did not run.
        """
        if self._entrance is None:
            raise ModelError("the decoder's first layer did not run: no gradient can reach the projections")
        # Samples do not meet in a forward pass: the gradient of the sum is that of each sample's own probability.
        probability.sum().backward(inputs=[self._entrance])
        silent = [key for site in self._sites for key in ((site, i) for i in range(self._n_layers))
                  if key not in self._scores]  # fmt: skip
        if silent:
            site, layer = silent[0]
            raise ModelError(f"no gradient came from {site} of layer {layer}: the model goes past this module")
        weight = probability.detach()[:, None, None]

        def of_samples(site: str) -> torch.Tensor:
            by_layer = [self._scores[site, i].to(weight.device, weight.dtype) for i in range(self._n_layers)]
            scores = torch.stack(by_layer, dim=1)
            if rows_of is None:
                return scores
            return torch.stack([scores[rows].amax(dim=0) for rows in rows_of])

        attributions = {site: weight * of_samples(site) for site in self._sites}
        self._left_out, self._scores, self._entrance = None, {}, None
        return attributions

    def _enter(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Gradients begin before the first layer: neither embeddings nor the vision tower are gone back through."""
        states = (args[0] if args else kwargs["hidden_states"]).detach().requires_grad_()
        self._entrance = states
        return ((states, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": states})

    def _watch(
        self, watched: Sequence[tuple[str, int, Projection]], module: nn.Module, args: tuple, output: torch.Tensor
    ):
        if output.requires_grad:  # not where `finite` looks for a layer
            output.register_hook(partial(self._score, watched, output.detach()))

    def _score(self, watched: Sequence[tuple[str, int, Projection]], a: torch.Tensor, gradient: torch.Tensor) -> None:
        """max over a sample's own tokens of a da, [batch, unit], as soon as the gradient is there."""
        if self._left_out is None or a.shape[:2] != self._left_out.shape:
            raise ModelError(
                f"a projection put out {tuple(a.shape)}; expected [batch, token, unit] of announced tokens"
            )
        left_out = self._left_out.to(a.device)[:, :, None]
        wide = torch.promote_types(a.dtype, torch.float32)
        for site, layer, projection in watched:
            units = slice(projection.start, projection.stop)
            product = a[..., units].to(wide) * gradient[..., units]
            self._scores[site, layer] = product.masked_fill_(left_out, -torch.inf).amax(dim=1)


@contextmanager
def attributor(loaded: Loaded, sites: Sequence[str]) -> Iterator[Attributor]:
    """Hooks on the model for as long as batches are attributed; see `projections.projections` for what is raised."""
    adapter = loaded.adapter
    where = projections(adapter, sites)
    result = Attributor(where, adapter.n_layers)
    # A fused projection is watched once, for all sites that it holds.
    by_module: dict[nn.Module, list[tuple[str, int, Projection]]] = {}
    for site, of_site in where.items():
        for layer, projection in enumerate(of_site):
            by_module.setdefault(projection.module, []).append((site, layer, projection))
    with ExitStack() as hooks:
        hooks.enter_context(adapter.layers[0].register_forward_pre_hook(result._enter, with_kwargs=True))
        for module, watched in by_module.items():
            hooks.enter_context(module.register_forward_hook(partial(result._watch, watched)))
        yield result


def attribute(loaded: Loaded, batch: Batch, hooks: Attributor) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """P(y) float [sample] and, by site, the attribution of every unit, float [sample, layer, unit] (float64 of a model
    in float64, else float32):

        s_u = P(y) max_t [a_{u,t} dP(y) / da_{u,t}],

    with y the right option and P(y) its probability (`inference.right_answer`), a_{u,t} what unit u puts out at token
    t, and the maximum over the sample's own tokens, those of its options' texts too: padding and neutral contexts are
    no part of it. The weights must need no gradient (`loading.load` sees to it).

    Raises ModelError, naming the sample, for attributions that are not finite.
    """
    counts, rows_of = batch.inputs["attention_mask"].bool(), None
    if batch.reads is not None:
        question = batch.reads.question
        counts = counts & torch.from_numpy(question >= 0)[:, None]
        rows_of = [np.flatnonzero(question == q).tolist() for q in range(len(batch.questions))]
    hooks.start(counts)
    with torch.enable_grad():
        probability = right_answer(loaded, batch).exp()
        attributions = hooks.collect(probability, rows_of)
    values = {site: scores.cpu().numpy() for site, scores in attributions.items()}
    good = np.all([np.isfinite(v).all(axis=(1, 2)) for v in values.values()], axis=0)
    if not good.all():
        with torch.inference_mode():
            raise finite.nonfinite_error(
                loaded,
                batch,
                int((~good).argmax()),
                "the attributions",
                lambda: forward(loaded, on_device(loaded, batch)),
            )
    return probability.detach().cpu().numpy(), values
