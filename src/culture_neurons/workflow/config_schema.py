"""Values of the config: what its schema allows, and what YAML can write but no step can take."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from culture_neurons.errors import ConfigError, has_control, nearest

#: No config has more settings, or is nested deeper.
_MOST, _DEEPEST = 100_000, 20
#: What a pattern without a description is about.
_NAME = (
    "a name of letters, digits, '.', '_' and '-', other than tables, figures, logs, benchmarks, sets, mentions, "
    "tasks and choose"
)


def check(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first value that is wrong."""
    _check_values(config)
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=lambda e: (len(e.absolute_path), str(e.path)))
    if errors:
        raise ConfigError(_message(errors[0]))


def brief(value: Any) -> str:
    """A value in a message: its beginning, if it is long."""
    large = isinstance(value, int) and abs(value) >= 2**63  # Python writes no decimals of a very large one
    text = hex(value) if large else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _where(error: ValidationError) -> str:
    return ": ".join(str(part) for part in error.absolute_path)


def _message(error: ValidationError) -> str:
    """One schema error in plain words."""
    where = _where(error)
    prefix = f"{where}: " if where else ""
    rule, limit, value = error.validator, error.validator_value, error.instance
    if rule == "additionalProperties" and isinstance(value, Mapping):
        known = list(error.schema.get("properties", {}))
        unknown = [key for key in value if key not in known]
        return f"{prefix}unknown key {unknown[0]!r}{nearest(unknown[0], known)}; known: {', '.join(known)}"
    if rule == "required":
        missing = [key for key in limit if key not in value]
        present = f" (found {', '.join(map(str, value))})" if value else ""
        return f"{prefix}key {missing[0]!r} is missing{present}"
    if {"exclusiveMinimum", "maximum"} <= error.schema.keys() and rule in ("exclusiveMinimum", "maximum"):
        low, high = error.schema["exclusiveMinimum"], error.schema["maximum"]
        return f"{prefix}{brief(value)} is not valid; expected a number in ({low}, {high}]"
    expected = {
        "enum": lambda: f"one of {', '.join(map(str, limit))}{nearest(value, limit)}",
        "type": lambda: " or ".join(limit) if isinstance(limit, list) else str(limit),
        "minimum": lambda: f"at least {limit}",
        "maximum": lambda: f"at most {limit}",
        "exclusiveMinimum": lambda: f"more than {limit}",
        "exclusiveMaximum": lambda: f"less than {limit}",
        "minItems": lambda: f"at least {limit} of them",
        "minProperties": lambda: f"at least {limit} of them",
        "uniqueItems": lambda: "each one once",
        "pattern": lambda: error.schema.get("description", _NAME),
    }
    expectation = expected[rule]() if rule in expected else str(error.schema.get("description", rule))
    return f"{prefix}{brief(value)} is not valid; expected {expectation}"


def _check_values(config: Mapping[str, Any]) -> None:
    """Raise ConfigError for what YAML can write and no step can take: settings reach the steps as JSON."""
    left: list[tuple[tuple[str, ...], Any]] = [((), config)]
    for _ in range(_MOST):
        if not left:
            return
        where, value = left.pop()
        if len(where) > _DEEPEST:
            raise ConfigError(f"{': '.join(where[:3])}: nested deeper than {_DEEPEST}; does an anchor hold itself?")
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str) or has_control(key):
                    raise ConfigError(f"{': '.join((*where, brief(key)))}: expected a text of one line as name, quoted")
            left += [((*where, key), item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            left += [((*where, str(i)), item) for i, item in enumerate(value)]
        else:
            _check_value(where, value)
    raise ConfigError(f"more than {_MOST:,} settings; does an anchor hold itself?")


def _check_value(where: Sequence[str], value: Any) -> None:
    """Raise ConfigError unless a single value can be written as JSON and read back."""
    expected = ""
    if isinstance(value, str):
        if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n\r" for c in value):
            expected = "text without control characters and halves of surrogate pairs"
    elif isinstance(value, int):
        expected = "" if abs(value) < 2**63 else "a number below 2^63"
    elif isinstance(value, float):
        expected = "" if math.isfinite(value) else "a finite number"
    elif value is not None:
        expected = f"a text, number, list or mapping, no {type(value).__name__}; put it in quotes"
    if expected:
        raise ConfigError(f"{': '.join(where)}: {brief(value)} is not valid; expected {expected}")
