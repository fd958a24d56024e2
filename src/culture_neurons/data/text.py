"""Cleaning of texts and names that come from outside."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pandas as pd

#: Longest question and longest option, in characters; longer ones are damaged data more often than not.
MAX_TEXT = 20_000


def missing(value: Any) -> bool:
    """Whether a cell is None, NaN, NA or NaT."""
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def plain(value: Any) -> str:
    """A text, number or date as text without space at its ends; "" for a missing cell, bytes, a list or a record."""
    several = isinstance(value, bytes | list | tuple | dict | np.ndarray)
    return "" if several or missing(value) else str(value).strip()


def clean(value: Any) -> str:
    """`plain` in Unicode's composed form (NFC); not composed if it is longer than any text that is kept.

    Composing takes the square of the length where accents are stacked: an hour for a megabyte.
    """
    text = plain(value)
    return text if len(text) > MAX_TEXT else unicodedata.normalize("NFC", text).strip()


def clean_line(value: Any) -> str:
    """`clean`, with every run of white space, line breaks among it, made one space."""
    return clean(" ".join(plain(value).split()))


def encodable(text: str) -> bool:
    """Whether a text is valid Unicode: JSON can smuggle in halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
