"""How a whole column of labels is read. One that can be read in two ways is refused: no single row can show it.

    label_kind: index        # index, letter (from A) or text; where it is left out, index
    label_base: 1            # with index: the number of the first option, 0 or 1; where it is left out, 0

Labels that run from 1 look like labels from 0 in all rows but those whose last option is right: most rows would be
kept, each with the option after the right one. So 0 has to occur, or the labels must not be able to run from 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from culture_neurons.data import labels, option_marks, reasons
from culture_neurons.data.text import clean_line
from culture_neurons.errors import ConfigError, DataError


@dataclass(frozen=True)
class Reading:
    """What the config says of the labels.

    kind    "index", "letter" or "text"; None where it is not said: an index
    base    the number of the first option, 0 or 1; None where it is not said: 0
    """

    kind: str | None = None
    base: int | None = None


class Counts(NamedTuple):
    """How often whole numbers occur as labels.

    rows    that have options, and a label that is a whole number and not hidden
    zero    of them, those with the label 0
    last    of them, those whose label is the number of their options
    """

    rows: int
    zero: int
    last: int


def check(spec: Mapping[str, Any], where: str) -> Reading:
    """The keys `label_kind` and `label_base` of a source. Raises ConfigError."""
    kind, base = labels.check_kind(spec, where), spec.get("label_base")
    if base is not None and (isinstance(base, bool) or base not in (0, 1)):
        raise ConfigError(f"{where}.label_base: {base!r}; expected 0 or 1")
    if base is not None and kind != "index":
        raise ConfigError(f"{where}.label_base: goes with label_kind: index, and label_kind is {kind}")
    return Reading(kind if "label_kind" in spec or base is not None else None, base)


def resolve(
    raw: Sequence[Any], options: Sequence[Any], reading: Reading, where: str
) -> tuple[list[Any], tuple[str, ...]]:
    """Labels as indices of their options, from 0, as `labels.resolve` gives them; and warnings.

    `where` names the column in messages. Raises DataError for a column that can be read in two ways, or that can't be
    read as the config says. A row whose options carry marks in another order ("B. bread", "A. rice") is
    `labels.AMBIGUOUS`, where its label may mean the mark as well as the place.
    """
    texts = [_texts(cell) for cell in options]
    kind = reading.kind or "index"
    if reading.kind is None:
        _refuse_texts(raw, texts, where)
    base, warnings = _base(count(raw, texts), reading, where) if kind == "index" else (0, ())
    indices = []
    for label, own in zip(raw, texts, strict=True):
        marks = option_marks.find_marks(own) if kind != "text" else None
        index = labels.resolve(label, kind, own)
        if marks and marks.shuffled and (kind == "letter") == (marks.kind == "letter") and index is not None:
            index = labels.AMBIGUOUS
        elif base == 1 and not labels.parse_index(index)[1]:
            value = labels.parse_index(index)[0]
            index = value - 1 if value > 0 else len(own)  # 0 is outside; as -1 it would be hidden
        indices.append(index)
    return indices, warnings


def count(raw: Sequence[Any], options: Sequence[Sequence[Any]]) -> Counts:
    """Count 0 and the number of options among the labels of these rows."""
    rows = zero = last = 0
    for label, own in zip(raw, options, strict=True):
        value, reason = labels.parse_index(label)
        if len(own) > 1 and not reason:
            rows, zero, last = rows + 1, zero + (value == 0), last + (value == len(own))
    return Counts(rows, zero, last)


def check_codes(raw: Sequence[Any], number: int, where: str) -> None:
    """Raise DataError when labels run from 1 that a data set documents as the whole numbers below `number`.

    A truth value counts as its number; labels of other types are left to `labels.decode`.
    """
    codes = [int(label) for label in raw if type(label) in (bool, int)]
    counts = count(codes, [range(number)] * len(codes))
    if from_one(counts):
        raise DataError(
            f"{where}: none of {counts.rows} labels is 0 and {counts.last} are {number}, so that they run from 1; "
            f"expected 0 to {number - 1}, as the data set documents"
        )


def from_one(counts: Counts) -> bool:
    """Whether labels run from 1: 0 never occurs, and the number of options does."""
    return counts.last > 0 and counts.zero == 0


def _base(counts: Counts, reading: Reading, where: str) -> tuple[int, tuple[str, ...]]:
    """The number of the first option, and warnings. Raises DataError where it can't be told, or is not the config's."""
    rows, zero, last = counts
    if reading.base == 1:
        if zero and not last:
            raise DataError(
                f"{where}: {zero} of {rows} labels are 0 and none is the number of options, so that they run from 0; "
                "remove label_base: 1"
            )
        return 1, ()
    if from_one(counts):
        raise DataError(
            f"{where}: none of {rows} labels is 0 and {last} are the number of options, so that they run from 1; "
            "set label_base: 1"
        )
    if reading.base == 0 or not rows or (zero and not last):
        return 0, ()
    if last < zero:
        return 0, (
            f"{where}: {last} of {rows} labels are the number of options: outside, since labels run from 0; if they "
            "run from 1, and 0 is no answer, set label_base: 1",
        )
    seen = f"{zero} of {rows} are 0, and {last} the number of options" if zero else (
        f"none of {rows} is 0 or the number of options")  # fmt: skip
    raise DataError(f"{where}: labels may run from 0 or from 1: {seen}; set label_base: 0 or label_base: 1")


def _refuse_texts(raw: Sequence[Any], texts: Sequence[Sequence[str]], where: str) -> None:
    """Raise DataError when more labels are texts of their options than indices, or as many, and they differ."""
    as_text = as_index = 0
    other: list[str] = []
    for label, own in zip(raw, texts, strict=True):
        text, (value, reason) = clean_line(label), labels.parse_index(label)
        as_index += not reason and 0 <= value < len(own)
        if text in own and reason != reasons.HIDDEN_LABEL:
            as_text += 1
            other += [text] if (value, reason) != (own.index(text), "") else []
    if other and as_text >= as_index:
        raise DataError(
            f"{where}: {as_text} labels are texts of their options, and {len(other)} of these (such as "
            f"{other[0][:40]!r}) are no index of the same option; set label_kind: text, or label_kind: index"
        )


def _texts(cell: Any) -> list[str]:
    return [clean_line(option) for option in cell] if isinstance(cell, Sequence) and not isinstance(cell, str) else []
