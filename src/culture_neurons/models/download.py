"""Fetching a model from the hub, for machines that compute without network: what loading reads, and nothing else.

Weights come as safetensors only, and code only for a model that the config trusts. Nothing of torch is imported.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from culture_neurons import hub
from culture_neurons.errors import ModelError

#: Configs, indices of the weights, tokenizers and chat templates.
SMALL = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"


def on_hub(path: str) -> bool:
    """Whether a path can only be a name on the hub: there is no such folder or file, and it does not look like one."""
    return not (Path(path).exists() or path.startswith((".", "/", "~")) or path.count("/") > 1)


def fetch(settings: Mapping[str, Any]) -> tuple[str, list[Path]]:
    """Download the model that `settings` (its stanza of the config) names; the commit, and the files in the cache.

    Raises ModelError when the hub can't be reached, or has no such model or no safetensors of it.
    """
    path = str(settings["path"])
    patterns = list(SMALL) + (["*.py"] if settings.get("trust_remote_code") else [])
    # The first call keeps what `revision` stands for, so that it is found offline.
    folder = hub.fetch(path, "model", settings.get("revision"), patterns)
    commit = folder.name
    if settings.get("from_pretrained"):  # may name a variant or a subfolder
        patterns.append("*.safetensors")
    else:
        patterns += map(glob.escape, _weights(folder / INDEX))
    hub.fetch(path, "model", commit, patterns)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if not any(file.suffix == ".safetensors" for file in files):
        raise ModelError(f"{path} at revision {commit}: has no weights as safetensors; other formats are not read")
    return commit, files


def _weights(index: Path) -> list[str]:
    """The files of the weights: those that the index lists, else the one of the usual name.

    Repositories often hold the same weights a second time under another name.
    """
    if not index.is_file():
        return [WHOLE]
    try:
        return sorted({str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ModelError(f"{index}: is no index of weights") from None
