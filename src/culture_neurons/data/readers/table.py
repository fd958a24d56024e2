"""A data set of one's own: a parquet, CSV, TSV, JSON or JSONL file with one question per row.

    type: table
    path: questions.csv
    columns:                 # which column of the file is which
      sample_id: id
      question: text
      options: [a, b, c, d]  # one column per option, or one column of lists (or JSON lists)
      label: answer          # unless `labels` gives it
      category: topic        # optional
      image: picture         # optional
      image_id: picture_id   # optional: questions with one image_id are never split apart
      option_cultures: whose # optional: whose each option is; as `options`, a column per option or one of lists
    label_kind: index        # index, letter (from A) or text
    label_base: 1            # optional, with index: the number of the first option, 0 or 1
    labels: {path: answers.csv, id: id, label: answer}   # optional: the labels in a second table
    images: path             # path, bytes or none
    image_root: pictures     # folder of the paths; by default that of the file

All other columns of plain values can be grouped by, under their own names; so can `culture`, if
`columns` maps it. A cell that is missing at the end of a row of option columns is no option.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os.path import isdir
from pathlib import Path
from typing import Any

import pandas as pd

from culture_neurons.data import images as pictures
from culture_neurons.data import label_columns, labels, tabular
from culture_neurons.data.source import SourceTable, check_keys
from culture_neurons.data.text import missing, plain
from culture_neurons.errors import ConfigError, DataError

KEYS = ("type", "path", "columns", "label_kind", "label_base", "labels", "images", "image_root")
ROLES = ("sample_id", "question", "options", "label", "category", "image", "image_id", "culture", "option_cultures")
#: Roles of lists: of one column, or of a column per item.
LISTS = ("options", "option_cultures")
IMAGES = ("none", "path", "bytes")

#: Names of `samples.parquet` that a column of the file must not take.
_RESERVED = {
    "sample_id",
    "question",
    "options",
    "label",
    "category",
    "image",
    "image_id",
    "option_cultures",
    "split",
    "excluded",
    "width",
    "height",
}


def read(spec: Mapping[str, Any]) -> SourceTable:
    """Read the file; see the module's text for `spec`.

    Raises ConfigError for a wrong key or value, DataError when the file can't be read or lacks a column, or when its
    labels can be read in two ways (`label_columns`).
    """
    roles, reading = _check(spec)
    path = spec["path"]
    listed = [name for role in LISTS if role in roles for name in _listed(roles[role])]
    wanted = [name for role, name in roles.items() if role not in LISTS] + listed
    others = [n for n in tabular.column_names(path, "source.path", scalar=True) if n not in {*wanted, *_RESERVED}]
    table = tabular.read(path, wanted + others, "source.path")

    ids = [labels.identifier(value) for value in table[roles["sample_id"]]]
    options = _lists(table, roles["options"])
    raw = labels.lookup(spec["labels"], ids, "source.labels") if spec.get("labels") else table[roles["label"]]
    file, column = (spec["labels"]["path"], spec["labels"]["label"]) if spec.get("labels") else (path, roles["label"])
    label_indices, warnings = label_columns.resolve(raw, options, reading, f"{file}: column {column!r}")
    references, how = _images(spec, table.get(roles.get("image", ""), [None] * len(ids)))
    columns = {
        "sample_id": ids,
        "question": table[roles["question"]],
        "options": options,
        "label": label_indices,
        "category": table[roles["category"]] if "category" in roles else [None] * len(ids),
        "image": references,
        "image_id": _identities(references, how, table.get(roles.get("image_id", ""))),
    }
    columns |= {name: table[name] for name in others}
    if "culture" in roles:
        columns["culture"] = table[roles["culture"]]
    if "option_cultures" in roles:
        columns["option_cultures"] = _lists(table, roles["option_cultures"], keep=True)
    rows = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    return SourceTable(rows, how, warnings)


def _check(spec: Mapping[str, Any]) -> tuple[dict[str, Any], label_columns.Reading]:
    """The roles of the columns and how labels are read, or a ConfigError."""
    check_keys(spec, KEYS, "source")
    if not isinstance(spec.get("path"), str):
        raise ConfigError(f"source.path: expected a file, found {spec.get('path')!r}")
    columns = spec.get("columns")
    if not isinstance(columns, Mapping):
        raise ConfigError(f"source.columns: expected a mapping to names of columns, found {columns!r}")
    check_keys(columns, ROLES, "source.columns")
    roles = {role: name for role, name in columns.items() if name is not None}
    needed = ["sample_id", "question", "options"] + ([] if spec.get("labels") else ["label"])
    for role in needed:
        if role not in roles:
            raise ConfigError(f"source.columns.{role}: missing; name the column of {spec['path']} that holds it")
    for role, name in roles.items():
        several = role in LISTS and isinstance(name, list | tuple) and all(isinstance(n, str) for n in name)
        if not isinstance(name, str) and not several:
            raise ConfigError(f"source.columns.{role}: expected the name of a column, found {name!r}")
    if spec.get("images", "none") not in IMAGES:
        raise ConfigError(f"source.images: {spec['images']!r}; expected one of {', '.join(IMAGES)}")
    if ("image" in roles) != (spec.get("images", "none") != "none"):
        raise ConfigError("source: columns.image and images (path or bytes) go together; set both or neither")
    return roles, label_columns.check(spec, "source")


def _listed(options: str | Sequence[str]) -> list[str]:
    return [options] if isinstance(options, str) else list(options)


def _lists(table: Mapping[str, Sequence[Any]], names: str | Sequence[str], keep: bool = False) -> list[Any]:
    """The list of each row. Of a cell that is none: None, or with `keep` the cell, so that the filter sees it."""
    if not isinstance(names, str):
        return [_options(cells) for cells in zip(*(table[name] for name in names), strict=True)]
    parsed = [(cell, _parse(cell)) for cell in table[names]]
    return [cell if items is None and keep else items for cell, items in parsed]


def _options(cells: Sequence[Any]) -> list[Any]:
    """The items of one row, without the missing cells at its end."""
    cells = list(cells)
    while cells and missing(cells[-1]):
        cells.pop()
    return cells


def _parse(cell: Any) -> list[Any] | None:
    """A list, or a text that is a JSON list; None for anything else."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return None
    flat = isinstance(cell, list) and not any(isinstance(value, list | dict) for value in cell)
    return cell if flat else None


