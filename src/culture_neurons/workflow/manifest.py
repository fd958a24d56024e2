"""What a run was, in one file, and whether its results are still those: digests, settings, versions.

A manifest is a JSON object (docs/outputs.md): everything that made the results, and the SHA-256 of every table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from culture_neurons.files import file_digest

SCHEMA = 1


def digests(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 by name relative to `folder`, sorted by name."""
    return {name: file_digest(folder / name) for name in sorted(path.relative_to(folder).as_posix() for path in files)}


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested settings: {"a": {"b": 1}} gives ("a.b", 1). Lists are values."""
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from flat(value[key], f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def seeds(config: Mapping[str, Any]) -> dict[str, int]:
    """Every seed of the config, by its name."""
    return {name: value for name, value in flat(config) if name.rpartition(".")[2] == "seed"}


def changed_files(folder: Path, recorded: Mapping[str, str]) -> list[str]:
    """A line for each file that is missing or has other content than the manifest says."""
    lines = []
    for name, digest in recorded.items():
        if not (folder / name).is_file():
            lines.append(f"{name}: missing")
        elif file_digest(folder / name) != digest:
            lines.append(f"{name}: its content has changed")
    return lines


def changed_sources(reused: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[str]:
    """A line for each file of another run whose answers were taken, and that is gone or has other content now."""
    lines = []
    for name, sources in reused.items():
        for source in sources:
            path, what = Path(source["file"]), f"{name}: {source['answers']} answers are those of {source['file']}"
            if not path.is_file():
                lines.append(f"{what}, which is missing now")
            elif file_digest(path) != source["sha256"]:
                lines.append(f"{what}, whose content has changed since")
    return lines


def changed_settings(label: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each setting that differs; one that is only on one side is "none" on the other."""
    old, new = dict(flat(then)), dict(flat(now))
    return [
        f"{label} {name}: {_shown(old.get(name))} then, {_shown(new.get(name))} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _shown(value: Any) -> str:
    return "none" if value is None else repr(value)
