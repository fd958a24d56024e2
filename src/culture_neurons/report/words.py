"""How the page writes texts of data and the numbers of a comparison."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from culture_neurons.analysis.significance import HIGHER, LOWER
from culture_neurons.errors import printable
from culture_neurons.report.figures.titles import number

#: measure -> (noun phrase, unit, decimals)
MEASURES = {
    "accuracy": ("accuracy", "points", 1),
    "logprob": ("log-probability of the right option", "nats", 3),
}
#: How the page calls a direction: all its changes are of answers.
FARES = {LOWER: "worse", HIGHER: "better"}


def plain(text: Any) -> str:
    """Text from data in one line, with invisible controls shown."""
    return printable(" ".join(str(text).split()))


def units_on_line(text: str) -> str:
    """A sentence in which no number is parted from its unit, nor "p" from its value, at the end of a line."""
    text = re.sub(r"(?<=\d) (?=(%|points?|nats?)(?!\w))", "\N{NO-BREAK SPACE}", text)
    return re.sub(r"\bp ([<=]) (?=\d)", "p\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", text)


def visible(value: Any) -> Any:
    """Whatever the template puts into the page: a text with its controls shown, but for line feeds."""
    return type(value)("\n".join(map(printable, value.split("\n")))) if isinstance(value, str) else value


def p_value_text(value: float) -> str:
    """A p-value in words."""
    if not np.isfinite(value):
        return "p unknown"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def change_in_words(value: float, noun: str, unit: str, decimals: int) -> str:
    """ "changes accuracy by -2.0 points": one change in words. A loss is negative, as in tables and on axes."""
    if not np.isfinite(value):
        return f"has an effect on {noun} that was not measured"
    return f"changes {noun} by {number(value, decimals)} {unit}"


def bracket(low: Any, high: Any, decimals: int | None = None) -> str:
    """ "[low, high]", or nothing where an end is missing or both are one: then nothing says how sure a value is."""
    ends = (low, high)
    if any(end is None or not np.isfinite(float(end)) for end in ends):
        return ""
    if float(low) == float(high):
        return ""
    return f"[{', '.join(number(float(end), decimals) for end in ends)}]"
