"""Figures of the page, each with its caption, in the order of the run's list."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from culture_neurons.errors import FileError
from culture_neurons.files import damaged
from culture_neurons.report.figures import drawing
from culture_neurons.report.figures.tables import Tables, selector_name
from culture_neurons.report.figures.titles import named
from culture_neurons.report.registry import FigureFile
from culture_neurons.report.words import plain

#: Figures of all models that have a place of their own on the page; any other is shown with the figures.
PLACED = ("overview", "baseline")


def image(folder: Path, file: FigureFile, caption: str) -> dict[str, Any]:
    """One figure for the page, its PNG inline. Raises FileError where it is missing or damaged."""
    path = folder / f"{file.stem}.png"
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            width, height = picture.size
    except (OSError, ValueError):  # of bytes in memory: what Pillow raises for some damage
        raise damaged(path, "damaged or no PNG file") from None
    return {
        "source": Markup("data:image/png;base64," + base64.b64encode(data).decode()),
        "caption": plain(caption),
        "alt": plain(f"{file.kind.replace('-', ' ')} figure. {caption}"),
        "width": width,
        "height": height,
        "wide": width > 900,
    }


def groups(
    tables: Tables, folder: Path, files: Sequence[FigureFile], selectors: Sequence[str], top_fraction: float
) -> dict[str, Any]:
    """The figures of the page: those of `PLACED` by name, the others of all models, then per model its own and those
    of each selector."""
    shown = {file: image(folder, file, drawing.caption(tables, file, selectors, top_fraction)) for file in files}
    placed = {kind: shown.pop(FigureFile(kind), None) for kind in PLACED}
    models = []
    for model in dict.fromkeys(file.model for file in shown if file.model):
        of: dict[str, list[dict[str, Any]]] = {}
        for file, picture in shown.items():
            if file.model == model:
                of.setdefault(file.selector, []).append(picture)
        first = of.pop("", [])
        by_selector = {selector_name(selector): pictures for selector, pictures in of.items()}
        models.append({"who": named(tables, model), "first": first, "groups": by_selector})
    return {**placed, "overall": [picture for file, picture in shown.items() if not file.model], "models": models}
