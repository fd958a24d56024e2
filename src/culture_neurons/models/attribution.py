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
from culture_neurons.models.projection_checks import find_sites
from culture_neurons.models.projections import Projection, Site, widths


class Attributor:
    """Gradients of one pass at a time; see `attributor`."""

    def __init__(self, sites: Mapping[str, Site], numbers: Sequence[int] = ()) -> None:
        """numbers   of layers, in the decoder, for messages; () where all of its layers are counted"""
        self._numbers = numbers
        self._widths = {site: widths(of_site) for site, of_site in sites.items()}
        #: By site, bool [layer, unit]: whether the layer has such a unit.
        self.present = {site: np.isfinite(zero) for site, zero in self.zeros().items()}
        self._left_out: torch.Tensor | None = None
        self._scores: dict[tuple[str, int], torch.Tensor] = {}
        self._entrance: torch.Tensor | None = None
        self._ran: set[int] = set()

    def zeros(self, *first: int) -> dict[str, np.ndarray]:
        """By site, float64 [*first, layer, unit] of zeros; NaN where a layer has no such unit."""
        result = {}
        for site, by_layer in self._widths.items():
            result[site] = np.zeros((*first, len(by_layer), max(by_layer, default=0)))
            for layer, width in enumerate(by_layer):
                result[site][..., layer, width:] = np.nan
        return result

    def start(self, counts: torch.Tensor) -> None:
        """Announce a pass: `counts` bool [batch, token], true for the tokens of the sample itself."""
        self._left_out, self._scores, self._entrance, self._ran = ~counts, {}, None, set()

    def collect(
        self, probability: torch.Tensor, rows_of: Sequence[Sequence[int]] | None = None
    ) -> dict[str, torch.Tensor]:
        """Go back from P(y) [sample]; by site P(y) max_t [a_t dP(y)/da_t], [sample, layer, unit], on the device of P.

        rows_of  the rows of each sample; None: rows are samples

        NaN where a layer has no such unit; 0 in a layer that the model skips (Mllama's cross-attention, without image).
        Raises ModelError when the hook of a layer that ran did not run.
        """
        if self._entrance is None:
            raise ModelError("the decoder's first layer did not run: no gradient can reach the projections")
        # Samples do not meet in a forward pass: the gradient of the sum is that of each sample's own probability.
        probability.sum().backward(inputs=[self._entrance])
        silent = [(site, layer) for site, by_layer in self._widths.items() for layer, width in enumerate(by_layer)
                  if width and layer in self._ran and (site, layer) not in self._scores]  # fmt: skip
        if silent:
            site, layer = silent[0]
            number = self._numbers[layer] if self._numbers else layer
            raise ModelError(f"no gradient came from {site} of layer {number}: the model goes past this module")
        weight = probability.detach()[:, None, None]
        n_rows = len(self._left_out) if self._left_out is not None else 0

        def of_layer(site: str, layer: int, width: int) -> torch.Tensor:
            scores = self._scores.get((site, layer))
            if scores is None:  # no such site, or the model skipped the layer
                scores = weight.new_zeros(n_rows, width)
            scores, lacking = scores.to(weight.device, weight.dtype), max(self._widths[site]) - width
            return nn.functional.pad(scores, (0, lacking), value=torch.nan) if lacking else scores

        def of_samples(site: str) -> torch.Tensor:
            scores = torch.stack([of_layer(site, i, width) for i, width in enumerate(self._widths[site])], dim=1)
            if rows_of is None:
                return scores
            return torch.stack([scores[rows].amax(dim=0) for rows in rows_of])

        attributions = {site: weight * of_samples(site) for site in self._widths}
        self._left_out, self._scores, self._entrance = None, {}, None
        return attributions

    def _enter(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Gradients begin before the first layer: neither embeddings nor the vision tower are gone back through."""
        states = (args[0] if args else kwargs["hidden_states"]).detach().requires_grad_()
        self._entrance = states
        return ((states, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": states})

    def _leave(self, module: nn.Module, args: tuple, output: torch.Tensor | tuple | list) -> None:
        """P does not depend on padding, so that no gradient enters the decoder there: neither one that is not finite,
        where states of padding are all zero (Gemma 3n takes the root of their length, whose slope is infinite)."""
        states = output[0] if isinstance(output, tuple | list) else output  # a list in GPT-1
        left_out = self._left_out
        if states.requires_grad and left_out is not None and states.shape[-3:-1] == left_out.shape:
            padding = left_out.to(states.device)[:, :, None]
            states.register_hook(lambda gradient: gradient.masked_fill(padding, 0))

    def _note(self, layer: int, module: nn.Module, args: tuple) -> None:
        self._ran.add(layer)

    def _watch(
        self, watched: Sequence[tuple[str, int, Projection]], module: nn.Module, args: tuple, output: torch.Tensor
    ):
        if output.requires_grad:  # not where `finite` looks for a layer
            output.register_hook(partial(self._score, watched, output.detach()))

    def _score(self, watched: Sequence[tuple[str, int, Projection]], a: torch.Tensor, gradient: torch.Tensor) -> None:
        """max over a sample's own tokens of a da, [batch, unit], as soon as the gradient is there."""
        if self._left_out is not None and a.ndim == 2 and len(a) == self._left_out.numel():  # of the MLP of OPT
            a, gradient = (values.view(*self._left_out.shape, -1) for values in (a, gradient))
        if self._left_out is None or a.shape[:2] != self._left_out.shape:
            raise ModelError(
                f"a projection put out {tuple(a.shape)}; expected [batch, token, unit] of announced tokens"
            )
        left_out = self._left_out.to(a.device)[:, :, None]
        wide = torch.promote_types(a.dtype, torch.float32)
        for site, layer, projection in watched:
            product = projection.units(a).to(wide) * projection.units(gradient)
            self._scores[site, layer] = product.masked_fill_(left_out, -torch.inf).amax(dim=1)


@contextmanager
def attributor(loaded: Loaded, sites: Sequence[str] | Mapping[str, Site]) -> Iterator[Attributor]:
    """Hooks on the model for as long as batches are attributed.

    sites   names; or what `projection_checks.find_sites` found, which else is looked for here and raises what it raises
    """
    adapter = loaded.adapter
    where = sites if isinstance(sites, Mapping) else find_sites(loaded, sites)
    result = Attributor(where, adapter.numbers)
    # A fused projection is watched once, for all sites that it holds.
    by_module: dict[nn.Module, list[tuple[str, int, Projection]]] = {}
    for site, of_site in where.items():
        for layer, projection in enumerate(of_site):
            if projection is not None:
                by_module.setdefault(projection.module, []).append((site, layer, projection))
    with ExitStack() as hooks:
        hooks.enter_context(adapter.layers[0].register_forward_pre_hook(result._enter, with_kwargs=True))
        last = (adapter.decoder_layers or adapter.layers)[-1]
        hooks.enter_context(last.register_forward_hook(result._leave))
        for layer, module in enumerate(adapter.layers):
            hooks.enter_context(module.register_forward_pre_hook(partial(result._note, layer)))
        for module, watched in by_module.items():
            hooks.enter_context(module.register_forward_hook(partial(result._watch, watched)))
        yield result


def attribute(loaded: Loaded, batch: Batch, hooks: Attributor) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """P(y) float [sample] and, by site, the attribution of every unit, float [sample, layer, unit] (float64 of a model
    in float64, else float32; NaN for a unit that its layer does not have):

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
    good = np.all([(np.isfinite(v) | ~hooks.present[site]).all(axis=(1, 2)) for site, v in values.items()], axis=0)
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
