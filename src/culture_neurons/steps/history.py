"""What made the files behind the tables: kept beside them by the steps that write them, put together for the run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class History:
    """Versions, code digests, libraries and hardware per step; per model revision, dtype, and GGUF file if any."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, set]] = {}
        self._models: dict[str, dict[str, Any]] = {}

    def add(self, metadata: Mapping[str, Any]) -> None:
        """Take note of one file's metadata."""
        own_entry = {metadata["step"]: metadata} if "step" in metadata else {}
        for name, entry in {**metadata.get("history", {}), **own_entry}.items():
            step = self._step(name)
            for key in ("code", "version"):
                step[key].update([entry[key]] if key in entry else [])
            step["hardware"].update(entry.get("hardware", ()))
            step["packages"].update(f"{p} {v}" for p, v in entry.get("packages", {}).items())
        if metadata.get("dtype"):
            converted = {"gguf": metadata["gguf"]} if metadata.get("gguf") else {}
            self._model(metadata["model"], {key: metadata.get(key) for key in ("revision", "dtype")} | converted)

    def include(self, noted: Mapping[str, Any]) -> None:
        """Take note of all that another history says: what `as_dict` gave."""
        for name, entry in noted["steps"].items():
            step = self._step(name)
            for key, values in entry.items():
                step[key].update(values)
        for name, entry in noted["models"].items():
            self._model(name, entry)

    def as_dict(self) -> dict[str, Any]:
        """What there is to say, by name: of steps {code, version, hardware, packages}, each a sorted list; of models
        {revision, dtype}, and `gguf` of those that were converted."""
        steps = {name: {key: sorted(values) for key, values in step.items()} for name, step in self._steps.items()}
        return {"steps": steps, "models": self._models}

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def write(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Write provenance_{step}.json of the step that `provenance` is of (`cli.provenance`), which is noted too."""
        from culture_neurons.files import write_text

        self.add(provenance)
        write_text(folder / f"provenance_{provenance['step']}.json", self.as_json())

    def _model(self, name: str, entry: Mapping[str, Any]) -> None:
        # Not every file says which GGUF file a model was converted from.
        self._models[name] = self._models.get(name, {}) | dict(entry)

    def _step(self, name: str) -> dict[str, set]:
        return self._steps.setdefault(name, {key: set() for key in ("code", "version", "hardware", "packages")})


def read(paths: Iterable[Path]) -> dict[str, Any]:
    """What several files of `History.as_json` say together. Raises FileError for one that is missing or damaged."""
    from culture_neurons.files import damaged, read_json

    history = History()
    for path in paths:
        try:
            history.include(read_json(path))
        except (KeyError, TypeError, AttributeError):
            raise damaged(path, "it does not say what made the tables") from None
    return history.as_dict()
