"""One forward pass of a model, as every step of this package runs it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.files import first_line
from culture_neurons.models import option_rows
from culture_neurons.models.loading import Loaded
from culture_neurons.models.positions import branch_positions, rope_index
from culture_neurons.models.readings import LAST, Positions


def forward(loaded: Loaded, inputs: Mapping[str, torch.Tensor], keep: int = 1) -> Any:
    """One forward pass without a cache, logits at the last `keep` positions only.

    Positions count from a sample's first token, so that padding on the left shifts nothing; models with positions of
    three axes (Qwen's) compute them. Where texts branch off a context (`option_rows`), each
    branch goes on from the context's last position and sees nothing of the others.
    """
    more: dict[str, Any] = {}
    if "logits_to_keep" in inspect.signature(loaded.model.forward).parameters:
        more["logits_to_keep"] = keep
    given = dict(inputs)
    branch, segment = given.pop("branch", None), given.pop("segment", None)
    if branch is not None:
        sees = option_rows.branch_mask(branch, segment)
        dtype = loaded.model.dtype
        given["attention_mask"] = torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(
            ~sees, torch.finfo(dtype).min
        )
        more["position_ids"] = branch_positions(loaded, inputs, branch, segment)
    elif rope_index(loaded) is None:
        more["position_ids"] = (given["attention_mask"].long().cumsum(dim=-1) - 1).clamp_min(0)
    with naming_image_tokens(loaded):
        return loaded.model(**given, **more, use_cache=False)


@contextmanager
def naming_image_tokens(loaded: Loaded) -> Iterator[None]:
    """Inside, a model that is given another number of image tokens than its tower has features raises ModelError."""
    try:
        yield
    except ValueError as error:
        if "image features and image tokens do not match" not in str(error).lower():
            raise
        raise ModelError(
            f"model {loaded.name!r}: its processor writes other image tokens than its vision tower has features for "
            f"({first_line(error)}); expected all settings of the processor, such as patch_size and "
            "num_additional_image_tokens, in its folder or under processor in its stanza"
        ) from None


def logits_at(loaded: Loaded, inputs: Mapping[str, torch.Tensor], positions: Positions = LAST) -> torch.Tensor:
    """Logits of one forward pass: [row, position, vocabulary] at the last positions, or [1, place, vocabulary] at the
    places that are wanted: the model's head is given these alone.

    Raises ModelError for a model whose head is no module, or not called as one.
    """
    keep, places = positions.keep, positions.places
    if places is None:
        return forward(loaded, inputs, keep).logits[:, -keep:]
    head = loaded.model.get_output_embeddings()
    calls = 0

    def at_places(_: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        nonlocal calls
        calls += 1
        hidden, *others = args
        row, position = places.to(hidden.device)
        return hidden[row, hidden.shape[1] - position][None], *others

    with head.register_forward_pre_hook(at_places) if head is not None else nullcontext():
        result = forward(loaded, inputs, keep).logits
    if calls != 1:
        raise ModelError(f"model {loaded.name!r}: its head ran {calls} times; expected once, to read texts of options")
    return result
