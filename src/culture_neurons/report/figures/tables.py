"""The tables that figures and report are made of, and the slices that they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from culture_neurons.analysis.significance import AT_CHANCE
from culture_neurons.errors import ConfigError, nearest
from culture_neurons.files import read_csv
from culture_neurons.report.nouns import CULTURE, reword
from culture_neurons.tables import TABLES, TEXT

#: Tables that nothing is drawn or said without; any other is read where it is named.
NEEDED = ("effects", "summary", "layers", "baseline", "evidence", "planted")

#: Columns with names of the data and of the config.
NAMES = ("model", "selector", "other_selector", "culture", "mask_culture", "eval_culture", "set", "other_set", "task")

SELECTORS = {"cas": "CAS", "conact": "ConAct", "mad": "MAD", "lap": "LAP", "lape": "LAPE",
             "lape-original": "LAPE-original", "effect-size": "Effect size",
             "culnig-general": "CULNIG general", "culnig-specific": "CULNIG specific"}  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """The tables of a run, as their steps write them."""

    effects: pd.DataFrame
    summary: pd.DataFrame
    layers: pd.DataFrame
    baseline: pd.DataFrame
    evidence: pd.DataFrame
    planted: pd.DataFrame
    #: Other tables that were read, by name.
    more: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    #: What a group of questions is called: the config's `group_noun`.
    noun: str = CULTURE
    texts: frozenset[str] = field(init=False)
    #: Those of them that name something of the data, and no word of ours.
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        texts: set[str] = set()
        names: set[str] = set()
        for table in (*(getattr(self, name) for name in NEEDED), *self.more.values()):
            for column in TEXT:
                if column in table.columns:
                    values = {str(value) for value in table[column].unique() if not pd.isna(value)}
                    texts |= values
                    names |= values if column in NAMES else set()
        object.__setattr__(self, "texts", frozenset(texts))
        object.__setattr__(self, "names", frozenset(names))

    @property
    def models(self) -> list[str]:
        """Models in the order of the baseline table."""
        return list(dict.fromkeys(self.baseline["model"]))

    @property
    def cultures(self) -> list[str]:
        return sorted(set(self.baseline["culture"]) | set(self.effects["eval_culture"]) | set(self.layers["culture"]))

    def words(self, text: str) -> str:
        """A text of ours with this run's noun for a group; names of data in it stay as they are."""
        return reword(text, self.noun, self.names)

    def table(self, name: str) -> pd.DataFrame | None:
        """The table tables/{name}.csv, or None where it was not read."""
        return getattr(self, name) if name in NEEDED else self.more.get(name)

    def named(self, column: str) -> list[str]:
        """Names of models or selectors that any table has, in order."""
        names: dict[str, None] = {}
        for table in (*(getattr(self, name) for name in NEEDED), *self.more.values()):
            if column in table:
                names |= dict.fromkeys(table[column].dropna())
        return list(names)

    def is_planted(self, model: str) -> bool:
        """Whether the tables mark this model as the planted control."""
        for table in (self.baseline, self.summary, self.effects, self.layers):
            if "planted" in table.columns and (rows(table, model)["planted"].to_numpy() == "yes").any():
                return True
        return False

    def selectors(self, model: str) -> list[str]:
        return list(dict.fromkeys(self.summary.loc[self.summary["model"] == model, "selector"]))


def read(folder: str | Path, more: Iterable[str] = (), noun: str = CULTURE) -> Tables:
    """Read the tables of `folder` that are needed, and those that `more` names; `noun` is what a group is called.

    A table that an earlier run with other settings left there is read by nobody who does not name it.
    Raises FileError when one is missing, damaged, or lacks a column; ConfigError for an unknown name.
    """

    def one(name: str) -> pd.DataFrame:
        table = read_csv(Path(folder) / f"{name}.csv", TABLES[name].columns, text=TEXT)
        # Rows are looked up thousands of times: by plain texts in a fifth of the time that Arrow's take.
        for column in TEXT:
            if column in table:
                table[column] = table[column].astype(object)
        return table

    more = list(more)
    for name in more:
        require(list(TABLES), name, "table")
    further = {name: one(name) for name in more if name not in NEEDED}
    return Tables(**{name: one(name) for name in NEEDED}, more=further, noun=noun)


def rows(
    table: pd.DataFrame, model: str | None, selector: str | None = None, top_fraction: float | None = None
) -> pd.DataFrame:
    """Rows of one model, selector and top fraction, of each where given."""
    keep = np.ones(len(table), dtype=bool)
    for column, value in (("model", model), ("selector", selector)):
        if value is not None:
            keep &= table[column].to_numpy(dtype=object) == value
    if top_fraction is not None:
        keep &= np.isclose(table["top_fraction"].to_numpy(dtype=float), top_fraction, rtol=1e-9, atol=0)
    return table[keep]


def require(known: Sequence[str], name: str, noun: str) -> None:
    """Raise ConfigError unless `name` is one of `known`."""
    if name not in known:
        raise ConfigError(
            f"unknown {noun} {name!r}{nearest(name, known)}; the tables have {', '.join(map(str, known)) or 'none'}"
        )


