"""Positions of tokens in rows whose texts branch off a context (`option_rows`).

Most models count tokens. Qwen's that see images have positions of three axes (time, height, width): the tokens of an
image lie in a grid, and text behind it goes on, on all axes, behind the largest position. That is computed by a method
of the model, `get_rope_index`, which also says by how much the position of what follows is ahead of its number; with
this the model itself goes on when it writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import torch

from culture_neurons.models.loading import Loaded
from culture_neurons.models.option_rows import CONTEXT, places

#: What `get_rope_index` must take, so that it can be asked for a context alone.
_NEEDED = {"input_ids", "attention_mask", "mm_token_type_ids"}

RopeIndex = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def rope_index(loaded: Loaded) -> RopeIndex | None:
    """The model's own method for positions of three axes; None for a model that counts tokens."""
    return getattr(getattr(loaded.model, "model", loaded.model), "get_rope_index", None)


def can_branch(loaded: Loaded) -> bool:
    """Whether `branch_positions` knows the positions of such rows."""
    compute = rope_index(loaded)
    return compute is None or inspect.signature(compute).parameters.keys() >= _NEEDED


def branch_positions(
    loaded: Loaded, inputs: Mapping[str, torch.Tensor], branch: torch.Tensor, segment: torch.Tensor | None = None
) -> torch.Tensor:
    """Positions of tokens, int64 [row, token], or [axis, row, token] of a model with three; 0 in padding.

    inputs   what else the model is given of these rows
    branch   int64 [row, token], of `option_rows.Rows`
    segment  int64 [row, token], see `option_rows.places`
    """
    counted = places(branch, segment)
    compute = rope_index(loaded)
    if compute is None:
        return counted
    in_context = branch == CONTEXT
    known = inspect.signature(compute).parameters
    given = {name: value for name, value in inputs.items() if name in known}
    given["attention_mask"] = in_context.long()
    given.setdefault("mm_token_type_ids", torch.zeros_like(branch))
    positions, ahead = compute(**given)  # [axis, row, token], [row, 1]
    return torch.where(branch > CONTEXT, counted + ahead, positions)
