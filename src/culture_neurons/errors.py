"""Errors that a user can mend.

Every message is one or two lines and names the file, the row or the key, the
offending value, and what was expected. Steps print the message and exit with 1;
any other exception is a defect of the program and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CultureNeuronsError(Exception):
    """Base class of all errors that name a user's mistake or a damaged file."""


class ConfigError(CultureNeuronsError):
    """A setting is unknown, out of range, or contradicts another one."""


class DataError(CultureNeuronsError):
    """A data set can't be read or used."""


class ModelError(CultureNeuronsError):
    """A model can't be loaded, recognised, recorded or ablated."""


class FileError(CultureNeuronsError):
    """A file between two steps is missing, damaged, or from another run."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known name closest to `name`, or ""."""
    close = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
