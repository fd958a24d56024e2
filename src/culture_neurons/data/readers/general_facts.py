"""Questions in English that ask for no culture, from what packages and Python hold: what else a mask harms.

    type: general-facts
    kinds: null                    # quantity, abbreviation, calendar, alphabet ...; null: all
    items_per_kind: 40             # fewer where there are fewer
    options: 4                     # at most 6
    half: null                     # identify or evaluate: only the questions of this half, whatever the seed
    seed: 1

    quantity       what a unit measures: "The kilometer is a unit of" -> "length"
    abbreviation   how it is written for short: "The usual abbreviation of kilometer is" -> "km"
    calendar       the next and the last day or month: "In the list of months, after March comes" -> "April"
    alphabet       the next letter
    counting       the next number, in words
    digits         a number in words, as digits
    sum, product   of two numbers from 2 to 12: "The result of 7 plus 5 is" -> "12"

Names of units, days and months are those of CLDR (babel), names of numbers those of Unicode as Python has it. Wrong
options are of the same kind, and near where there is an order. Units of one culture, and what is not certain, are left
out: `data.facts.general`.

Group columns: culture and country (both "all"), kind, wording (its number), item (what is asked), neutral (the context
without the item, for PMI), half, question_id (equal for "3 plus 5" and "5 plus 3", which are of one half).
"""

from __future__ import annotations

import platform
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd

from culture_neurons.data.facts.general import questions
from culture_neurons.data.readers import facts
from culture_neurons.data.source import SourceTable, check_keys

KEYS: dict[str, Any] = {"kinds": None, "items_per_kind": 40, "options": 4, "half": None, "seed": 1}
#: The licence of Python, whose standard library has the names of Unicode.
PYTHON = "PSF-2.0; data of Unicode, Unicode-3.0"


def check(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with all defaults. Raises ConfigError for an unknown key or a wrong value, DataError where a package
    is missing."""
    check_keys(spec, ("type", *KEYS), "source")
    spec = KEYS | dict(spec)
    facts.require_packages(dict.fromkeys(kind.package for kind in questions.KINDS.values() if kind.package))
    spec["kinds"] = facts.names(spec, "kinds", questions.KINDS, questions.KINDS)
    facts.check_whole(spec, "items_per_kind", 1, 200)
    facts.check_whole(spec, "options", 2, questions.MOST_OPTIONS)
    facts.check_whole(spec, "seed")
    facts.check_half(spec)
    return spec


def read(spec: Mapping[str, Any]) -> SourceTable:
    """The questions. Deterministic. Raises ConfigError and DataError as `check` does."""
    spec = check(spec)
    rows = questions.rows(spec["kinds"], spec["items_per_kind"], spec["options"], spec["seed"], spec["half"])
    table = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in rows[0]})
    return SourceTable(table, {"type": "none"}, origins=tuple(_origin(kind, rows) for kind in spec["kinds"]))


def _origin(kind: str, rows: Sequence[questions.Row]) -> dict[str, Any]:
    """What a package, or Python, gave of a kind."""
    package = questions.KINDS[kind].package
    own = [row for row in rows if row["kind"] == kind]
    left_out = sum(bool(row["excluded"]) for row in own)
    python = f"{platform.python_version()} (Unicode {unicodedata.unidata_version})"
    return {
        "package": package or "Python",
        "version": version(package) if package else python,
        "licence": facts.LICENCES[package] if package else PYTHON,
        "kind": kind,
        "known": len(questions.collect(kind)),
        "left_out": left_out,
        "used": len(own) - left_out,
    }
