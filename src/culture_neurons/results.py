"""The results of a run for a notebook: tidy tables, and every figure on a matplotlib axis.

    run = load("results/demo")
    run.effects
    ax = run.plot("matrix", "planted-control", "cas")

A run is read from `tables/` and `workflow.manifest.json` alone; nothing is computed or written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.files import read_json
from culture_neurons.report import figures
from culture_neurons.report.figures.tables import COLUMNS, OPTIONAL, Tables, read, require, require_fraction

#: Every kind of figure by its name: that of its file, before the model's.
KINDS: dict[str, Callable[..., Any]] = {
    "overview": figures.plot_overview,
    "baseline": figures.plot_baseline,
    "images": figures.plot_images,
    "finetuning": figures.plot_finetuning,
    "benchmark": figures.plot_benchmark,
    "drops": figures.plot_drops,
    "dose": figures.plot_dose,
    "stability": figures.plot_stability,
    "overlap": figures.plot_overlap,
    "modules": figures.plot_modules,
    "sets": figures.plot_sets,
    "related": figures.plot_related,
    **figures.REPEATED,
    **figures.PER_SELECTOR,
}

#: Kinds of figures that need one of the further tables, where it has another name.
NEEDS = {"overlap": "overlaps", "related": "sets_effects"}


@dataclass(frozen=True)
class Run:
    """A finished run; its tables are attributes too (`run.effects`, and `run.images` where the run has it)."""

    folder: Path
    tables: Tables
    top_fraction: float

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name in COLUMNS or name in OPTIONAL:
            table = self.tables.table(name)
            if table is None:
                raise FileError(f"{self.folder / 'tables' / name}.csv: this run has no such table")
            return table
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def models(self) -> list[str]:
        return self.tables.models

    def selectors(self, model: str) -> list[str]:
        """Selectors of a model, random controls among them."""
        return self.tables.selectors(model)

    def is_planted(self, model: str) -> bool:
        """Whether the model is a control whose culture neurons are planted."""
        return self.tables.is_planted(model)

    def plot(
        self, kind: str, model: str | None = None, selector: str | None = None, ax: Axes | None = None, **options: Any
    ) -> Axes:
        """One figure of `KINDS`, as in the run's figures; returns its axis, the first one where it has several panels.

        model, selector   what the figure is of; without a selector, all that are no random controls where a figure
                          shows several, else the first of them
        ax                draw on this axis, for kinds that fit on one: with two measures the accuracy, or `measure`
        options           top_fraction (without: that of the run's figures; some kinds have none), measure

        Raises ConfigError for an unknown kind, model, selector, top fraction or option.
        """
        require(list(KINDS), kind, "kind of figure")
        function = KINDS[kind]
        takes = inspect.signature(function).parameters
        given = {"top_fraction": self.top_fraction} | options
        given |= self._names(takes, model, selector)
        if ax is not None:
            if "ax" not in takes:
                raise ConfigError(f"{kind}: has several panels and draws a figure of its own; leave ax out")
            given["ax"] = ax
        unknown = [name for name in options if name not in takes and name != "top_fraction"]
        if unknown:
            raise ConfigError(f"{kind}: unknown option {unknown[0]!r}; it takes {', '.join(takes)}")
        table = NEEDS.get(kind, kind)
        if table in OPTIONAL:
            getattr(self, table)  # says that the run has no such table
        require_fraction(self.summary, given["top_fraction"])
        drawn: Figure = function(self.tables, **{name: value for name, value in given.items() if name in takes})
        return drawn.axes[0] if ax is None else ax

    def _names(self, takes: Any, model: str | None, selector: str | None) -> dict[str, Any]:
        """The models and selectors that a figure takes."""
        if model is not None or "model" in takes:
            model = model if model is not None else self.models[0]
            require(self.models, model, "model")
        models = [model] if model is not None else self.models
        known = list(dict.fromkeys(s for m in models for s in self.selectors(m)))
        if selector is not None:
            require(known, selector, "selector")
        tested = set(self.tables.evidence["selector"])
        shown = [selector] if selector is not None else [s for s in known if s in tested] or known
        return {"model": model, "models": models, "selector": shown[0], "selectors": shown}


def load(folder: str | Path) -> Run:
    """Read the tables of `results/{dataset}`.

    Raises FileError when there are none, or one is damaged.
    """
    folder = Path(folder)
    more = [name for name in OPTIONAL if (folder / "tables" / f"{name}.csv").is_file()]
    tables = read(folder / "tables", more)
    wanted = None
    if (folder / "manifest.json").is_file():
        config = read_json(folder / "manifest.json").get("config", {})
        wanted = (config.get("figures") or {}).get("top_fraction")
    known = sorted(set(tables.summary["top_fraction"].astype(float)))
    if not known:
        raise FileError(f"{folder}/tables/summary.csv: holds no result; run the ablations again")
    return Run(folder, tables, float(wanted) if wanted else known[0])