def _images(spec: Mapping[str, Any], cells: Sequence[Any]) -> tuple[list[dict | None], dict[str, Any]]:
    """References to the images, and how they are opened."""
    if spec.get("images", "none") == "none":
        return [None] * len(cells), {"type": "none"}
    if spec["images"] == "bytes":
        return [_embedded(cell, i, spec["path"]) for i, cell in enumerate(cells)], {"type": "embedded"}
    root = spec.get("image_root") or str(Path(spec["path"]).parent)
    if not isinstance(root, str) or not isdir(root):
        raise DataError(f"source.image_root: no such folder: {root}")
    paths = [{"path": path} if (path := plain(cell)) else None for cell in cells]
    return paths, {"type": "files", "root": root}


def _embedded(cell: Any, row: int, path: str) -> dict[str, bytes] | None:
    if isinstance(cell, Mapping):  # as `datasets` writes an image: {"bytes": ..., "path": ...}
        cell = cell.get("bytes")
    if missing(cell):
        return None
    if not isinstance(cell, bytes):
        raise DataError(f"{path}: row {row + 1}: the image is a {type(cell).__name__}; `images: bytes` takes bytes")
    return {"bytes": cell}


def _identities(references: Sequence[dict | None], how: Mapping[str, Any], given: Sequence[Any] | None) -> list[str]:
    """Per row the given image_id, else the hash of the image's bytes, else (an unreadable file) its path."""
    load = pictures.loader(how)
    seen: dict[Any, str] = {}

    def identity(reference: dict | None) -> str:
        if reference is None:
            return ""
        key = reference.get("path", id(reference))
        if key not in seen:
            try:
                seen[key] = pictures.content_id(load(reference))
            except DataError:
                seen[key] = f"path:{reference.get('path')}"
        return seen[key]

    own = given if given is not None else [None] * len(references)
    return [labels.identifier(value) or identity(reference) for value, reference in zip(own, references, strict=True)]
