"""The results of a run for a notebook: tidy tables, and every figure on a matplotlib axis.

    run = load("results/demo")
    run.effects
    ax = run.plot("matrix", "planted-control", "cas")

A run is read from `tables/` and `manifest.json` alone; nothing is computed or written. `compare` alone reads answers
and masks of two runs, and computes.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from culture_neurons.analysis import compare_runs
from culture_neurons.analysis.finished_run import FinishedRun
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.files import read_json
from culture_neurons.report.figures import drawing
from culture_neurons.report.figures.tables import NEEDED, Tables, read, require, require_fraction
from culture_neurons.report.registry import FIGURES
from culture_neurons.tables import TABLES


@dataclass(frozen=True)
class Run:
    """A finished run; its tables are attributes too (`run.effects`, and `run.images` where the run has it)."""

    folder: Path
    tables: Tables
    top_fraction: float

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name in TABLES:
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

    def compare(self, other: Run | str | Path, replicates: int = 2000, seed: int = 0) -> dict[str, pd.DataFrame]:
        """This run and another one side by side, from their results folders: the tables of `snakemake compare` by name.

        See `analysis.compare_runs`: what could not be compared, and why, stands in the table `compared`. Raises
        FileError where a folder has no results of a run.
        """
        folder = other.folder if isinstance(other, Run) else other
        return compare_runs.compare(FinishedRun(self.folder), FinishedRun(folder), replicates, seed)

    def plot(
        self, kind: str, model: str | None = None, selector: str | None = None, ax: Axes | None = None, **options: Any
    ) -> Axes:
        """One figure of a kind of `report.registry.FIGURES`; returns its axis, the first of several panels.

        model, selector   what the figure is of; without a selector, all that are no random controls where a figure
                          shows several, else the first of them
        ax                draw on this axis, for kinds that fit on one: with two measures the accuracy, or `measure`
        options           top_fraction (without: that of the run's figures; some kinds have none), measure

        Raises ConfigError for an unknown kind, model, selector, top fraction or option; FileError where the run has not
        the table, or its tables have nothing to draw.
        """
        require(list(FIGURES), kind, "kind of figure")
        takes = inspect.signature(drawing.function(FIGURES[kind].plot)).parameters
        given = {"top_fraction": self.top_fraction} | options
        given |= self._names(takes, model, selector)
        if ax is not None:
            if "ax" not in takes:
                raise ConfigError(f"{kind}: has several panels and draws a figure of its own; leave ax out")
            given["ax"] = ax
        unknown = [name for name in options if name not in takes and name != "top_fraction"]
        if unknown:
            raise ConfigError(f"{kind}: unknown option {unknown[0]!r}; it takes {', '.join(takes)}")
        for table in FIGURES[kind].reads:
            getattr(self, table)  # says that the run has no such table
        require_fraction(self.summary, given["top_fraction"])
        given["tables"] = self.tables
        if words := drawing.call(FIGURES[kind].empty, given):
            raise FileError(f"{self.folder}: {kind}: {words}")
        drawn: Figure = drawing.call(FIGURES[kind].plot, given)
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
    more = [name for name in TABLES if name not in NEEDED and (folder / "tables" / f"{name}.csv").is_file()]
    tables = read(folder / "tables", more)
    wanted = None
    if (folder / "manifest.json").is_file():
        config = read_json(folder / "manifest.json").get("config", {})
        wanted = (config.get("figures") or {}).get("top_fraction")
    known = sorted(set(tables.summary["top_fraction"].astype(float)))
    if not known:
        raise FileError(f"{folder}/tables/summary.csv: holds no result; run the ablations again")
    return Run(folder, tables, float(wanted) if wanted else known[0])
