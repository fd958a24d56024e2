"""Captions as `snakemake --report` takes them, what they say of files drawn before, and what random masks are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from culture_neurons.errors import printable
from culture_neurons.report.figures.tables import selector_name
from culture_neurons.report.registry import FIGURES
from culture_neurons.types import CULNIG


def controls(selectors: Mapping[str, Any] | None) -> str:
    """What the random masks are that selectors are held against, from the config's selectors (name -> options).

    The choice is that of `random_controls.controls_for`: plain random masks only where no matched ones were run.
    """
    methods = {name: (options or {}).get("method", name) for name, options in (selectors or {}).items()}
    matched = [name for name, method in methods.items() if method == "random-matched"]
    matches = list(dict.fromkeys((selectors[name] or {}).get("match", "cas") for name in matched))
    attributed = [selector_name(name) for name in matches if methods.get(name) in CULNIG]
    names = [selector_name(name) for name in matches if methods.get(name) not in CULNIG]
    parts = []
    if len(names) == 1:
        parts.append(
            f"Random masks have, culture by culture, the layers, liveliness (how often neurons fire) and size of the "
            f"masks of {names[0]}, whichever selector they judge."
        )
    elif names:
        parts.append(
            f"Random masks are matched to {', '.join(names)}: culture by culture, they have the layers, "
            "liveliness (how often neurons fire) and size of that selector's masks. Each of these selectors is held "
            "against those matched to it, any other against all of them."
        )
    elif "random" in methods.values():
        parts.append("Random masks take as many neurons as a mask may have, anywhere in the model.")
    if attributed:
        parts.append(f"Random masks of {', '.join(attributed)} have as many units of each projection and layer.")
    return " ".join(parts)


def _rst(text: str) -> str:
    """`text` as one line of reStructuredText that shows every character literally, and what can't be seen escaped."""
    line = printable(" ".join(text.split()))
    return "".join(f"\\{c}" if c.isascii() and not c.isalnum() and not c.isspace() else c for c in line)


def as_rst(captions: Mapping[str, str]) -> str:
    """Captions by the names of their figures' files, as one reStructuredText list."""
    return "".join(f"* **{_rst(stem)}**: {_rst(caption)}\n" for stem, caption in captions.items())


def written(text: str) -> list[str]:
    """The names of figures' files in such a list: what was drawn when it was written."""
    escaped = re.findall(r"^\* \*\*((?:\\.|[^\\*\n])+)\*\*: ", text, re.MULTILINE)
    return [re.sub(r"\\(.)", r"\1", name) for name in escaped]


def former_files(folder: Path) -> list[Path]:
    """Files of figures in `folder` that its captions.rst lists and whose kind is no longer known: an earlier version
    drew them, and none will again. What it does not list is somebody else's."""
    captions = folder / "captions.rst"
    if not captions.is_file():
        return []
    stems = written(captions.read_text(encoding="utf-8", errors="replace"))
    gone = [s for s in stems if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", s) and s.partition("_")[0] not in FIGURES]
    return [path for stem in gone for path in _files(folder, stem) if path.is_file()]


def other_files(folder: Path, stems: Iterable[str]) -> list[str]:
    """Names of pictures in `folder` that are not of the figures `stems`, sorted."""
    known = {path for stem in stems for path in _files(folder, stem)}
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".pdf", ".png") and path not in known)


def _files(folder: Path, stem: str) -> list[Path]:
    return [folder / f"{stem}{suffix}" for suffix in (".pdf", ".png")]
