"""Which rows of a source become samples, and why the others don't.

The steps, in this order; a row that is left out gets the first reason that applies (`reasons.ALL`):
1. each row by itself: id, culture, texts, options, label. Of rows with one id the first in the
   source's order is kept (whether or not it is valid: which of them is right can't be known);
2. the chosen cultures and categories, and those of a split by category;
3. the image is decoded once, if `check_images`; its sides differ by `max_aspect_ratio` at most;
4. cultures with fewer than `min_samples` rows, then all but the `top_cultures` largest (ties by name).

Texts are brought to Unicode's NFC; in options every run of white space becomes one space.
Pure, but for the function that looks at images, which the caller passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.data import labels, reasons
from culture_neurons.data.images import Inspected
from culture_neurons.data.prompts import LETTERS
from culture_neurons.data.source import EXCLUDED, OPTION_CULTURES, REQUIRED, check_keys
from culture_neurons.data.text import MAX_TEXT, clean, clean_line, encodable, missing
from culture_neurons.errors import ConfigError, DataError, has_control, nearest, printable

#: Longest id, culture and category, in characters.
MAX_NAME = 200
#: Category of rows without one.
NO_CATEGORY = "unspecified"

#: Columns that can't be grouped by.
_NO_GROUPS = {*REQUIRED, EXCLUDED, OPTION_CULTURES} - {"category"}

#: Columns with the size of the image as opened, in pixels.
IMAGE_SIZE = ("width", "height")

#: Takes references to images (or None); gives, per reference, what `images.inspect` found.
ImageCheck = Callable[[Sequence[Mapping[str, Any] | None]], Iterable[Inspected]]


@dataclass(frozen=True)
class Settings:
    """The stanza `filter` of the config.

    group_by        column of the source whose values are the cultures
    rename          a culture's name in the source -> its name here: for data sets that write it in another way, and to
                    put several into one
    cultures        the cultures to keep, or None for all
    top_cultures    keep this many, those with the most valid samples; None for all
    min_samples     leave out cultures with fewer valid samples than this
    categories      the categories to keep, or None for all
    check_images    decode every image once, and leave out those that can't be
    max_aspect_ratio  leave out images whose longer side is more than this many times the shorter one, where they are
                      looked at; None for any. Qwen's processors refuse more than 200
    """

    group_by: str = "culture"
    rename: Mapping[str, str] | None = None
    cultures: tuple[str, ...] | None = None
    top_cultures: int | None = None
    min_samples: int = 1
    categories: tuple[str, ...] | None = None
    check_images: bool = True
    max_aspect_ratio: float | None = 200


@dataclass(frozen=True)
class Filtered:
    """The samples (cleaned, sorted by id, with the column culture) and the rows left out.

    kept       columns of `source.REQUIRED`, culture, width and height of the image in pixels (None where it was
               not looked at), and the group columns of the source; option_cultures, where the source has it and
               they are of the cultures that rows are grouped by
    dropped    sample_id, culture (both "" where unknown), reason; sorted
    """

    kept: pd.DataFrame
    dropped: pd.DataFrame


def settings(stanza: Mapping[str, Any]) -> Settings:
    """Check the stanza `filter` of the config. Raises ConfigError naming the key and what was expected."""
    check_keys(stanza, [field.name for field in fields(Settings)], "filter")
    values = dict(stanza)
    for key in ("cultures", "categories"):
        names = values.get(key)
        if names is None:
            continue
        if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(n, str) for n in names):
            raise ConfigError(f"filter.{key}: expected a list of names or null, found {names!r}")
        values[key] = tuple(clean(name) for name in names)
        if not names:
            raise ConfigError(f"filter.{key}: the list is empty; use null for all")
        twice = [name for name, n in Counter(values[key]).items() if n > 1]
        if twice:
            raise ConfigError(f"filter.{key}: {twice[0]!r} is listed twice")
    values["rename"] = _renames(values.get("rename"))
    for key, low in (("min_samples", 1), ("top_cultures", 2)):
        value = values.get(key, low)
        if key == "top_cultures" and value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ConfigError(f"filter.{key}: {value!r}; expected a whole number from {low}")
    if not isinstance(values.get("check_images", True), bool):
        raise ConfigError(f"filter.check_images: expected true or false, found {values['check_images']!r}")
    ratio = values.get("max_aspect_ratio", 1)
    if ratio is not None and (isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 1 <= ratio < np.inf):
        raise ConfigError(f"filter.max_aspect_ratio: {ratio!r}; expected a number from 1, or null")
    if not isinstance(values.get("group_by", ""), str):
        raise ConfigError(f"filter.group_by: expected the name of a column, found {values['group_by']!r}")
    return Settings(**values)


def _renames(names: Any) -> dict[str, str] | None:
    """Old name -> new name, cleaned as those of the rows are."""
    if names is None:
        return None
    if not isinstance(names, Mapping) or not names:
        raise ConfigError(f"filter.rename: expected names and their new names, found {names!r}")
    for old, new in names.items():
        if not isinstance(new, str) or not clean(new) or has_control(new) or len(new) > MAX_NAME:
            raise ConfigError(f"filter.rename: {old!r}: {new!r}; expected a name of at most {MAX_NAME} characters")
    return {clean(old): clean(new) for old, new in names.items()}


def apply(
    rows: pd.DataFrame,
    chosen: Settings,
    check_images: ImageCheck | None = None,
    split_categories: Sequence[str] | None = None,
    at_least: int = 2,
) -> Filtered:
    """Filter the rows of a `SourceTable`.

    `check_images` is called once, with the references of the rows that are left after step 2.
    `split_categories` are the categories of both halves, where the split is by category. `at_least` is the least number
    of cultures: data sets that choose no neurons may have one.
    Raises ConfigError for an unknown `group_by`; DataError when a chosen or renamed culture or a category occurs in
    no row, when every label is hidden, or when fewer than `at_least` cultures are left.
    """
    group_by = chosen.group_by
    if group_by not in rows.columns or group_by in _NO_GROUPS:
        known = sorted(set(rows.columns) - _NO_GROUPS)
        raise ConfigError(
            f"filter.group_by: no column {group_by!r}{nearest(group_by, known)}; known: {', '.join(known)}"
        )
    records = [_clean(record, group_by) for record in rows.to_dict("records")]
    if records and all(labels.parse_index(record["label"])[1] == reasons.HIDDEN_LABEL for record in records):
        raise DataError(
            f"all {len(records)} labels are missing or -1, so the right answers are hidden\n"
            "  set source.labels to {path, id, label}: a table from the id of a question to its label"
        )
    if chosen.rename is not None:
        _require_names(records, "culture", chosen.rename, "filter.rename")
        for record in records:
            record["culture"] = chosen.rename.get(record["culture"], record["culture"])
            if record.get(OPTION_CULTURES):
                record[OPTION_CULTURES] = [chosen.rename.get(name, name) for name in record[OPTION_CULTURES]]
    owners = {name for record in records for name in record.get(OPTION_CULTURES) or ()}
    if owners.isdisjoint(record["culture"] for record in records):
        rows = rows.drop(columns=OPTION_CULTURES, errors="ignore")  # not known, or of other groups than these
    why = _row_reasons(records)
    _choose(records, why, "culture", chosen.cultures, reasons.CULTURE_NOT_CHOSEN, "filter.cultures")
    _choose(records, why, "category", chosen.categories, reasons.CATEGORY_NOT_CHOSEN, "filter.categories")
    _choose(records, why, "category", split_categories, reasons.NOT_IN_SPLIT, "split")
    if chosen.check_images and check_images is not None:
        left = [i for i, reason in enumerate(why) if not reason]
        for i, inspected in zip(left, check_images([records[i]["image"] for i in left]), strict=True):
            why[i] = inspected.problem or _too_long(inspected.size, chosen.max_aspect_ratio)
            records[i]["width"], records[i]["height"] = inspected.size or (None, None)
    _by_size(records, why, chosen)
    sizes = _sizes(records, why)
    if len(sizes) < at_least:
        raise DataError(_too_few(sizes, why, records, at_least, chosen.min_samples))
    return Filtered(*_tables(records, why, rows))


def count_reasons(dropped: pd.DataFrame) -> pd.DataFrame:
    """Rows left out per reason and culture: reason, culture, n; in the order of `reasons.ALL`, then by name."""
    counts = dropped.groupby(["reason", "culture"], as_index=False).size().rename(columns={"size": "n"})
    order = counts["reason"].map({reason: i for i, reason in enumerate(reasons.ALL)})
    return counts.assign(order=order).sort_values(["order", "culture"], ignore_index=True)[["reason", "culture", "n"]]


def _clean(record: dict[str, Any], group_by: str) -> dict[str, Any]:
    """A row with its texts normalised; what is no list of options becomes None."""
    options = _as_list(record["options"])
    if OPTION_CULTURES in record:
        owners = [] if missing(record[OPTION_CULTURES]) else _as_list(record[OPTION_CULTURES])
        record = record | {OPTION_CULTURES: [clean(name) for name in owners] if isinstance(owners, list) else None}
    return record | {
        "sample_id": labels.identifier(record["sample_id"]),
        "culture": clean(record[group_by]),
        "category": clean(record["category"]) or NO_CATEGORY,
        "question": clean(record["question"]),
        "options": [clean_line(option) for option in options] if isinstance(options, list) else None,
        "image": None if missing(record["image"]) else record["image"],
        "image_id": printable(labels.identifier(record["image_id"])),
    }


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, np.ndarray | tuple) else value


def _row_reasons(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Per row the reason why it can't be used whatever is chosen, or ""."""
    seen: set[str] = set()
    result = []
    for record in records:
        reason = reasons.DUPLICATE_ID if record["sample_id"] in seen else _reason(record)
        result.append(reason if record["sample_id"] else reasons.MISSING_ID)
        seen.add(record["sample_id"])
    return result


