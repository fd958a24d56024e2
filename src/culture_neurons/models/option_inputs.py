"""Inputs of contexts, as a processor makes them, with the tokens of options behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from culture_neurons.models.loading import Loaded
from culture_neurons.models.option_rows import CONTEXT, PADDING, Continued, Rows, lay_out
from culture_neurons.models.option_scores import OptionReads, OptionTexts, TokensBehind, lay_out_options
from culture_neurons.models.shared_contexts import kind_behind


def with_options(
    loaded: Loaded, options: Sequence[OptionTexts], texts: Sequence[str], contexts: Mapping[str, Any], shared: bool
) -> tuple[dict[str, Any], OptionReads]:
    """The inputs of a batch of contexts with all options behind them, and where these are read.

    texts     the context of each question as text
    contexts  their inputs, [row, ...]: a row per question if its options share it (`shared`), else one per option
    """
    rows, reads = lay_out_options(loaded, options, texts, _tokens(contexts), shared)
    inputs = _lengthen(loaded, contexts, rows)
    branch = torch.from_numpy(rows.branch)
    if (branch > CONTEXT).any():
        inputs["branch"] = branch
    return inputs, reads


def with_right_options(
    loaded: Loaded,
    right: Sequence[str],
    texts: Sequence[str],
    contexts: Mapping[str, Any],
    content: torch.Tensor | None = None,
) -> tuple[dict[str, Any], torch.Tensor | None]:
    """The inputs of a batch of contexts with the right option behind each, its last token too; and their content.

    right     the text behind each context, as it continues it
    texts     the context of each question as text
    contexts  their inputs, a row per question
    content   bool [question, token]: the content of the contexts. All tokens of options are content too
    """
    tokens_behind = TokensBehind(loaded)
    behind = [tokens_behind(text, option) for text, option in zip(texts, right, strict=True)]
    continued = [Continued(ids, [option]) for ids, option in zip(_tokens(contexts), behind, strict=True)]
    rows = lay_out(continued, with_last_token=True)
    if content is None:
        return _lengthen(loaded, contexts, rows), None
    inputs = _lengthen(loaded, {**contexts, "content": content}, rows)
    marked = inputs.pop("content")
    for row, option in enumerate(behind):
        marked[row, -len(option) :] = True
    return inputs, marked


def _tokens(contexts: Mapping[str, Any]) -> list[list[int]]:
    """The tokens of each row, without padding."""
    valid = contexts["attention_mask"].bool()
    return [ids[row].tolist() for ids, row in zip(contexts["input_ids"], valid, strict=True)]


def _lengthen(loaded: Loaded, contexts: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """Inputs for `rows`, which begin with `contexts` in their order; what else is said of each token is 0 behind them,
    but for a kind that the model needs there (`shared_contexts.kind_behind`)."""
    valid = contexts["attention_mask"].bool()
    branch = torch.from_numpy(rows.branch)
    inputs = dict(contexts)
    for name, values in contexts.items():
        if isinstance(values, torch.Tensor) and values.shape == valid.shape:
            inputs[name] = torch.zeros_like(branch, dtype=values.dtype)
            if name == "token_type_ids" and (kind := kind_behind(loaded)):
                for row, position in zip(rows.spans.row[:, 0], rows.spans.position[:, 0], strict=True):
                    inputs[name][row, branch.shape[1] - position + 1 :] = kind
            for r, own in enumerate(valid):
                start = int((rows.branch[r] == PADDING).sum())
                inputs[name][r, start : start + int(own.sum())] = values[r][own]
    inputs["input_ids"] = torch.from_numpy(rows.ids).masked_fill_(branch == PADDING, loaded.tokenizer.pad_token_id)
    inputs["attention_mask"] = (branch != PADDING).to(contexts["attention_mask"].dtype)
    return inputs
