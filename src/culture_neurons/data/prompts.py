"""Prompts: pure functions from a sample to the text that a model reads.

The order of the options is shuffled per sample by a seeded hash of its id, so that
it depends on nothing but the seed and the sample. The model's own chat template is
applied by `models.templates.render`, through `models.loading.Loaded.render`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import ascii_uppercase

from culture_neurons.errors import ConfigError
from culture_neurons.types import Sample

LETTERS = ascii_uppercase
INSTRUCTION = "Answer with the letter of the right option only."
#: Templates of `answer: options`: key -> the only field that it has, which alone is its default.
TEMPLATES = {"context": "{question}", "option": "{option}"}


def check_templates(answer: str, templates: Mapping[str, str]) -> None:
    """Raise ConfigError for a template (a key of `TEMPLATES`) without its field, with two of them, or without use.

    answer  how the model is asked: only options are written by templates
    """
    for key, template in templates.items():
        if template.count(TEMPLATES[key]) != 1:
            raise ConfigError(f"{key} {template!r}: expected {TEMPLATES[key]} in it, once")
        if answer != "options" and template != TEMPLATES[key]:
            raise ConfigError(f"{key} {template!r}: of use for answer options alone; answer is {answer!r}")


def option_order(sample_id: str, n_options: int, seed: int) -> tuple[int, ...]:
    """The shuffled order: position p of the prompt shows original option `order[p]`."""

    def key(option: int) -> bytes:
        return hashlib.blake2b(f"{seed}\x1f{sample_id}\x1f{option}".encode(), digest_size=16).digest()

    return tuple(sorted(range(n_options), key=key))


def content(sample: Sample, order: Sequence[int]) -> str:
    """The question, if there is one, and its lettered options, one per line, in the given order."""
    lines = [sample.question] if sample.question else []
    lines += [f"{letter}. {sample.options[i]}" for letter, i in zip(LETTERS, order, strict=False)]
    return "\n".join(lines)


def without_question(sample: Sample) -> Sample:
    """The control of a question: without question and image, the options and the instruction alone; where options
    continue the question, behind its neutral context."""
    return replace(sample, question=sample.neutral, image=None, image_id="", image_size=None)


def user_text(sample: Sample, order: Sequence[int], instruction: str = INSTRUCTION) -> str:
    """The whole text of the user's turn: content, then the fixed instruction."""
    return f"{content(sample, order)}\n{instruction}"


def messages(text: str, with_image: bool) -> list[dict]:
    """The chat of one user turn, as `apply_chat_template` takes it."""
    parts = [{"type": "image"}] if with_image else []
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


#: What may follow the letter of an answer: the end, a line's end, or a mark that closes it, also in full width.
#: Not a space, or "A dog" would be the answer A.
_CLOSED = r"(?=\s*(?:\Z|\n)|[.,:;!*)\]}\"。，：；！、）】」]|'(?![A-Za-z]))"


def parse_answer(text: str, n_options: int) -> int:
    """The position of the option letter that a generated answer gives, or -1.

    The letter, in either case, stands alone at the start ("B", "(b)", "B. rice", "**B**") or after a word that
    announces it ("Answer: B", "I think the answer is B.", "the correct option is (B)").
    """
    letters = LETTERS[:n_options]
    letter = f"([{letters}{letters.lower()}]){_CLOSED}"
    announced = rf"\b(?i:answer|option|choice)\b(?:\s+(?i:is)\b)?\W*(?:(?i:option|choice)\b\W*)?{letter}"
    match = re.match(rf"\W*{letter}", text) or re.search(announced, text)
    return letters.index(match[1].upper()) if match else -1
