"""Draw and caption the figures of a run, as `report.registry` lists them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from matplotlib.figure import Figure

from culture_neurons.report import figures
from culture_neurons.report.figures import style
from culture_neurons.report.figures.tables import Tables, selector_name
from culture_neurons.report.figures.titles import PLANTED, named, title
from culture_neurons.report.registry import FIGURES, FigureFile


def function(name: str) -> Callable[..., Any]:
    """A function of `report.figures` by its name in the registry, module.name."""
    module, _, of = name.partition(".")
    return getattr(import_module(f"{figures.__name__}.{module}"), of)


def call(name: str, given: dict[str, Any]) -> Any:
    """Call a function of the registry with those of the `given` arguments that it takes."""
    of = function(name)
    return of(**{key: value for key, value in given.items() if key in inspect.signature(of).parameters})


def _arguments(tables: Tables, file: FigureFile, selectors: Sequence[str], top_fraction: float) -> dict[str, Any]:
    return {
        "tables": tables, "model": file.model, "models": tables.models, "selector": file.selector,
        "selectors": list(selectors), "top_fraction": top_fraction,
    }  # fmt: skip


def empty(tables: Tables, file: FigureFile, selectors: Sequence[str], top_fraction: float) -> str:
    """Why there is nothing to draw, "" where there is something."""
    return call(FIGURES[file.kind].empty, _arguments(tables, file, selectors, top_fraction))


def draw_figure(tables: Tables, file: FigureFile, selectors: Sequence[str], top_fraction: float) -> Figure:
    """The figure; where there is nothing to draw, a strip with a line that says so.

    `selectors` are shown in figures of several, in this order.
    """
    if words := empty(tables, file, selectors, top_fraction):
        return _strip(tables, file, words)
    return call(FIGURES[file.kind].plot, _arguments(tables, file, selectors, top_fraction))


def caption(tables: Tables, file: FigureFile, selectors: Sequence[str], top_fraction: float) -> str:
    """What the figure shows, in plain text with names as they are; or why it shows nothing."""
    if words := empty(tables, file, selectors, top_fraction):
        who = [named(tables, model) for model in ([file.model] if file.model else tables.models)]
        return tables.words(f"{', '.join(who)}{_of(file)}: {words}.")
    return tables.words(call(FIGURES[file.kind].caption, _arguments(tables, file, selectors, top_fraction)))


def _of(file: FigureFile) -> str:
    return f", {selector_name(file.selector)}" if file.selector else ""


@style.with_style
def _strip(tables: Tables, file: FigureFile, words: str) -> Figure:
    fig = style.figure(style.DOUBLE, 0.45)
    planted = any(tables.is_planted(model) for model in tables.models)
    every = f"All models{f', with the {PLANTED} control' if planted else ''}"
    kind = file.kind.replace("-", " ").capitalize()
    style.heading(fig, title(tables, file.model, 60) if file.model else every, [f"{kind}{_of(file)}: {words}"])
    return fig