def _reason(record: Mapping[str, Any]) -> str:
    """Why one row can't be used, or ""; the checks stand in the order of `reasons.ALL`."""
    names = [record["sample_id"], record["culture"], record["category"]]
    options = record["options"]
    excluded = record.get(EXCLUDED)
    if not missing(excluded) and excluded:
        return excluded
    if not record["culture"]:
        return reasons.MISSING_CULTURE
    if any(has_control(name) for name in names):
        return reasons.BAD_NAME
    if any(len(name) > MAX_NAME for name in names):
        return reasons.LONG_NAME
    if not record["question"]:
        return reasons.EMPTY_QUESTION
    if options is None:
        return reasons.NO_OPTIONS
    if len(options) < 2:
        return reasons.FEW_OPTIONS
    if len(options) > len(LETTERS):
        return reasons.MANY_OPTIONS
    if not all(options):
        return reasons.EMPTY_OPTION
    if not all(encodable(text) for text in (record["question"], *options)):
        return reasons.BAD_TEXT
    if any(len(text) > MAX_TEXT for text in (record["question"], *options)):
        return reasons.LONG_TEXT
    if len(set(options)) < len(options):
        return reasons.EQUAL_OPTIONS
    if not _fit(record.get(OPTION_CULTURES, []), len(options)):
        return reasons.OPTION_CULTURES
    label, reason = labels.parse_index(record["label"])
    if reason:
        return reason
    if not 0 <= label < len(options):
        return reasons.LABEL_OUTSIDE
    path = (record["image"] or {}).get("path")
    return "" if path is None or encodable(path) else reasons.BAD_IMAGE


