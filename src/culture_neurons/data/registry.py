"""The registry of data sources: a config stanza in, raw rows out.

To add a source, write a module in `data.readers` with `read(spec) -> SourceTable`, and name it in `SOURCES`.
Modules are imported when they are asked for, so that a table needs no `datasets` and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from culture_neurons.data.source import SourceTable
from culture_neurons.errors import ConfigError, nearest
from culture_neurons.types import TEXT_BENCHMARKS


def _synthetic(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data.readers import synthetic

    return synthetic.read(spec)


def _facts(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data.readers import facts

    return facts.read(spec)


def _general_facts(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data.readers import general_facts

    return general_facts.read(spec)


def _table(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data.readers import table

    return table.read(spec)


def _cvqa(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data.readers import cvqa

    return cvqa.read(spec)


def _benchmark(spec: Mapping[str, Any]) -> SourceTable:
    from culture_neurons.data.benchmarks import registry

    return registry.read(spec)


#: type of a source -> its reader
SOURCES: dict[str, Callable[[Mapping[str, Any]], SourceTable]] = {
    "synthetic": _synthetic,
    "facts": _facts,
    "general-facts": _general_facts,
    "cvqa": _cvqa,
    "table": _table,
    **dict.fromkeys(TEXT_BENCHMARKS, _benchmark),
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
    `hub_rows.fetch` takes them. None for a source that is made here or only in local files."""
    if spec.get("type") == "cvqa":
        from culture_neurons.data.readers import cvqa

        known: dict[str, Any] = {"path": cvqa.PATH, "split": cvqa.SPLIT, "revision": None}
    elif spec.get("type") in TEXT_BENCHMARKS:
        from culture_neurons.data.benchmarks import registry

        benchmark = registry.choose(spec)
        if benchmark.home is None:
            return None
        known = {key: benchmark.defaults[key] for key in ("path", "split", "revision", "config")
                 if key in benchmark.defaults}  # fmt: skip
    else:
        return None
    return {key: spec.get(key, default) for key, default in known.items()}
