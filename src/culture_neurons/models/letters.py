"""Answers by the letters of the options: their log-probabilities at the position where the answer starts."""

from __future__ import annotations

import torch

from culture_neurons.data import prompts
from culture_neurons.errors import ModelError
from culture_neurons.models.loading import Loaded
from culture_neurons.models.readings import LAST, Reading

#: How one option letter can stand in a vocabulary: alone, after a space (byte-level BPE or SentencePiece).
_LETTER_FORMS = ("{}", "Ġ{}", "▁{}")


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
    """The tokens of the first option letters, ready for the device where logits come out; a `readings.Reader`."""

    positions = LAST

    def __init__(self, loaded: Loaded, n_options: int) -> None:
        self.tokens = letter_tokens(loaded, n_options)
        forms = max(map(len, self.tokens))
        self._index = torch.tensor([ids + ids[:1] * (forms - len(ids)) for ids in self.tokens])  # (letter, form)
        self._padding = torch.tensor([[f >= len(ids) for f in range(forms)] for ids in self.tokens])

    def read(self, logits: torch.Tensor) -> Reading:
        """Read logits [batch, position, vocabulary]; nothing waits for the device, but for the first batch."""
        if self._index.device != logits.device:
            self._index, self._padding = self._index.to(logits.device), self._padding.to(logits.device)
        logits = logits[:, -1]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        letters = logits[:, self._index].masked_fill(self._padding, -torch.inf)  # (batch, letter, form)
        by_option = letters.logsumexp(dim=-1) - logits.logsumexp(dim=-1, keepdim=True)
        return Reading(by_option, logits.argmax(dim=-1))

    def is_well_formed(self, best: int, n_options: int) -> bool:
        """Whether the most likely token is one of the letters."""
        return any(best in ids for ids in self.tokens[:n_options])