def require_fraction(table: pd.DataFrame, top_fraction: float) -> None:
    """Raise ConfigError unless the table has rows at this top fraction."""
    known = sorted(set(table["top_fraction"].astype(float)))
    if not np.isclose(known, top_fraction, rtol=1e-9, atol=0).any():
        raise ConfigError(f"no result at top fraction {top_fraction:g}; the tables have {known}")


def layer_counts(tables: Tables, model: str, selector: str, top_fraction: float) -> tuple[list[str], np.ndarray]:
    """Cultures and their neurons per layer, of all sites, int64 [culture, layer]; a layer without neurons counts 0.

    The number of layers is the largest that any selector of the model has a row for.
    """
    every = rows(tables.layers, model)
    n_layers = int(every["layer"].max()) + 1 if len(every) else 1
    cultures = sorted(set(every["culture"]) | set(rows(tables.baseline, model)["culture"]))
    counts = np.zeros((len(cultures), n_layers), dtype=np.int64)  # (culture, layer)
    part = rows(tables.layers, model, selector, top_fraction)
    index = {culture: i for i, culture in enumerate(cultures)}
    np.add.at(
        counts,
        (part["culture"].map(index).to_numpy(dtype=np.int64), part["layer"].to_numpy(dtype=np.int64)),
        part["count"].to_numpy(dtype=np.int64),
    )
    return cultures, counts


def at_projections(tables: Tables, model: str, selectors: list[str]) -> list[str]:
    """Those of the selectors whose masks lie at outputs of projections."""
    part = rows(tables.layers, model)
    projected = set(part.loc[part["site"] != "act_fn", "selector"])
    return [selector for selector in selectors if selector in projected]


def matrix(tables: Tables, model: str, selector: str, top_fraction: float, column: str) -> tuple[list[str], np.ndarray]:
    """Cultures and one measure of `effects`, float64 [mask culture, evaluated culture]; NaN where there is none."""
    part = rows(tables.effects, model, selector, top_fraction)
    cultures = sorted(set(part["eval_culture"]) | set(part["mask_culture"]))
    index = {culture: i for i, culture in enumerate(cultures)}
    values = np.full((len(cultures), len(cultures)), np.nan)  # (mask culture, evaluated culture)
    values[part["mask_culture"].map(index).to_numpy(dtype=int), part["eval_culture"].map(index).to_numpy(dtype=int)] = (
        part[column].to_numpy(dtype=float)
    )
    return cultures, values


def own_changes(tables: Tables, model: str, selector: str, top_fraction: float, column: str) -> np.ndarray:
    """One measure of `effects` on each culture's own questions under its own mask, float64 [culture]."""
    part = rows(tables.effects, model, selector, top_fraction)
    own = part.loc[part["mask_culture"] == part["eval_culture"], column].to_numpy(dtype=float)
    return own[np.isfinite(own)]


def level(tables: Tables, model: str) -> str:
    """How a model's accuracy compares with guessing, in the words of `baseline.csv`; "" where it does not say."""
    part = rows(tables.baseline, model)
    return str(part["level"].iloc[0]) if "level" in part and part["level"].notna().any() else ""


def at_chance(tables: Tables, model: str) -> bool:
    """Whether a model guesses, so that nothing of it is marked as an effect."""
    return level(tables, model) == AT_CHANCE


def is_control(tables: Tables, model: str, selector: str) -> bool:
    """Whether a selector is a random control: controls are what the evidence compares with, so it has no rows of it."""
    tested = set(rows(tables.evidence, model)["selector"])
    return bool(tested) and selector not in tested


@dataclass(frozen=True)
class Estimate:
    """A mean over cultures with its 95 % interval; NaN where the tables have none."""

    value: float
    low: float
    high: float


def drops(tables: Tables, model: str, selector: str, top_fraction: float, measure: str) -> dict[str, Estimate]:
    """{"self", "cross", "random"} for one measure: accuracy (points) or logprob (nats), masked - baseline."""
    part = rows(tables.summary, model, selector, top_fraction)
    infix = "" if measure == "accuracy" else "logprob_"

    def one(column: str) -> float:
        return float(pd.to_numeric(part[column]).iloc[0]) if len(part) and column in part.columns else float("nan")

    return {
        kind: Estimate(*(one(f"{prefix}_{infix}drop{end}") for end in ("", "_low", "_high")))
        for kind, prefix in (("self", "self"), ("cross", "cross"), ("random", "random_self"))
    }


def selector_name(selector: str) -> str:
    """How a selector is written in titles: acronyms in capitals."""
    return SELECTORS.get(selector, selector)


def percent(top_fraction: float) -> str:
    """0.01 -> "1 %"."""
    return f"{100 * top_fraction:g}\u00a0%"


def percent_tick(value: float, _: int | None = None) -> str:
    """The same without the sign, at a tick of an axis in per cent. With a lambda, figures could not be pickled."""
    return f"{100 * value:g}"


def questions(tables: Tables, model: str, column: str = "n") -> int | None:
    """Number of questions of a model, summed over cultures; None if the baseline table has no such column."""
    if column not in tables.baseline.columns:
        return None
    values = pd.to_numeric(rows(tables.baseline, model)[column]).dropna()
    return int(values.sum()) if len(values) else None
