"""Options that carry letters or numbers of their own: "A. rice", "(b) bread", "3) soup"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from string import ascii_uppercase
from typing import NamedTuple

#: A letter or number, what sets it off, and some text; "3.5 km" and "9:30" have no mark.
_MARK = re.compile(r"\(?([A-Za-z]|[0-9]{1,2})\s?[.):．）、](?![0-9])\s*\S")


class Marks(NamedTuple):
    """The marks of a question's options.

    kind     "letter" or "number"
    order    per option, the place that its mark names, from 0; sorted unless the options were shuffled with their marks
    """

    kind: str
    order: tuple[int, ...]

    @property
    def shuffled(self) -> bool:
        return self.order != tuple(range(len(self.order)))


def find_marks(options: Sequence[str]) -> Marks | None:
    """Find the options' own marks: A, B, C ... (or a, b ...), 1, 2, 3 ... or 0, 1 ..., in any order.

    None unless all options have one, and each value of the series occurs once.
    """
    matches = [_MARK.match(option) for option in options]
    if len(matches) < 2 or not all(matches):
        return None
    texts = [match[1].upper() for match in matches if match]
    if all(text.isdecimal() for text in texts):
        first = min(map(int, texts))
        kind, order = "number", [int(text) - first if first < 2 else -1 for text in texts]
    else:
        kind, order = "letter", [ascii_uppercase.find(text) for text in texts]
    return Marks(kind, tuple(order)) if sorted(order) == list(range(len(order))) else None


def describe_marked(questions: Iterable[Sequence[str]]) -> str:
    """A warning about questions whose options carry marks of their own; "" if there are none.

    questions   the options of each question
    """
    count, marked = 0, []
    for options in questions:
        count += 1
        if find_marks(options):
            marked.append(options[0])
    if not marked:
        return ""
    return (
        f"the options of {len(marked)} of {count} questions bring letters or numbers of their own "
        f"({marked[0][:40]!r}); prompts put another one in front ('B. A. ...'), so remove them from the data"
    )