def _fit(owners: Sequence[str] | None, options: int) -> bool:
    """Whether these are names of cultures for so many options, or none at all."""
    if not owners:
        return owners is not None
    return len(owners) == options and all(0 < len(name) <= MAX_NAME and not has_control(name) for name in owners)


def _too_long(size: tuple[int, int] | None, most: float | None) -> str:
    """The reason to leave out an image of this width and height, or ""."""
    return reasons.LONG_IMAGE if size and most is not None and max(size) > most * min(size) else ""


def _choose(
    records: Sequence[Mapping[str, Any]],
    why: list[str],
    column: str,
    names: Sequence[str] | None,
    reason: str,
    where: str,
) -> None:
    """Leave out the rows whose `column` is none of `names`; each name must occur in some row, usable or not."""
    if names is None:
        return
    _require_names(records, column, names, where)
    for i, record in enumerate(records):
        if not why[i] and record[column] not in names:
            why[i] = reason


def _require_names(records: Sequence[Mapping[str, Any]], column: str, names: Iterable[str], where: str) -> None:
    """Raise DataError unless every name is the `column` of some row."""
    known = {record[column] for record in records} - {""}
    for name in names:
        if name not in known:
            some = ", ".join(sorted(map(printable, known))[:10]) + (", ..." if len(known) > 10 else "")
            raise DataError(f"{where}: no row has {name!r}{nearest(name, known)}\n  the {len(known)} known: {some}")


