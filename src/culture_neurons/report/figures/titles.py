"""Words that figures and report share: model names with the mark of the planted control, counts, signs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from culture_neurons.report.figures import fonts
from culture_neurons.report.figures.tables import Tables, at_projections, questions

PLANTED = "planted"
#: The typographic minus sign, as wide as a plus.
MINUS = "\N{MINUS SIGN}"
#: For a missing value.
DASH = "\N{EN DASH}"
#: What every change is, and how sure.
CHANGE = f"masked {MINUS} baseline, 95\N{NO-BREAK SPACE}% intervals"


def title(tables: Tables, model: str, width: int = 40) -> str:
    """A model's name as figures show it; the planted control says that it is one."""
    if not tables.is_planted(model):
        return fonts.label(model, width)
    return f"{fonts.label(model, max(10, width - len(PLANTED) - 3))} ({PLANTED})"


def named(tables: Tables, model: str) -> str:
    """A model's name in a sentence: the planted control always says so."""
    return f"{model} ({PLANTED})" if tables.is_planted(model) else model


def listed(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b, and c"."""
    if len(parts) < 3:
        return " and ".join(parts)
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"


def plural(n: int, noun: str) -> str:
    """1 neuron, 2 neurons, 1,000 neurons."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def counted(counts: Iterable[int], noun: str) -> str:
    """How many there are, where several numbers are meant: "80 questions", or "60 to 80 questions"."""
    least, most = min(numbers := [*counts] or [0]), max(numbers)
    return plural(most, noun) if least == most else f"{least:,} to {plural(most, noun)}"


def basis(tables: Tables, model: str, selector: str) -> tuple[int, str] | None:
    """Questions that a selector chooses on, and their kind, where the tables say so: statistics are of those answered
    correctly, attributions of all."""
    column, kind = "n_identify_correct", "correctly answered question"
    if at_projections(tables, model, [selector]):
        column, kind = "n_identify", "question"
    n = questions(tables, model, column)
    return None if n is None else (n, kind)


def source(tables: Tables, model: str, selector: str) -> str:
    """ ", from 480 questions", where the tables say so."""
    known = basis(tables, model, selector)
    return "" if known is None else f", from {plural(known[0], 'question')}"


def signed(value: float, decimals: int) -> str:
    """A number with its sign, and plain 0 for what rounds to nothing."""
    text = f"{value:+.{decimals}f}"
    return "0" if float(text) == 0 else text.replace("-", MINUS)


def number(value: Any, decimals: int | None = None) -> str:
    """A number for a table: fixed decimals, or four significant digits; a dash for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if decimals is None and float(value).is_integer() and abs(value) < 1e6:
        return f"{value:.0f}".replace("-", MINUS)
    text = f"{value:.{decimals}f}" if decimals is not None else f"{value:.4g}"
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", MINUS)
