"""Errors that a user can mend.

Every message is one or two lines and names the file, the row or the key, the
offending value, and what was expected; that of a model whose parts are not known
shows these in a few lines more. Steps print the message and exit with 1;
any other exception is a defect of the program and keeps its traceback.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from itertools import islice

#: Invisible characters that reorder the text around them; names that hold one can pass for others.
_REORDERING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: A message has at most so many lines, and a line so many characters, whatever a file puts into it.
_LINES, _LINE = 2, 1000


class CultureNeuronsError(Exception):
    """Base class of all errors that name a user's mistake or a damaged file."""

    def __init__(self, message: object = "", lines: int = _LINES) -> None:
        shown = [printable(line) for line in str(message).split("\n")[:lines]]
        super().__init__("\n".join(x if len(x) <= _LINE else f"{x[:600]} ... {x[-300:]}" for x in shown))


class ConfigError(CultureNeuronsError):
    """A setting is unknown, out of range, or contradicts another one."""


class DataError(CultureNeuronsError):
    """A data set can't be read or used."""


class ModelError(CultureNeuronsError):
    """A model can't be loaded, recognised, recorded or ablated."""


class FileError(CultureNeuronsError):
    """A file between two steps is missing, damaged, or from another run."""


def has_control(name: str) -> bool:
    """Whether a name holds control characters, line breaks, halves of surrogate pairs, or reordering marks."""
    return not name.isprintable() and any(
        c in _REORDERING or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name
    )


def printable(text: str) -> str:
    """A text for a table, a log or a page: what `has_control` finds is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode("ascii") if has_control(c) else c for c in text)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known name closest to `name`, or ""; names of data may be many and long."""
    short = [k for k in map(str, islice(known, 1000)) if len(k) <= 100]
    close = difflib.get_close_matches(str(name)[:100], short, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
