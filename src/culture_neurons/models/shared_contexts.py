"""Whether a model takes several options behind one context as branches of one row (`option_rows`), and what it must be
told of tokens behind a context."""

from __future__ import annotations

import logging
from inspect import signature
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from culture_neurons import seeds
from culture_neurons.models.forward import forward, logits_at
from culture_neurons.models.loading import Loaded
from culture_neurons.models.option_rows import Continued, lay_out
from culture_neurons.models.option_scores import SUM, OptionReads, TextReader
from culture_neurons.models.positions import can_branch

log = logging.getLogger("culture_neurons")


@torch.inference_mode()
def shares_contexts(loaded: Loaded) -> bool:
    """Whether the options of a question may be branches of one row: a mask of our own reaches all layers, and gives
    what rows of their own give. Found once per model.

    Not for positions that no context alone can be asked for (`positions`), for attention that takes no such mask
    (FlashAttention), for layers that see part of a context alone or keep a state, nor where kinds of tokens say which
    see what lies behind them (PaliGemma, Gemma 3): a mask of our own would not.
    """
    if loaded.model not in _SHARES:
        _SHARES[loaded.model] = _takes_masks(loaded) and _same_apart(loaded)
        if not _SHARES[loaded.model]:
            log.info("%s: each option has a row of its own, with its context", loaded.name)
    return _SHARES[loaded.model]


_SHARES: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def _takes_masks(loaded: Loaded) -> bool:
    config = loaded.model.config.get_text_config()
    if not can_branch(loaded) or has_kinds(loaded):
        return False
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return kinds == {"full_attention"} and config._attn_implementation in ("eager", "sdpa")


def has_kinds(loaded: Loaded) -> bool:
    """Whether a model that sees images is told of each token which kind it has."""
    return loaded.image_token_id is not None and "token_type_ids" in signature(loaded.model.forward).parameters


@torch.inference_mode()
def kind_behind(loaded: Loaded) -> int:
    """The kind (`token_type_ids`) of tokens behind a context, which must not see what follows them: 0, or 1 for models
    in which those of kind 0 see each other in both directions (PaliGemma's prefix). Found once per model."""
    if not has_kinds(loaded):
        return 0
    if loaded.model not in _KINDS:
        ids = torch.tensor([[3, 4, 5], [3, 4, 6]], device=loaded.model.device)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        first = forward(loaded, inputs, keep=3).logits[:, -3]
        _KINDS[loaded.model] = int(not torch.equal(first[0], first[1]))
    return _KINDS[loaded.model]


_KINDS: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def _same_apart(loaded: Loaded) -> bool:
    """Whether two texts behind one context have, as branches, the log-probabilities of rows of their own; in half
    precision within 2 %: where a mask is not heeded they differ by more."""
    n = loaded.model.get_input_embeddings().weight.shape[0]
    ids = [int(i) for i in seeds.generator("branches").integers(0, min(n, 1000), 14)]
    context, texts = ids[:6], [ids[6:10], ids[10:14]]
    scores = []
    for continued in ([Continued(context, texts)], [Continued(context, [text]) for text in texts]):
        rows = lay_out(continued)
        inputs = {
            "input_ids": torch.from_numpy(rows.ids).to(loaded.model.device),
            "attention_mask": torch.ones(rows.ids.shape, dtype=torch.long, device=loaded.model.device),
        }
        if len(continued) == 1:
            inputs["branch"] = torch.from_numpy(rows.branch).to(loaded.model.device)
        span = np.arange(2)[None]
        reader = TextReader(OptionReads(rows.spans, span, None, np.ones_like(span), np.zeros(len(rows.ids)), SUM))
        try:
            scores.append(reader.scores(logits_at(loaded, inputs, reader.positions)))
        except (RuntimeError, TypeError, ValueError, AttributeError):
            return False
    return bool(torch.allclose(*scores, rtol=1e-4 if loaded.dtype == "float32" else 2e-2))
