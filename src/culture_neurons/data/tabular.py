"""Parquet, CSV, TSV, JSON and JSONL files as columns of plain Python values.

Not through pandas' guesses: a culture named "NA" stays a name, "007" keeps its zeros, and
whole numbers beside gaps stay whole. In a CSV (and TSV) every value is text, and an empty one is missing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from os.path import isfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from culture_neurons.data.text import encodable
from culture_neurons.errors import ConfigError, DataError, nearest
from culture_neurons.files import first_line

SUFFIXES = (".parquet", ".csv", ".tsv", ".json", ".jsonl")

Columns = dict[str, list[Any]]


def read(path: str | Path, names: Sequence[str], where: str, literal: Sequence[str] = ()) -> Columns:
    """The columns `names` of a file, in that order, all of one length.

    In the columns `literal` of a CSV, which knows no types, digits are a whole number, and true and false truth values.

    Raises ConfigError for another kind of file, DataError when it can't be read or lacks a column.
    """
    present = column_names(path, where)
    for name in names:
        if name not in present:
            raise DataError(f"{path}: no column {name!r}{nearest(name, present)}; it has {', '.join(present)}")
    suffix = _suffix(path, where)
    columns = _READERS[suffix](Path(path), list(dict.fromkeys(names)))
    if suffix in (".csv", ".tsv"):
        columns |= {name: [_literal(cell) for cell in columns[name]] for name in literal}
    return columns


def _literal(cell: str | None) -> Any:
    """What the text of a cell writes: a whole number, a truth value, or a text."""
    if cell is not None and re.fullmatch(r"\s*[+-]?[0-9]{1,15}\s*", cell):
        return int(cell)
    return {"true": True, "false": False}.get(cell.strip().lower(), cell) if cell is not None else None


def column_names(path: str | Path, where: str, scalar: bool = False) -> list[str]:
    """The names of a file's columns; with `scalar`, without those of bytes, lists and records.

    Raises as `read` does.
    """
    suffix = _suffix(path, where)
    if not isfile(path):
        raise DataError(f"{where}: no such file: {path}")
    if suffix == ".parquet":
        fields = _guard(path, lambda: pq.read_schema(path))
        _check_names(path, fields.names)
        return [field.name for field in fields if not scalar or not _holds_much(field.type)]
    columns = _READERS[suffix](Path(path), None)
    return [k for k, column in columns.items() if not scalar or not any(isinstance(v, list | dict) for v in column)]


def _suffix(path: str | Path, where: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"{where}: {str(path)!r} is none of {', '.join(SUFFIXES)}")
    return suffix


def _holds_much(kind: pa.DataType) -> bool:
    return pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _guard(path: str | Path, call: Any) -> Any:
    try:
        return call()
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError) as error:
        raise DataError(f"{path}: not readable as {Path(path).suffix[1:]} ({first_line(error)})") from None


def _check_names(path: str | Path, names: Sequence[str]) -> None:
    """Raise DataError when two columns have one name, or one has a name that no file can hold."""
    for name, n in Counter(names).items():
        if n > 1:
            raise DataError(f"{path}: two columns are called {name[:60]!r}")
        if not encodable(name):
            raise DataError(f"{path}: the column {name[:60]!r} has a name that is no valid Unicode")


def _parquet(path: Path, names: list[str] | None) -> Columns:
    table = _guard(path, lambda: pq.read_table(path, columns=names, partitioning=None))
    return _guard(path, lambda: {name: table[name].to_pylist() for name in table.column_names})


def _csv(path: Path, names: list[str] | None) -> Columns:
    # The heading is read as a row, or pandas would take a row that is longer than it for an index.
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    options = {"header": None, "dtype": object, "keep_default_na": False, "encoding": "utf-8-sig", "sep": separator}
    table = _guard(path, lambda: pd.read_csv(path, **options))
    heading = [str(name).strip() for name in table.iloc[0]]
    _check_names(path, heading)
    cells = {name: table[i].tolist()[1:] for i, name in enumerate(heading)}
    return {
        name: [cell if isinstance(cell, str) and cell else None for cell in cells[name]] for name in names or heading
    }


def _json(path: Path, names: list[str] | None) -> Columns:
    """A list of records; or, as many call it JSON too, a record per line."""
    text = _guard(path, lambda: path.read_text(encoding="utf-8-sig"))
    if not text.lstrip().startswith("["):
        return _jsonl(path, names)
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as json ({first_line(error)})") from None
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise DataError(f"{path}: record {number} is no JSON object: {str(record)[:60]!r}")
    return _columns(path, records, names)


def _jsonl(path: Path, names: list[str] | None) -> Columns:
    text = _guard(path, lambda: path.read_text(encoding="utf-8-sig"))
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number} is no JSON ({first_line(error)})") from None
        if not isinstance(record, dict):
            raise DataError(f"{path}: line {number} is no JSON object: {line[:60]!r}")
        records.append(record)
    return _columns(path, records, names)


def _columns(path: Path, records: list[dict[str, Any]], names: list[str] | None) -> Columns:
    names = names or sorted({name for record in records for name in record})
    _check_names(path, names)
    return {name: [record.get(name) for record in records] for name in names}


_READERS = {".parquet": _parquet, ".csv": _csv, ".tsv": _csv, ".json": _json, ".jsonl": _jsonl}
