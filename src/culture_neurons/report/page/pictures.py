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
from culture_neurons.report.figures.tables import Tables
from culture_neurons.report.figures.titles import named
from culture_neurons.report.registry import FIGURES, FigureFile
from culture_neurons.report.words import plain, units_on_line

#: Figures of all models that have a place of their own on the page; any other is shown with the figures.
PLACED = ("overview", "baseline")
#: Figures that are open on the page, at most, and bytes of all of them.
MOST_SHOWN, MOST_BYTES = 12, 3_500_000


def image(folder: Path, file: FigureFile, caption: str) -> dict[str, Any]:
    """One figure for the page, its PNG inline. Raises FileError where it is missing or damaged."""
    path = folder / f"{file.stem}.png"
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            width, height = picture.size
            data = _smaller(picture, data)
    except (OSError, ValueError):  # of bytes in memory: what Pillow raises for some damage
        raise damaged(path, "damaged or no PNG file") from None
    return {
        "name": f"figures/{file.stem}.pdf",
        "source": Markup("data:image/png;base64," + base64.b64encode(data).decode()),
        "caption": units_on_line(plain(caption)),
        "alt": plain(f"{file.kind.replace('-', ' ')} figure. {caption}"),
        "width": width,
        "height": height,
        "wide": width > 900,
    }


def _smaller(picture: Image.Image, data: bytes) -> bytes:
    """The picture in 256 colours, a quarter of its bytes, where that is smaller: figures have few colours. The files
    beside the page stay as they are."""
    of = io.BytesIO()
    picture.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(of, "PNG")
    return min(of.getvalue(), data, key=len)


def groups(
    tables: Tables, folder: Path, files: Sequence[FigureFile], selectors: Sequence[str], top_fraction: float
) -> dict[str, Any]:
    """The figures of the page: those of `PLACED` by name, the others of all models, then per model those that one
    reads (`first`), and folded all others (`folded`). At most `MOST_SHOWN` are open; what would make the page too
    large is named with its file (`listed`), folded figures first."""
    is_folded = {file: FIGURES[file.kind].folded for file in files}
    order = sorted(files, key=lambda file: (is_folded[file], file.kind not in PLACED))  # stable: as in the run's list
    shown: dict[FigureFile, dict[str, Any]] = {}
    listed, size = [], 0
    for file in order:
        picture = image(folder, file, drawing.caption(tables, file, selectors, top_fraction))
        size += len(picture["source"])
        if size > MOST_BYTES:
            listed.append(picture["name"])
        else:
            shown[file] = picture
    placed = {kind: shown.pop(FigureFile(kind), None) for kind in PLACED}
    inline = [file for file in files if file in shown and not is_folded[file]]
    inline = inline[: MOST_SHOWN - len(PLACED)]
    models = []
    for model in dict.fromkeys(file.model for file in files if file.model):
        first = [shown[file] for file in inline if file.model == model]
        folded = [shown[file] for file in files if file in shown and file not in inline and file.model == model]
        models.append({"who": named(tables, model), "first": first, "folded": folded})
    overall = [shown[file] for file in files if file in shown and not file.model]
    return {**placed, "overall": overall, "models": models, "listed": sorted(listed)}
