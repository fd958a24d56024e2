"""Answers by the texts of the options: log P(o | q) of an option o behind a context q, summed over the tokens of o.

Scores, in the terms of lm-evaluation-harness (its names in brackets; compared with version 0.4.9.1):

    sum   log P(o | q)                                        (acc)
    mean  log P(o | q) / characters of o                      (acc_norm)
    pmi   log P(o | q) - log P(o | q0)                        (acc_mutual_info; Holtzman et al. 2021, arXiv 2104.08315)

with q0 a neutral context: one of the same form that names nothing, or none at all, which is the start token alone.
The log-probabilities over the options of a question are the log-softmax of their scores. An option, its tokens and its
characters are those of its text as a template writes it (`inputs.Prompt.option`).

Where this differs from lm-evaluation-harness:
- a context that ends in a line feed keeps it; there its log-probability, the same for all options, is a part of theirs;
- behind no context an option has the tokens that it has behind q; there it is encoded alone, with the space before it,
  which tokenizers that put a mark at the start of each text (SentencePiece's of Llama 2) write as other tokens;
- a tokenizer's own start token stands before q; there `add_bos_token` has to be set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from culture_neurons.errors import ModelError
from culture_neurons.models.loading import Loaded
from culture_neurons.models.option_rows import Continued, Rows, Spans, continuation, lay_out
from culture_neurons.models.readings import Positions, Reading

SCORES = SUM, MEAN, PMI = "sum", "mean", "pmi"


@dataclass(frozen=True)
class OptionTexts:
    """The options of a question as texts.

    texts    in the original order, as they are written behind a context
    score    of `SCORES`
    neutral  q0 as the model reads it, for pmi; "" is no context at all
    """

    texts: tuple[str, ...]
    score: str
    neutral: str = ""


@dataclass(frozen=True)
class OptionReads:
    """Where a batch's options are read off, and how they are scored.

    spans        of all texts behind all contexts
    of_option    int64 [question, option]: which span is log P(o | q); -1 where a question has fewer options
    of_neutral   the same for log P(o | q0), None but for pmi
    characters   int64 [question, option], 1 where there is no option
    question     int64 [row]: which question's context a row has; -1 for a neutral one, and for several in one row
    score        of `SCORES`
    """

    spans: Spans
    of_option: np.ndarray
    of_neutral: np.ndarray | None
    characters: np.ndarray
    question: np.ndarray
    score: str


def lay_out_options(
    loaded: Loaded,
    options: Sequence[OptionTexts],
    texts: Sequence[str],
    contexts: Sequence[Sequence[int]],
    shared: bool,
) -> tuple[Rows, OptionReads]:
    """The rows of a batch, and where its options are read.

    texts      the context of each question as text, without images written out
    contexts   its tokens: one list per question if they are `shared` by its options, else one per option

    Rows of questions come first, in the order of `contexts`. Raises ModelError for an option without a token.
    """
    tokens_behind = TokensBehind(loaded)
    after = [
        [tokens_behind(text, continuation(" ", text, option)) for option in of.texts]
        for of, text in zip(options, texts, strict=True)
    ]
    continued: list[Continued] = []
    question: list[int] = []
    rest = iter(contexts)
    for q, tokens in enumerate(after):
        groups = [tokens] if shared else [[one] for one in tokens]
        for group in groups:
            continued.append(Continued(next(rest), group))
            question.append(q)
    widest = max(len(of.texts) for of in options)
    of_option = np.full((len(options), widest), -1, dtype=np.int64)
    characters = np.ones_like(of_option)
    first = 0
    for q, of in enumerate(options):
        of_option[q, : len(of.texts)] = np.arange(first, first + len(of.texts))
        characters[q, : len(of.texts)] = [max(1, len(text)) for text in of.texts]
        first += len(of.texts)
    of_neutral = None
    if options[0].score == PMI:
        width = max(_width(one.context, one.texts) for one in continued) if shared else 0
        neutral, of_neutral = _neutral_rows(loaded, options, after, of_option.shape, first, width, tokens_behind)
        continued += neutral
        question += [-1] * len(neutral)
    rows = lay_out(continued)
    return rows, OptionReads(rows.spans, of_option, of_neutral, characters, np.array(question), options[0].score)


def _neutral_rows(
    loaded: Loaded,
    options: Sequence[OptionTexts],
    after: Sequence[Sequence[list[int]]],
    shape: tuple[int, ...],
    first: int,
    width: int,
    tokens_behind: TokensBehind,
) -> tuple[list[Continued], np.ndarray]:
    """Contexts q0 with the options behind them, each pair once, and the span of each option from `first` on.

    after  tokens of each question's options behind their context q, which are those behind no context too
    width  options are put behind one context while the row has no more tokens than this, but at least one option
    """
    behind: list[list[tuple[int, ...]]] = []
    by_context: dict[str, dict[tuple[int, ...], int]] = {}
    for of, behind_q in zip(options, after, strict=True):
        tokens = (
            [tokens_behind(of.neutral, continuation(" ", of.neutral, text)) for text in of.texts]
            if of.neutral
            else behind_q
        )
        behind.append([tuple(one) for one in tokens])
        by_context.setdefault(of.neutral, {}).update(dict.fromkeys(behind[-1], -1))
    continued: list[Continued] = []
    for neutral, span in by_context.items():
        context = tokens_behind.context(neutral) if neutral else [_start_token(loaded)]
        group: list[tuple[int, ...]] = []
        for one in span:
            if group and _width(context, [*group, one]) > width:
                continued.append(Continued(context, group))
                group = []
            group.append(one)
            span[one] = first
            first += 1
        continued.append(Continued(context, group))
    result = np.full(shape, -1, dtype=np.int64)
    for q, (of, of_question) in enumerate(zip(options, behind, strict=True)):
        result[q, : len(of_question)] = [by_context[of.neutral][one] for one in of_question]
    return continued, result


def _width(context: Sequence[int], texts: Sequence[Sequence[int]]) -> int:
    """Tokens of a row: no text's last one is an input (`option_rows`)."""
    return len(context) + sum(len(text) - 1 for text in texts)


