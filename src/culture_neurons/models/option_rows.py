"""From questions whose options are texts to the rows of tokens that a model reads, and where each option is read off.

An option continues its context: one space lies between them, unless the context ends in a line feed. Its tokens are
those of context and option together, behind as many as the context has alone (as in lm-evaluation-harness, also where a
tokenizer merges at the seam). Spaces at the end of a context give way to that one space, or " Japan", one token for
many tokenizers, would be cut in two. Nothing is read behind an option's last token, so it is no input.

Several texts behind one context are branches of its row: a token sees the context and what lies before it in its own
branch, and its position goes on from the context's last one. So a context is computed once, and where all options are
of one token each, a row is the context alone.

    token     c1 c2 c3  a1 a2  b1          a2 sees c1 c2 c3 a1; b1 sees c1 c2 c3
    position   0  1  2   3  4   3

Models that can't take branches have a context and one text per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

#: In `Rows.branch`: padding, and the context that all branches see.
PADDING, CONTEXT = -1, 0


@dataclass(frozen=True)
class Continued:
    """One context and texts that continue it, as ids of tokens; each text has at least one."""

    context: Sequence[int]
    texts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Spans:
    """Where texts are read off the logits, int64 [text, token], padded behind a text's last token.

    row       of the batch
    position  that predicts the token, from the end: 1 is the last one
    token     its id, -1 in padding
    """

    row: np.ndarray
    position: np.ndarray
    token: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Rows of tokens, padded on the left.

    ids         int64 [row, token], 0 in padding
    branch      int64 [row, token]: PADDING, CONTEXT, or which text (from 1) a token is of
    spans       of all texts, in their order
    """

    ids: np.ndarray
    branch: np.ndarray
    spans: Spans


def without_last_spaces(context: str) -> str:
    """A context up to its last spaces, which belong to what continues it; a line feed is the context's own."""
    end = len(context)
    while end and context[end - 1].isspace() and context[end - 1] not in "\n\r":
        end -= 1
    return context[:end]


def continuation(space: str, context: str, text: str) -> str:
    """A text as it continues a context: behind `space`, unless there is white space already, or no context at all."""
    return text if not context or context[-1].isspace() or text[:1].isspace() else space + text


def lay_out(continued: Sequence[Continued], with_last_token: bool = False) -> Rows:
    """Put each context and its texts into a row; see the module.

    with_last_token  whether the last token of a text is an input too, though nothing is read behind it
    """
    rows: list[tuple[list[int], list[int]]] = []
    placed: list[tuple[int, list[int], Sequence[int]]] = []  # row, places in it that predict, tokens
    for one in continued:
        n = len(one.context)
        ids, branch = list(one.context), [CONTEXT] * n
        for number, text in enumerate(one.texts, 1):
            placed.append((len(rows), [n - 1, *range(len(ids), len(ids) + len(text) - 1)], text))
            read = text if with_last_token else text[:-1]
            ids += read
            branch += [number if len(one.texts) > 1 else CONTEXT] * len(read)
        rows.append((ids, branch))
    width = max(len(ids) for ids, _ in rows)
    padded = np.zeros((2, len(rows), width), dtype=np.int64)
    padded[1] = PADDING
    for r, row in enumerate(rows):
        padded[:, r, width - len(row[0]) :] = row
    longest = max(len(text) for *_, text in placed)
    spans = np.full((3, len(placed), longest), -1, dtype=np.int64)
    spans[:2] = [[[0]], [[1]]]
    for t, (row, places, text) in enumerate(placed):
        length = len(rows[row][0])
        spans[:, t, : len(text)] = [row] * len(text), [length - place for place in places], text
    return Rows(padded[0], padded[1], Spans(*spans))


def places(branch: torch.Tensor, segment: torch.Tensor | None = None) -> torch.Tensor:
    """Positions of tokens, int64 [row, token]: behind the context each branch goes on from its last one; 0 in padding.

    branch   int64 [row, token], of `Rows`
    segment  int64 [row, token]: which of several contexts, with its branches, a token is of (`packing`); None: there is
             one
    """
    segment = torch.zeros_like(branch) if segment is None else segment
    in_context = (branch == CONTEXT).long()
    index = torch.arange(branch.shape[1], device=branch.device).expand_as(branch)
    first = _changes(segment) | _changes(branch == PADDING)  # of a segment
    start = torch.where(first, index, 0).cummax(dim=1).values
    of_context = in_context.cumsum(dim=1)
    before = (of_context - in_context).gather(1, start)  # tokens of the contexts of other segments
    branch_start = torch.where(first | _changes(branch), index, 0).cummax(dim=1).values
    counted = of_context - before  # tokens of this context so far
    result = torch.where(branch == CONTEXT, counted - 1, counted + index - branch_start)
    return torch.where(branch == PADDING, 0, result)


def _changes(values: torch.Tensor) -> torch.Tensor:
    """Where a value differs from the one before it in its row, bool [row, token]."""
    result = torch.zeros_like(values, dtype=torch.bool)
    result[:, 1:] = values[:, 1:] != values[:, :-1]
    return result


def branch_mask(branch: torch.Tensor, segment: torch.Tensor | None = None) -> torch.Tensor:
    """Which token (last axis) each token sees, bool [row, 1, token, token]; padding sees itself alone. See `places`."""
    query, key = branch[:, :, None], branch[:, None, :]
    n = branch.shape[1]
    before = torch.ones(n, n, dtype=torch.bool, device=branch.device).tril()
    sees = before & (key != PADDING) & ((key == CONTEXT) | (key == query))
    if segment is not None:
        sees &= segment[:, :, None] == segment[:, None, :]
    itself = torch.eye(n, dtype=torch.bool, device=branch.device)
    return torch.where(query == PADDING, itself, sees)[:, None]
