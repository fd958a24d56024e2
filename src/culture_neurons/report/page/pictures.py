"""Figures of the page, each with its caption, as `figures.captions` lists them; those that were not drawn are left
out."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from markupsafe import Markup

from culture_neurons.files import damaged
from culture_neurons.report.figures import captions
from culture_neurons.report.figures.tables import Tables, selector_name
from culture_neurons.report.words import plain

#: Figures of all models that have a place of their own on the page; any other is shown with the figures.
PLACED = ("overview", "baseline")


def image(folder: Path, entry: captions.Entry) -> dict[str, Any] | None:
    """One figure for the page, its PNG inline; None when the folder does not have it."""
    path = folder / f"{entry.stem}.png"
    if not path.is_file():
        return None
    data = path.read_bytes()
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < 24:
        raise damaged(path, "damaged or no PNG file")
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    return {
        "source": Markup("data:image/png;base64," + base64.b64encode(data).decode()),
        "caption": plain(entry.caption),
        "alt": plain(f"{entry.kind.replace('-', ' ')} figure. {entry.caption}"),
        "width": width,
        "height": height,
        "wide": width > 900,
    }


def groups(tables: Tables, folder: Path, selectors: list[str], top_fraction: float) -> dict[str, Any]:
    """The figures of the page: those of `PLACED` by name, the others of all models, then per model its own and those
    of each selector."""
    overall = {e.stem: i for e in captions.overview_entries(tables, top_fraction) if (i := image(folder, e))}
    models = []
    for model in tables.models:
        known = [s for s in selectors if s in tables.selectors(model)]
        first: list[dict[str, Any]] = []
        by_selector: dict[str, list[dict[str, Any]]] = {}
        for entry in captions.model_entries(tables, model, known, top_fraction):
            if shown := image(folder, entry):
                (by_selector.setdefault(selector_name(entry.selector), []) if entry.selector else first).append(shown)
        models.append({"who": captions.named(tables, model), "first": first, "groups": by_selector})
    placed = {name: overall.pop(name, None) for name in PLACED}
    return {**placed, "overall": list(overall.values()), "models": models}
