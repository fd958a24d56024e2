"""The registry of data sources: a config stanza in, raw rows out.

To add a source, write a module with `read(spec) -> SourceTable`, and name it in `SOURCES`.
Modules are imported when they are asked for, so that a table needs no `datasets` and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from culture_neurons.errors import ConfigError, nearest

#: Columns that every source gives. Whatever other columns it has can be grouped by.
REQUIRED = ("sample_id", "question", "options", "label", "category", "image", "image_id")

#: Optional column: a reason of `data.reasons` for rows that the source itself leaves out, else None.
EXCLUDED = "excluded"


@dataclass(frozen=True)
class SourceTable:
    """Raw rows, one per question, not yet checked, and how their images are opened.

    rows      data frame with the columns of `REQUIRED`: sample_id, question, options (list of texts or
              None), label (index of the right option; -1 or None = hidden), category, image (a reference
              with one of the keys bytes, path, row; or None), image_id (text; rows that show one image
              share it; "" without an image). `excluded` is optional. Every other column is a group column.
    images    JSON-able: how `data.images.opener` opens the references
    warnings  what the user should know of how the rows were read
    """

    rows: pd.DataFrame
    images: Mapping[str, Any]
    warnings: Sequence[str] = ()


def _synthetic(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data import synthetic

    return synthetic.read(spec)


def _synthetic_text(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data import synthetic_text

    return synthetic_text.read(spec)


def _table(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data import table

    return table.read(spec)


def _cvqa(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data import cvqa

    return cvqa.read(spec)


def _benchmark(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data.benchmarks import registry

    return registry.read(spec)


#: Benchmarks of texts, without images; `data.benchmarks.registry` has them all.
TEXTS = ("blend", "culturalbench", "normad", "worldvaluesbench", "commonsenseqa", "qnli", "mrpc", "country-mention")

#: type of a source -> its reader
SOURCES: dict[str, Callable[[Mapping[str, Any]], SourceTable]] = {
    "synthetic": _synthetic,
    "synthetic-text": _synthetic_text,
    "cvqa": _cvqa,
    "table": _table,
    **dict.fromkeys(TEXTS, _benchmark),
}


def read(spec: Mapping[str, Any]) -> SourceTable:
    """Read the source that `spec` describes: {"type": ..., and the keys of that type}.

    Raises ConfigError for an unknown type or key, DataError for data that can't be read.
    """
    kind = spec.get("type")
    if not isinstance(kind, str) or kind not in SOURCES:
        raise ConfigError(f"source.type: unknown {kind!r}{nearest(kind, SOURCES)}; known: {', '.join(SOURCES)}")
    return SOURCES[kind](spec)


def home(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the data of a source is read from: path, revision, split and, where there are several, config; as
    `hub.fetch` takes them. None for a source that is made here or only in local files."""
    if spec.get("type") == "cvqa":
        from culture_neurons.data import cvqa

        known: dict[str, Any] = {"path": cvqa.PATH, "split": cvqa.SPLIT, "revision": None}
    elif spec.get("type") in TEXTS:
        from culture_neurons.data.benchmarks import registry

        benchmark = registry.choose(spec)
        if benchmark.home is None:
            return None
        known = {key: benchmark.defaults[key] for key in ("path", "split", "revision", "config")
                 if key in benchmark.defaults}  # fmt: skip
    else:
        return None
    return {key: spec.get(key, default) for key, default in known.items()}


def check_keys(settings: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise ConfigError when `settings` has a key that is not in `known`; `where` names the stanza."""
    known = list(known)
    for key in settings:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, known)}; known: {', '.join(known)}")
