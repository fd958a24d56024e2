"""Prompts of one batch that begin alike: what they share goes through the decoder once.

Questions about one image begin with the same tokens: the template's first words and the image, which is most of
the prompt. Attention looks back only, so hidden states of these tokens are the same for all of them, under every mask.
A batch is parted into prefixes, one row per image, and suffixes, one row per question, whose attention sees the
keys and values of their prefix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

#: Parting a batch costs some padding and smaller products: it has to save this share of the tokens.
_WORTH = 0.1


@dataclass(frozen=True)
class Shared:
    """How a batch of N prompts of T tokens, padded on the left, is parted.

    group           int64 [N]: the prefix of each prompt
    prefix_row      int64 [prefix]: a prompt that begins with it
    prefix_column   int64 [prefix, P]: where its tokens stand in that prompt
    prefix_valid    bool [prefix, P]: false for padding, on the left
    suffix_valid    bool [N, S]: the same for the last S columns of each prompt
    """

    group: torch.Tensor
    prefix_row: torch.Tensor
    prefix_column: torch.Tensor
    prefix_valid: torch.Tensor
    suffix_valid: torch.Tensor

    def prefix(self, values: torch.Tensor, axis: int) -> torch.Tensor:
        """The prefixes' part of `values` [..., N or 1, T, ...], whose prompts lie along `axis`."""
        rows = self.prefix_row if values.shape[axis] > 1 else torch.zeros_like(self.prefix_row)
        moved = values.movedim((axis, axis + 1), (0, 1))
        return moved[rows[:, None], self.prefix_column].movedim((0, 1), (axis, axis + 1))

    def suffix(self, values: torch.Tensor, axis: int) -> torch.Tensor:
        """The suffixes' part."""
        return values.narrow(axis + 1, values.shape[axis + 1] - self.suffix_valid.shape[1], self.suffix_valid.shape[1])

    def masks(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Which keys each query sees: bool [prefix, 1, P, P], and [N, 1, S, P + S] with the prefix first.

        Padding sees itself, since a query that sees nothing gives no number.
        """
        suffix = _causal(self.suffix_valid)
        before = self.prefix_valid[self.group][:, None, None, :].expand(-1, 1, suffix.shape[2], -1)
        return _causal(self.prefix_valid), torch.cat([before, suffix], dim=-1)

    def to(self, device: torch.device) -> Shared:
        """The same on another device."""
        return Shared(*(value.to(device) for value in vars(self).values()))


def part(ids: np.ndarray, valid: np.ndarray, same: Sequence[int]) -> Shared | None:
    """Part a batch by its common beginnings; None where that saves too little.

    ids    int [N, T], padded on the left
    valid  bool [N, T]: false for padding
    same   per prompt, the first prompt with the same image (itself where there is no other)
    """
    n, width = ids.shape
    length = valid.sum(axis=1)
    rows = sorted(set(same))
    members = {row: [i for i in range(n) if same[i] == row] for row in rows}
    common = {row: _common([ids[i, width - length[i] :] for i in members[row]]) for row in rows}
    suffixes = [length[i] - common[row] for row in rows for i in members[row] if len(members[row]) > 1]
    if not suffixes:
        return None
    # A prompt with an image of its own is parted too, where its suffix is no longer than the longest of the others.
    longest = int(max(suffixes))
    for row in rows:
        if len(members[row]) == 1:
            common[row] = max(0, int(length[row]) - longest)
    size = np.array([common[row] for row in rows])
    p, group = int(size.max()), np.array([rows.index(row) for row in same])
    s = int((length - size[group]).max())
    if len(rows) * p + n * s > (1 - _WORTH) * n * width:
        return None
    from_end = np.arange(p)[None, :] - p  # (1, P), -P .. -1
    columns = (width - length[rows])[:, None] + size[:, None] + from_end
    return Shared(
        group=torch.from_numpy(group),
        prefix_row=torch.tensor(rows),
        prefix_column=torch.from_numpy(columns.clip(0)),
        prefix_valid=torch.from_numpy(from_end >= -size[:, None]),
        suffix_valid=torch.from_numpy(np.arange(s)[None, :] >= s - (length - size[group])[:, None]),
    )


def looks_back_only(mask: torch.Tensor | None, valid: torch.Tensor) -> bool:
    """Whether an attention mask is the plain one: every token sees all valid ones up to itself.

    mask   what a layer was called with: None, bool, or numbers to add [N, 1, T, T]
    valid  bool [N, T]
    """
    if mask is None:
        return bool(valid.all())
    if mask.ndim != 4:
        return False
    sees = mask if mask.dtype == torch.bool else mask == 0
    expected = torch.ones(mask.shape[-2:], dtype=torch.bool, device=mask.device).tril() & valid[:, None, None, :]
    return bool(((sees == expected) | ~valid[:, None, :, None]).all())


def token_axis(values: Any, n: int, width: int) -> int | None:
    """The axis of the prompts in a tensor [..., N or 1, T, ...]; None where there is no such pair."""
    if not isinstance(values, torch.Tensor):
        return None
    shape = values.shape
    return next((i for i in range(values.ndim - 1) if shape[i + 1] == width and shape[i] in (n, 1)), None)


def selected(arguments: Mapping[str, Any], take: Any, n: int, width: int) -> dict[str, Any]:
    """Arguments of a layer for some of the tokens: `take(values, axis)` of every tensor that has prompts and tokens."""

    def of(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(of(item) for item in value)
        axis = token_axis(value, n, width)
        return value if axis is None else take(value, axis)

    return {key: value if key == "attention_mask" else of(value) for key, value in arguments.items()}


def _common(prompts: Sequence[np.ndarray]) -> int:
    """Length of the longest common beginning that leaves each prompt at least one token."""
    shortest = min(map(len, prompts))
    stacked = np.stack([prompt[:shortest] for prompt in prompts])
    different = np.flatnonzero((stacked != stacked[0]).any(axis=0))
    return int(min(different[0] if len(different) else shortest, shortest - 1))


def _causal(valid: torch.Tensor) -> torch.Tensor:
    n = valid.shape[1]
    triangle = torch.ones(n, n, dtype=torch.bool, device=valid.device).tril()
    return (triangle & valid[:, None, None, :]) | torch.eye(n, dtype=torch.bool, device=valid.device)