def _sizes(records: Sequence[Mapping[str, Any]], why: Sequence[str]) -> Counter[str]:
    """Samples per culture among the rows that are left."""
    return Counter(record["culture"] for record, reason in zip(records, why, strict=True) if not reason)


def _by_size(records: Sequence[Mapping[str, Any]], why: list[str], chosen: Settings) -> None:
    """Leave out the small cultures, then all but the largest."""
    sizes = _sizes(records, why)
    enough = [culture for culture, n in sizes.items() if n >= chosen.min_samples]
    largest = sorted(enough, key=lambda culture: (-sizes[culture], culture))[: chosen.top_cultures]
    for i, record in enumerate(records):
        if not why[i] and record["culture"] not in largest:
            why[i] = reasons.NOT_LARGEST if record["culture"] in enough else reasons.FEW_SAMPLES


def _too_few(
    sizes: Mapping[str, int], why: Sequence[str], records: Sequence[Mapping[str, Any]], at_least: int, small_is: int
) -> str:
    left = ", ".join(f"{culture} ({n})" for culture, n in sorted(sizes.items())) or "none"
    counts = Counter(reason for reason in why if reason)
    summary = "; ".join(f"{reason}: {n}" for reason, n in counts.most_common()) or "no row was left out"
    small = Counter(r["culture"] for r, reason in zip(records, why, strict=True) if reason == reasons.FEW_SAMPLES)
    if small:
        largest = sorted(small, key=lambda culture: (-small[culture], culture))
        some = ", ".join(f"{printable(c)} {small[c]}" for c in largest[:10]) + ", ..." * (len(small) > 10)
        summary += f"; filter.min_samples is {small_is}, and there are: {some}"
    # A label is shown where it is to blame.
    of_rows = [(reason, n) for reason, n in counts.most_common() if reason not in reasons.OF_CHOICES]
    if of_rows:
        commonest = of_rows[0][0]
        record = next(r for r, reason in zip(records, why, strict=True) if reason == commonest)
        summary += f"; for example {printable(record['sample_id'])!r} ({commonest})"
        summary += f", label {str(record['label'])[:40]!r}" * ("label" in commonest)
    few = "fewer than two cultures are" if at_least > 1 else "no sample is"
    return f"{few} left of {len(why)} rows: {left}\n  rows left out: {summary}"


def _tables(records: list[dict], why: Sequence[str], rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows kept and the rows left out, both sorted."""
    good = sorted((r for r, reason in zip(records, why, strict=True) if not reason), key=lambda r: r["sample_id"])
    names = [name for name in dict.fromkeys((*REQUIRED, "culture", *IMAGE_SIZE, *rows.columns)) if name != EXCLUDED]
    kept = pd.DataFrame({name: pd.Series([_value(r, name) for r in good], dtype=object) for name in names})
    bad = sorted(
        (printable(r["sample_id"]), printable(r["culture"]), reason)
        for r, reason in zip(records, why, strict=True)
        if reason
    )
    return kept, pd.DataFrame(bad, columns=["sample_id", "culture", "reason"], dtype=object)


def _value(record: Mapping[str, Any], name: str) -> Any:
    """A cell of the table that is kept: the label as an int, group columns as text or None."""
    if name == "label":
        return labels.parse_index(record[name])[0]
    if name in IMAGE_SIZE:
        return record.get(name)
    if name in REQUIRED or name in ("culture", OPTION_CULTURES):
        return record[name]
    return printable(clean_line(record[name])) or None
