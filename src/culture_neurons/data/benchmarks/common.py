"""What the text benchmarks share: their settings, where they are read from, and how questions become rows.

    type: qnli                     # see `registry`
    path: nyu-mll/glue             # a name on the hub, a folder of `save_to_disk` or of parquet, or one file:
                                   # parquet, CSV, TSV, JSON (a list of records) or JSONL
    config: qnli                   # of the hub's data set, where it has several
    revision: null                 # commit of the hub
    split: validation
    templates: ["{question} ..."]  # the wording; which one a question gets is a seeded hash of its id
    seed: 1
    control: false                 # true: the same options and labels without the question
    control_template: Choose one of the following options.

In a control the question is `control_template`, and ids end in "-control", so that they differ from the questions'.
A row that is not understood stays a row: the filter drops it with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from culture_neurons.data import hub_rows, label_columns
from culture_neurons.data.benchmarks import wording
from culture_neurons.data.source import SourceTable, check_keys
from culture_neurons.data.text import clean_line
from culture_neurons.errors import ConfigError

CONTROL = "Choose one of the following options."
#: What marks the id of a control.
SUFFIX = "-control"

Spec = Mapping[str, Any]
Record = dict[str, Any]


@dataclass(frozen=True)
class Home:
    """Where a benchmark lies on the hub; `config` is None where the data set has only one."""

    path: str
    split: str
    config: str | None = None


@dataclass(frozen=True)
class Question:
    """A row of a benchmark, not yet worded and not checked.

    sample_id    unique; "" where the row has none
    fields       name -> value, for the templates
    options      the texts, or None where they were not understood
    label        index of the right option; None = hidden; `labels.NOT_UNDERSTOOD`
    groups       group columns, `culture` among them; the same names for all questions of a benchmark
    excluded     a reason of `data.reasons`, or None
    """

    sample_id: str
    fields: Mapping[str, Any]
    options: Sequence[Any] | None
    label: Any
    groups: Mapping[str, Any]
    category: Any = None
    excluded: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: how it is read, and how its questions are worded.

    questions    (settings with all defaults) -> its questions, in the file's order
    fields       what templates can name
    templates    the default wording
    home         where it lies on the hub, or None: it is read from local files or made here
    keys         settings of its own, with their defaults
    """

    questions: Callable[[Spec], Iterable[Question]]
    fields: tuple[str, ...]
    templates: tuple[str, ...]
    home: Home | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, Any]:
        """All settings but `type`, and their defaults."""
        shared = {"templates": self.templates, "seed": 1, "control": False, "control_template": CONTROL}
        if self.home is None:
            return {**shared, **self.keys}
        home = {"path": self.home.path, "revision": None, "split": self.home.split}
        return home | ({"config": self.home.config} if self.home.config else {}) | shared | dict(self.keys)


def read(spec: Spec, benchmark: Benchmark) -> SourceTable:
    """Read a benchmark, and word its questions.

    Raises ConfigError for a wrong key or value; DataError when the data can't be had or lacks a column.
    """
    defaults = benchmark.defaults
    check_keys(spec, ("type", *defaults), "source")
    spec = defaults | dict(spec)
    for key, expected in (("path", str), ("split", str), ("revision", str | None), ("seed", int), ("control", bool)):
        wrong = not isinstance(spec[key], expected) if key in spec else False
        if wrong or (expected is int and isinstance(spec[key], bool)) or "\0" in str(spec.get(key)):
            raise ConfigError(f"source.{key}: expected {_NAMES[expected]}, found {spec[key]!r}")
    templates = wording.check(spec["templates"], benchmark.fields, "source.templates")
    control = wording.check_plain(spec["control_template"], "source.control_template") if spec["control"] else None
    rows = [_row(question, templates, spec["seed"], control) for question in benchmark.questions(spec)]
    names = dict.fromkeys(name for row in rows[:1] for name in row) or COLUMNS
    columns = {name: pd.Series([row[name] for row in rows], dtype=object) for name in names}
    return SourceTable(pd.DataFrame(columns), {"type": "none"})


_NAMES = {str: "a text", str | None: "a text or null", int: "a whole number", bool: "true or false"}

#: Columns of a table without rows.
COLUMNS = ("sample_id", "question", "options", "label", "category", "image", "image_id", "culture", "excluded")


def _row(question: Question, templates: Sequence[str], seed: int, control: str | None) -> Record:
    text = wording.fill(wording.pick(templates, question.sample_id, seed), question.fields)
    return {
        "sample_id": question.sample_id + SUFFIX if control and question.sample_id else question.sample_id,
        "question": control if control and text else text,
        "options": None if question.options is None else list(question.options),
        "label": question.label,
        "category": question.category,
        "image": None,
        "image_id": "",
        **question.groups,
        "excluded": question.excluded,
    }


def records(spec: Spec, columns: Sequence[str], label: str, codes: int = 0) -> list[Record]:
    """The rows of the data that `spec` names, with these columns and that of the labels.

    `codes`: labels are whole numbers below it. Raises DataError when the data can't be read, lacks a column, or has
    such labels that run from 1.
    """
    names = [*columns, label]
    table = hub_rows.read_columns(
        spec["path"], names, revision=spec["revision"], split=spec["split"], config=spec.get("config"), literal=[label]
    )
    if codes:
        label_columns.check_codes(table[label], codes, f"{spec['path']}: column {label!r}")
    return [dict(zip(names, values, strict=True)) for values in zip(*(table[name] for name in names), strict=True)]


def country(value: Any) -> str:
    """The name of a country as we write it: "south_korea" and "South_Korea" are South Korea."""
    name = clean_line(clean_line(value).replace("_", " "))
    if name != name.lower():
        return name
    return re.sub(r"\b(?!(?:and|of|the)\b)\w", lambda letter: letter[0].upper(), name)


def require_integer(spec: Spec, key: str, low: int) -> int:
    """A setting that is a whole number from `low`. Raises ConfigError."""
    value = spec[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ConfigError(f"source.{key}: {value!r}; expected a whole number from {low}")
    return value
