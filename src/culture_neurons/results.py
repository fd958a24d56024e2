"""The results of a run for a notebook: tidy tables, and every figure on a matplotlib axis.

    run = load("results/demo")
    run.effects
    ax = run.plot("matrix", "planted-control", "cas")

    run.mask("planted-control", "cas", "Aldovia")

Tables and figures are read from `tables/` and `manifest.json` alone; answers, questions and masks from the files beside
them, when they are asked for. `compare` alone computes; nothing is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from culture_neurons.analysis import compare_runs
from culture_neurons.analysis.finished_run import open_runs
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.files import read_json, read_table
from culture_neurons.layout import fraction_text
from culture_neurons.report.figures import drawing, style
from culture_neurons.report.figures.tables import NEEDED, Tables, read, require, require_fraction
from culture_neurons.report.registry import FIGURES
from culture_neurons.tables import TABLES
from culture_neurons.types import widths_of_layers


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run; its tables are attributes too (`run.effects`, and `run.images` where the run has it), and items
    (`run["effects"]`). `run.figures.matrix(...)` is `run.plot("matrix", ...)`."""

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

    def __getitem__(self, name: str) -> pd.DataFrame:
        require([table for table in TABLES if self.tables.table(table) is not None], name, "table")
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._ipython_key_completions_()})

    def _ipython_key_completions_(self) -> list[str]:
        return [name for name in TABLES if self.tables.table(name) is not None]

    def __repr__(self) -> str:
        selectors = {name for model in self.models for name in self.selectors(model)}
        return (
            f"<Run {str(self.folder)!r}: models {', '.join(self.models)}; {len(selectors)} selectors; "
            f"{len(self._ipython_key_completions_())} tables; top {100 * self.top_fraction:g} %>"
        )

    @property
    def figures(self) -> Figures:
        """The kinds of figures that this run has, each a function."""
        return Figures(self)

    @property
    def config(self) -> dict[str, Any]:
        """The settings that its results depend on, of `manifest.json`; keys are sorted."""
        return read_json(self.folder / "manifest.json").get("config", {})

    @property
    def samples(self) -> pd.DataFrame:
        """Its questions, without their images: the columns of `samples.parquet` (docs/outputs.md)."""
        return _table(self.folder / "samples.parquet", without="image")

    @property
    def predictions(self) -> pd.DataFrame:
        """Answers without masks to its own questions, of all models, with `model` in front (docs/outputs.md)."""
        parts = {name: _table(self.folder / name / "predictions.parquet") for name in self.models}
        joined = pd.concat(parts, names=["model"]).reset_index(level="model")
        return joined.reset_index(drop=True)

    def mask(
        self, model: str, selector: str, culture: str, *, top_fraction: float | None = None, site: str | None = None
    ) -> np.ndarray:
        """The neurons of a culture's mask, bool [layer, neuron]; the model's size is that of the mask file, and where
        layers differ that of the widest one.

        top_fraction   without it that of the run's figures
        site           where the mask has units at several places (`q_proj` ...), the one that is wanted

        Raises ConfigError for an unknown model, selector, culture or site; FileError for a file that is missing or
        damaged.
        """
        require(self.models, model, "model")
        require(self.selectors(model), selector, "selector")
        fraction = fraction_text(self.top_fraction if top_fraction is None else top_fraction)
        path = self.folder / model / "masks" / f"{selector}_top{fraction}.parquet"
        table, about = read_table(path, ["culture", "site", "layer", "neuron"])
        try:
            cultures, layers, sizes = list(about["cultures"]), int(about["layers"]), about["neurons"]
            if not isinstance(sizes, dict):
                sizes = {str(table["site"].iloc[0]) if len(table) else "act_fn": int(sizes)}
        except (KeyError, TypeError, ValueError):
            raise FileError(f"{path}: its metadata has no size; expected a mask file of this project") from None
        require(cultures, culture, "culture")
        if site is None and len(sizes) > 1:
            raise ConfigError(f"{selector}: its masks have units at {', '.join(sizes)}; expected site, one of these")
        site = next(iter(sizes)) if site is None else site
        require(list(sizes), site, "site")
        mask = np.zeros((layers, int(widths_of_layers(sizes[site], layers).max())), dtype=bool)
        of = table[(table["culture"] == culture) & (table["site"] == site)]
        try:
            mask[of["layer"].to_numpy(), of["neuron"].to_numpy()] = True
        except IndexError as error:
            raise FileError(f"{path}: its rows do not fit its metadata ({error}); delete it and run again") from None
        return mask

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
        FileError where a folder has no results of a run, ConfigError where both are one.
        """
        folder = other.folder if isinstance(other, Run) else other
        return compare_runs.compare(*open_runs([self.folder, folder]), replicates, seed)

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
        if ax is None:
            return drawn.axes[0]
        style.fit_title(ax)
        return ax

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


@dataclass(frozen=True, repr=False)
class Figures:
    """The kinds of figures that a run has: `run.figures.matrix("planted-control", "cas")`."""

    run: Run

    def _ipython_key_completions_(self) -> list[str]:
        return [kind for kind, of in FIGURES.items() if all(self.run.tables.table(t) is not None for t in of.reads)]

    def __dir__(self) -> list[str]:
        return [kind.replace("-", "_") for kind in self._ipython_key_completions_()]

    def __getitem__(self, kind: str) -> Callable[..., Axes]:
        require(list(FIGURES), kind, "kind of figure")
        return partial(self.run.plot, kind)

    def __getattr__(self, name: str) -> Callable[..., Axes]:
        if name in (kind.replace("-", "_") for kind in FIGURES):
            return self[name.replace("_", "-")]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<Figures: {', '.join(self._ipython_key_completions_())}>"


def _table(path: Path, without: str = "") -> pd.DataFrame:
    """A parquet file of the run, but for one column, which is not read: embedded images may take gigabytes.

    Raises FileError when it is missing or damaged.
    """
    import pyarrow.parquet as pq

    read_table(path, ["sample_id"], only=True)  # compares the digest of what says which columns there are
    columns = [name for name in pq.read_schema(path).names if name != without]
    return read_table(path, columns, only=True)[0]


def load(folder: str | Path) -> Run:
    """Read the tables of `results/{dataset}`.

    Raises FileError when there are none, or one is damaged.
    """
    folder = Path(folder)
    more = [name for name in TABLES if name not in NEEDED and (folder / "tables" / f"{name}.csv").is_file()]
    manifest = folder / "manifest.json"
    config = read_json(manifest).get("config", {}) if manifest.is_file() else {}
    tables = read(folder / "tables", more, str(config.get("group_noun") or "culture"))
    wanted = (config.get("figures") or {}).get("top_fraction")
    known = sorted(set(tables.summary["top_fraction"].astype(float)))
    if not known:
        raise FileError(f"{folder}/tables/summary.csv: holds no result; run the ablations again")
    return Run(folder, tables, float(wanted) if wanted else known[0])