def _start_token(loaded: Loaded) -> int:
    """What a model reads where there is no context: its start or its end token, as in lm-evaluation-harness."""
    tokenizer = loaded.tokenizer
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise ModelError(f"model {loaded.name!r}: no start and no end token, so that nothing stands for no context")
    return token


class TokensBehind:
    """Tokens of a text behind another: those of both, behind as many as the first has alone."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._cache: dict[str, list[int]] = {}

    def context(self, text: str) -> list[int]:
        """Tokens of a context as the model reads it."""
        if text not in self._cache:
            self._cache[text] = self._ids(text)
        return self._cache[text]

    def _ids(self, text: str) -> list[int]:
        bos = self._loaded.tokenizer.bos_token
        special = not (bos and text.startswith(bos))
        return list(self._loaded.tokenizer(text, add_special_tokens=special)["input_ids"])

    def __call__(self, context: str, text: str) -> list[int]:
        tokens = self._ids(context + text)[len(self.context(context)) :]
        if not tokens:
            raise ModelError(
                f"model {self._loaded.name!r}: the option {text.strip()!r} has no token of its own behind {context!r}"
            )
        return tokens


class TextReader:
    """Reads the options of one batch off its logits; a `readings.Reader`."""

    def __init__(self, reads: OptionReads) -> None:
        self._score = reads.score
        spans = reads.spans
        read = spans.token >= 0
        places, index = np.unique(np.stack([spans.row[read], spans.position[read]]), axis=1, return_inverse=True)
        self.positions = Positions(int(places[1].max()), torch.from_numpy(places))
        place = np.zeros_like(spans.token)
        place[read] = index.ravel()
        self._place, self._token = torch.from_numpy(place), torch.from_numpy(spans.token.clip(min=0))
        self._padding = torch.from_numpy(~read)
        self._of_option = torch.from_numpy(reads.of_option.clip(min=0))
        self._missing = torch.from_numpy(reads.of_option < 0)
        self._of_neutral = None if reads.of_neutral is None else torch.from_numpy(reads.of_neutral.clip(min=0))
        self._characters = torch.from_numpy(reads.characters)

    def read(self, logits: torch.Tensor) -> Reading:
        """Log-softmax of the scores of each question's options; of logits [1, place, vocabulary]."""
        scores = self.scores(logits)
        best = logits[0, self._place[self._of_option[:, 0], 0]].argmax(dim=-1)
        return Reading(scores.log_softmax(dim=-1), best)

    def is_well_formed(self, best: int, n_options: int) -> bool:
        """Always: what is compared are the options."""
        return True

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Scores [question, option], -inf where a question has fewer; of logits [1, place, vocabulary]."""
        self._to(logits.device)
        logits = logits[0].to(torch.promote_types(logits.dtype, torch.float32))
        by_token = logits[self._place, self._token] - logits.logsumexp(dim=-1)[self._place]
        by_text = by_token.masked_fill(self._padding, 0).sum(dim=-1)
        scores = by_text[self._of_option]
        if self._score == MEAN:
            scores = scores / self._characters
        elif self._of_neutral is not None:
            scores = scores - by_text[self._of_neutral]
        return scores.masked_fill(self._missing, -torch.inf)

    def _to(self, device: torch.device) -> None:
        if self._place.device != device:
            for name, value in vars(self).items():
                if isinstance(value, torch.Tensor):
                    setattr(self, name, value.to(device))
