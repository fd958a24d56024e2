"""Asking a model multiple-choice questions.

The answer is read in one forward pass: the log-probabilities of the option letters at the
position where the answer starts, over the whole vocabulary. `answer: generate` is the
protocol of Zhao et al. (arXiv 2510.24942): greedy decoding of at most 20 tokens, parsed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from culture_neurons.data import prompts
from culture_neurons.errors import ModelError
from culture_neurons.models import finite
from culture_neurons.models.inputs import Batch, Prompt
from culture_neurons.models.loading import Loaded
from culture_neurons.models.vision import keep_image_features

#: How one option letter can stand in a vocabulary: alone, after a space (byte-level BPE or SentencePiece).
_LETTER_FORMS = ("{}", "Ġ{}", "▁{}")


@dataclass(frozen=True)
class Answer:
    """What a model answered: indices and log-probabilities (nats) are in the original order of the options."""

    prediction: int
    well_formed: bool
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Reading:
    """What is read off the logits of a batch, still on the device.

    by_letter  float32 [batch, letter]: log-probability of each option letter in the whole vocabulary
    best       int64 [batch]: the most likely token
    """

    by_letter: torch.Tensor
    best: torch.Tensor


def letter_tokens(loaded: Loaded, n_options: int) -> list[list[int]]:
    """Ids of the tokens that stand for each option letter, with or without a space before it.

    Raises ModelError when the vocabulary has no token for a letter.
    """
    tokenizer = loaded.tokenizer

    def known(token: str) -> list[int]:
        # Not through get_vocab, which copies 150,000 entries at every call.
        token_id = tokenizer.convert_tokens_to_ids(token)
        return [token_id] if token_id is not None and tokenizer.convert_ids_to_tokens(token_id) == token else []

    result = [
        [i for form in _LETTER_FORMS for i in known(form.format(letter))] for letter in prompts.LETTERS[:n_options]
    ]
    for letter, ids in zip(prompts.LETTERS, result, strict=False):
        if not ids:
            raise ModelError(f"model {loaded.name!r}: its vocabulary has no token for the option letter {letter!r}")
    return result


class Letters:
    """The tokens of the first option letters, ready for the device where logits come out."""

    def __init__(self, loaded: Loaded, n_options: int) -> None:
        self.tokens = letter_tokens(loaded, n_options)
        forms = max(map(len, self.tokens))
        self._index = torch.tensor([ids + ids[:1] * (forms - len(ids)) for ids in self.tokens])  # (letter, form)
        self._padding = torch.tensor([[f >= len(ids) for f in range(forms)] for ids in self.tokens])

    def read(self, logits: torch.Tensor) -> Reading:
        """Read logits [batch, vocabulary]; nothing waits for the device, but for the first batch."""
        if self._index.device != logits.device:
            self._index, self._padding = self._index.to(logits.device), self._padding.to(logits.device)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        letters = logits[:, self._index].masked_fill(self._padding, -torch.inf)  # (batch, letter, form)
        by_letter = letters.logsumexp(dim=-1) - logits.logsumexp(dim=-1, keepdim=True)
        return Reading(by_letter, logits.argmax(dim=-1))


@torch.inference_mode()
def answer(loaded: Loaded, batch: Batch, prompt: Prompt) -> list[Answer]:
    """Answer every sample of a batch; logits are computed at the last position only."""
    letters = read_letters(loaded, batch)
    inputs = on_device(loaded, batch)
    with keep_image_features(loaded.model, batch.image_of):
        reading, texts = ask(loaded, inputs, prompt, letters)
    return answers(loaded, batch, letters, reading, texts)


def right_letter(loaded: Loaded, batch: Batch) -> torch.Tensor:
    """log P(y) [sample] of one forward pass, with y the letter of the right option, with or without a space before it,
    and P(y) its probability among all tokens at the last position. Gradients go through it, where they are enabled."""
    inputs = on_device(loaded, batch)
    with keep_image_features(loaded.model, batch.image_of):
        reading = read_letters(loaded, batch).read(forward(loaded, inputs).logits[:, -1])
    right = [order.index(sample.label) for sample, order in zip(batch.samples, batch.orders, strict=True)]
    return reading.by_letter.gather(1, torch.tensor(right, device=reading.by_letter.device)[:, None])[:, 0]


def read_letters(loaded: Loaded, batch: Batch) -> Letters:
    """The letters that the options of a batch need."""
    return Letters(loaded, max(len(order) for order in batch.orders))


def ask(
    loaded: Loaded, inputs: Mapping[str, torch.Tensor], prompt: Prompt, letters: Letters
) -> tuple[Reading, list[str] | None]:
    """One whole forward pass, or a generation: what is read at the answer's position, and the generated texts."""
    if prompt.answer == "logprob":
        return letters.read(forward(loaded, inputs).logits[:, -1]), None
    output = loaded.model.generate(
        **inputs, max_new_tokens=prompt.max_new_tokens, do_sample=False, temperature=None, top_p=None, top_k=None,
        # Saved generation settings (Qwen's penalise repetition) apply to greedy decoding too, unless overruled.
        repetition_penalty=1.0, no_repeat_ngram_size=0,
        pad_token_id=loaded.tokenizer.pad_token_id, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    new = output.sequences[:, inputs["input_ids"].shape[1] :]
    return letters.read(output.logits[0]), list(loaded.tokenizer.batch_decode(new, skip_special_tokens=True))


def answers(
    loaded: Loaded,
    batch: Batch,
    letters: Letters,
    reading: Reading,
    texts: Sequence[str] | None = None,
    under: str = "",
) -> list[Answer]:
    """What a reading means for each sample; `under` says in an error what is in force (`finite.nonfinite_error`).

    A letter may have the probability 0, and so the log-probability -inf. Raises ModelError, naming sample and layer,
    where that is so of all letters of a sample, or where a log-probability is no number or +inf: then the model's own
    numbers are not finite.
    """
    by_letter, best = reading.by_letter.cpu().numpy(), reading.best.cpu().numpy()
    bad = np.isnan(by_letter).any(axis=1) | np.isposinf(by_letter).any(axis=1) | np.isneginf(by_letter).all(axis=1)
    if bad.any():
        quantity = "the log-probabilities"
        raise finite.nonfinite_error(
            loaded, batch, int(bad.argmax()), quantity, lambda: forward(loaded, on_device(loaded, batch)), under
        )
    return [
        _answer(order, by_letter[b], int(best[b]), letters.tokens, None if texts is None else texts[b])
        for b, order in enumerate(batch.orders)
    ]


def _answer(
    order: tuple[int, ...], by_letter: np.ndarray, best: int, letters: list[list[int]], text: str | None
) -> Answer:
    n = len(order)
    logprobs = np.empty(n, dtype=np.float32)
    logprobs[list(order)] = by_letter[:n]
    if text is None:
        position = int(by_letter[:n].argmax())
        well_formed = any(best in ids for ids in letters[:n])
    else:
        position = prompts.parse_answer(text, n)
        well_formed = position >= 0
    return Answer(order[position] if position >= 0 else -1, well_formed, tuple(logprobs.tolist()))


def on_device(loaded: Loaded, batch: Batch) -> dict[str, torch.Tensor]:
    """The inputs on the device of the model's first layer; floating-point ones in the model's dtype."""
    device, dtype = loaded.model.device, loaded.model.dtype
    return {key: value.to(device, dtype if value.is_floating_point() else None) for key, value in batch.inputs.items()}


def forward(loaded: Loaded, inputs: Mapping[str, torch.Tensor]) -> Any:
    """One forward pass without a cache, logits at the last position only.

    Positions count from a sample's first token, so that padding on the left shifts nothing;
    models with positions of their own (Qwen's three-dimensional ones) compute them.
    """
    more: dict[str, Any] = {}
    if "logits_to_keep" in inspect.signature(loaded.model.forward).parameters:
        more["logits_to_keep"] = 1
    if not hasattr(getattr(loaded.model, "model", loaded.model), "get_rope_index"):
        more["position_ids"] = (inputs["attention_mask"].long().cumsum(dim=-1) - 1).clamp_min(0)
    return loaded.model(**inputs, **more, use_cache=False)
