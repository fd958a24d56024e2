"""Which option is right: labels given as index, letter or text, in the rows or in a table of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from os.path import isfile
from string import ascii_uppercase
from typing import Any

from culture_neurons.data import reasons, tabular
from culture_neurons.data.source import check_keys
from culture_neurons.data.text import clean_line, missing, plain
from culture_neurons.errors import ConfigError, DataError

#: What a label may be: the index of the right option (from 0), its letter (from A), or its text.
KINDS = ("index", "letter", "text")

#: Stands for a label that is neither an index nor a letter; `parse_index` refuses it.
NOT_UNDERSTOOD = "not understood"

#: Stands for a label that may mean two options; `parse_index` refuses it.
AMBIGUOUS = "two ways"


def check_kind(spec: Mapping[str, Any], where: str) -> str:
    """The `label_kind` of a source, "index" by default. Raises ConfigError."""
    kind = spec.get("label_kind", "index")
    if kind not in KINDS:
        raise ConfigError(f"{where}.label_kind: {kind!r}; expected one of {', '.join(KINDS)}")
    return kind


def resolve(label: Any, kind: str, options: Any) -> Any:
    """A label as an index of `options`; what can't be one is returned so that `parse_index` refuses it.

    A missing label or -1 stays hidden (None). A text that is none of the options gives an index outside them.
    """
    texts = [clean_line(option) for option in options] if isinstance(options, Sequence) else []
    if kind == "text" and clean_line(label) in texts:
        return texts.index(clean_line(label))
    if missing(label) or clean_line(label) in ("", "-1"):
        return None
    if kind == "letter":
        match = re.fullmatch(r"\(?([A-Za-z])[).:]?", clean_line(label)) if isinstance(label, str) else None
        return ascii_uppercase.index(match.group(1).upper()) if match else NOT_UNDERSTOOD
    return len(texts) if kind == "text" else label


def decode(label: Any, codes: Sequence[tuple[Any, int]]) -> Any:
    """Decode a label into an index: `codes` pairs labels, as the data writes them, with indices.

    Types have to agree: 1 is neither "1" nor true nor 1.0. A missing or empty label and the number -1 stay hidden
    (None); one that stands for two indices is `AMBIGUOUS`, any other `NOT_UNDERSTOOD`.
    """
    label = plain(label) if isinstance(label, str) else label
    indices = {place for code, place in codes if type(label) is type(code) and label == code}
    if indices:
        return indices.pop() if len(indices) == 1 else AMBIGUOUS
    return None if missing(label) or label == "" or (type(label) is int and label == -1) else NOT_UNDERSTOOD


def parse_index(label: Any) -> tuple[int, str]:
    """Parse a label as a whole number: (index, ""), or (-1, the reason of `data.reasons` why it is none).

    Takes whole numbers, floats without a fraction (tables make them of columns with gaps) and their
    decimal digits as text (CSV knows no other); never a truth value.
    """
    if missing(label) or (isinstance(label, str) and not label.strip()):
        return -1, reasons.HIDDEN_LABEL
    if isinstance(label, str) and label == AMBIGUOUS:
        return -1, reasons.TWO_WAYS
    if isinstance(label, str) and re.fullmatch(r"[+-]?[0-9]{1,9}(\.0*)?", label.strip()):
        label = float(label)
    is_integer = isinstance(label, Integral) or (isinstance(label, Real) and float(label).is_integer())
    if not is_integer or type(label).__name__ in ("bool", "bool_"):
        return -1, reasons.BAD_LABEL
    return (int(label), "") if int(label) != -1 else (-1, reasons.HIDDEN_LABEL)


def check_table(settings: Mapping[str, Any], where: str, help: str = "", value: str = "label") -> None:
    """Check the settings of a second table of labels, and that it is there, before anything costly is read.

    `value` is the key that names the column looked up, where that is not a label. Raises ConfigError for wrong keys,
    DataError (with `help`, a further line) when there is no such file.
    """
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{where}: expected path, id and {value}, found {settings!r}")
    check_keys(settings, ("path", "id", value), where)
    for key in ("path", "id", value):
        if not isinstance(settings.get(key), str):
            raise ConfigError(f"{where}.{key}: expected a text, found {settings.get(key)!r}")
    if not isfile(settings["path"]):
        raise DataError(f"{where}.path: no such file: {settings['path']}" + (f"\n  {help}" if help else ""))


def lookup(settings: Mapping[str, Any], ids: Sequence[Any], where: str, value: str = "label") -> list[Any]:
    """The labels of `ids` from a second table: {"path": ..., "id": column, "label": column}; None where it has none.

    `value` is the key that names the column looked up, where that is not a label. Raises as `check_table` does, and
    DataError when the table can't be read, when it gives one id two labels, or when none of `ids` is in it.
    """
    check_table(settings, where, value=value)
    path = settings["path"]
    table = tabular.read(path, [settings["id"], settings[value]], where)
    label_of: dict[str, Any] = {}
    for key, label in zip(table[settings["id"]], table[settings[value]], strict=True):
        key = identifier(key)
        if key in label_of and label_of[key] != label:
            raise DataError(f"{path}: id {key!r} has two {value}s, {label_of[key]!r} and {label!r}")
        label_of[key] = label
    labels = [label_of.get(identifier(key)) for key in ids]
    if ids and not label_of.keys() & {identifier(key) for key in ids}:
        example = next(iter(label_of), None)
        raise DataError(
            f"{path}: none of its {len(label_of)} ids is an id of the data set\n"
            f"  its first is {example!r}, the data set's first is {identifier(ids[0])!r}"
        )
    return labels


def identifier(value: Any) -> str:
    """An id as text, so that 7 in one table is "7" in another; not normalised otherwise."""
    if isinstance(value, Real) and not isinstance(value, Integral) and float(value).is_integer():
        value = int(value)
    return plain(value)
