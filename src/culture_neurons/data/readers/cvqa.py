"""CVQA (Romero et al. 2024, arXiv 2406.05967): questions about images from many countries.

    type: cvqa
    path: afaji/cvqa               # name on the hub, a folder of `save_to_disk`, or local parquet
    revision: null                 # commit of the hub
    split: test
    language: english              # english (the translations) or native
    one_language_per_country: false    # keep, per country, the language with the most questions
    labels: {path: labels.csv, id: ID, label: Label}
    label_kind: index              # index, letter (from A) or text
    label_base: 0                  # optional, with index: the number of the first option, 0 or 1

The copy on the hub hides the answers: every Label there is -1. `labels` names a table that has
them, from ID to label; or `path` names a copy of the data set that has them.

Group columns: language, country, subset ("Japan-Japanese"), and culture, which is the subset.
Images are neither decoded nor copied: `samples.parquet` refers to them by row, and their bytes
are streamed once for an identity, since several questions of CVQA share an image.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from culture_neurons.data import hub_rows, label_columns, labels, reasons
from culture_neurons.data.images import content_id
from culture_neurons.data.source import SourceTable, check_keys
from culture_neurons.data.text import clean
from culture_neurons.errors import ConfigError, DataError, nearest

KEYS = (
    "type", "path", "revision", "split", "language", "one_language_per_country", "labels", "label_kind", "label_base",
)  # fmt: skip

#: The hub's name and split, where none is given.
PATH, SPLIT = "afaji/cvqa", "test"

#: language -> columns of the question and of its options
TEXTS = {"english": ("Translated Question", "Translated Options"), "native": ("Question", "Options")}

WITHOUT_LABELS = (
    "the hub's copy of CVQA hides the answers: ask its authors for a table from ID to label, or set source.path to a"
    " copy that has them and remove source.labels"
)


def read(spec: Mapping[str, Any]) -> SourceTable:
    """Read CVQA, or data of its schema; see the module's text for `spec`.

    Raises ConfigError for a wrong key or value; DataError when the data can't be had, lacks a column,
    hides all labels, or has some that can be read in two ways (`label_columns`).
    """
    check_keys(spec, KEYS, "source")
    language = spec.get("language", "english")
    if not isinstance(language, str) or language not in TEXTS:
        raise ConfigError(f"source.language: {language!r}; expected english (the translations) or native")
    one_language = spec.get("one_language_per_country", False)
    if not isinstance(one_language, bool):
        raise ConfigError(f"source.one_language_per_country: expected true or false, found {one_language!r}")
    for key, known in (("path", str), ("split", str), ("revision", str | None)):
        if not isinstance(spec.get(key, ""), known) or "\0" in str(spec.get(key)):
            raise ConfigError(f"source.{key}: expected a text, found {spec[key]!r}")
    reading = label_columns.check(spec, "source")
    if spec.get("labels"):
        labels.check_table(spec["labels"], "source.labels", WITHOUT_LABELS)  # before a download of gigabytes
    path, split = spec.get("path", PATH), spec.get("split", SPLIT)
    opened = hub_rows.open_rows(path, spec.get("revision"), split)

    question, options = TEXTS[language]
    wanted = ["ID", "Subset", question, options, "Category"] + ([] if spec.get("labels") else ["Label"])
    for name in [*wanted, "image"]:
        if name not in opened.names:
            raise DataError(
                f"{path}: no column {name!r}{nearest(name, opened.names)}; it has {', '.join(opened.names)}"
            )
    with hub_rows.readable(path):
        table = {name: column.to_pylist() for name, column in _columns(opened.read(wanted)).items()}
    ids = [labels.identifier(value) for value in table["ID"]]
    subsets = [parse_subset(value) for value in table["Subset"]]
    label_indices, warnings = _labels(spec, reading, table, ids, options, f"{path} (split {split})")
    identities = _identities(opened)
    columns = {
        "sample_id": ids,
        "question": table[question],
        "options": table[options],
        "label": label_indices,
        "category": table["Category"],
        "image": [{"row": row} if identity else None for row, identity in enumerate(identities)],
        "image_id": identities,
        "culture": [f"{pair[1]}-{pair[0]}" if pair else None for pair in subsets],
        "subset": [f"{pair[1]}-{pair[0]}" if pair else None for pair in subsets],
        "language": [pair[0] if pair else None for pair in subsets],
        "country": [pair[1] if pair else None for pair in subsets],
        "excluded": _excluded(subsets, one_language),
    }
    rows = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    how = {"type": "datasets", "path": path, "revision": opened.revision, "split": split, "column": "image"}
    if opened.files:
        how["files"] = list(opened.files)
    return SourceTable(rows, how, warnings)


def parse_subset(value: Any) -> tuple[str, str] | None:
    """(language, country) of a Subset such as "('Japanese', 'Japan')"; None when it is none."""
    if isinstance(value, str) and len(value) < 1000:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes that Python does not know
                value = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return None
    pair = isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(v, str) and clean(v) for v in value)
    return (clean(value[0]), clean(value[1])) if pair else None


def _columns(table: Any) -> dict[str, Any]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _labels(
    spec: Mapping[str, Any], reading: label_columns.Reading, table: Mapping[str, list], ids: list[str], options: str,
    where: str,
) -> tuple[list[Any], tuple[str, ...]]:  # fmt: skip
    if spec.get("labels"):
        raw = labels.lookup(spec["labels"], ids, "source.labels")
        column = f"{spec['labels']['path']}: column {spec['labels']['label']!r}"
    else:
        raw, column = table["Label"], f"{where}: column 'Label'"
    label_indices, warnings = label_columns.resolve(raw, table[options], reading, column)
    if ids and all(label is None for label in label_indices) and not spec.get("labels"):
        raise DataError(
            f"{where}: every Label is -1: this copy hides the answers\n"
            "  set source.labels to {path, id, label}, a table from ID to label, or source.path to a copy that has them"
        )
    return label_indices, warnings


def _excluded(subsets: Sequence[tuple[str, str] | None], one_language: bool) -> list[str | None]:
    """Why rows are left out here: their subset can't be read, or their country has a larger language."""
    sizes = Counter(pair for pair in subsets if pair)
    largest: dict[str, str] = {}
    for language, country in sorted(sizes, key=lambda pair: (-sizes[pair], pair)):
        largest.setdefault(country, language)

    def reason(pair: tuple[str, str] | None) -> str | None:
        if pair is None:
            return reasons.SUBSET
        return reasons.OTHER_LANGUAGE if one_language and largest[pair[1]] != pair[0] else None

    return [reason(pair) for pair in subsets]


def _identities(opened: hub_rows.Rows) -> list[str]:
    """The hash of every row's encoded image; "" for no image, the row's number for an image without bytes."""
    identities: list[str] = []
    for batch in opened.batches("image"):
        for cell in batch:
            data = hub_rows.image_bytes(cell)
            identities.append("" if cell is None else content_id(data) if data else f"row:{len(identities)}")
    return identities
