"""Cleaning of texts and names that come from outside."""

from __future__ import annotations

import unicodedata
from typing import Any

import pandas as pd

#: Invisible characters that reorder the text around them; names that hold one can pass for others.
_REORDERING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def missing(value: Any) -> bool:
    """Whether a cell is None, NaN, NA or NaT."""
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def clean(value: Any) -> str:
    """A text in Unicode's composed form (NFC) without space at its ends; "" for a missing cell."""
    return "" if missing(value) else unicodedata.normalize("NFC", str(value)).strip()


def clean_line(value: Any) -> str:
    """`clean`, with every run of white space, line breaks among it, made one space."""
    return " ".join(clean(value).split())


def encodable(text: str) -> bool:
    """Whether a text is valid Unicode: JSON can smuggle in halves of surrogate pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def has_control(name: str) -> bool:
    """Whether a name holds control characters, line breaks, halves of surrogate pairs, or reordering marks."""
    return any(c in _REORDERING or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)


def printable(name: str) -> str:
    """A name for a table or a log: what `has_control` finds is written as an escape."""
    return "".join(c.encode("unicode_escape").decode("ascii") if has_control(c) else c for c in name)
