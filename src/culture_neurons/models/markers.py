"""Text from data stays text: what a model would read as a control token, or as a mark of its chat template, is broken.

A question may hold "<image>", "<|im_end|>" or "[/INST]": by accident, or to speak as the system or as the model. Left
as it is, it would end the user's turn, or ask for an image that is not there and stop the whole job. A space behind
the first character makes it plain text for the tokenizer and the processor. The words of the question stay readable,
the row stays in the data, and nothing else of the prompt changes.

Known are the tokenizer's special and added tokens, and what looks like a mark in the chat template (its source, and
what it writes around a turn): <...>, [CAPITALS], CAPITALS: and ### Word: . Some models have no token of their own for
these, as for Mistral's [INST] and Vicuna's ASSISTANT: . Marks that are other words ("Human:") can't be told from text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from culture_neurons.models.loading import Loaded
from culture_neurons.models.templates import sources
from culture_neurons.types import Sample

_MARK = re.compile(r"<[^<>\s{}'\"=%]{1,40}>|\[/?[A-Z][A-Z_]*\]|\b[A-Z]{2,}:|###\s?\w+:")


def control_texts(loaded: Loaded, frame: str = "") -> list[str]:
    """Texts that the model takes for more than text, long ones first.

    frame   what the chat template writes around some turn of the user
    """
    tokens = {str(t) for t in loaded.tokenizer.all_special_tokens} | set(loaded.tokenizer.get_added_vocab())
    # Some tokenizers add words, and runs of spaces: these are text.
    tokens = {t for t in tokens if not t.isalnum() and not t.isspace()}
    known = {t for t in tokens if len(t) > 1} | {
        mark for text in (*sources(loaded.processor, loaded.tokenizer), frame) for mark in _marks(text)
    }
    return sorted(known, key=lambda t: (-len(t), t))


def as_text(sample: Sample, controls: Sequence[str]) -> Sample:
    """The sample with every control text in its question and options broken by a space; itself where there is none."""

    def plain(text: str) -> str:
        for control in controls:
            if control in text:
                text = text.replace(control, f"{control[0]} {control[1:]}")
        return text

    question, options = plain(sample.question), tuple(map(plain, sample.options))
    if (question, options) == (sample.question, sample.options):
        return sample
    return replace(sample, question=question, options=options)


def _marks(text: str) -> set[str]:
    return set(_MARK.findall(text))
