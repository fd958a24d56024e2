"""The tables that figures and report are made of, and the slices that they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from culture_neurons.errors import ConfigError, nearest
from culture_neurons.files import read_csv

KEYS = ["model", "selector", "top_fraction"]

#: Columns that each table must have.
COLUMNS = {
    "effects": [
        *KEYS, "mask_culture", "eval_culture", "n", "baseline_accuracy", "masked_accuracy", "drop", "logprob_drop",
        "flip_rate", "well_formed_rate",
    ],
    "summary": [*KEYS, "self_drop", "cross_drop", "specificity", "random_self_drop"],
    "layers": [*KEYS, "culture", "site", "layer", "count", "units"],
    "baseline": ["model", "culture", "n", "accuracy"],
    "evidence": [
        *KEYS, "measure", "comparison", "n", "difference", "ci_low", "ci_high", "p_value", "p_adjusted", "verdict",
    ],
    "planted": [*KEYS, "culture", "n_selected", "n_planted", "hits", "precision", "recall"],
}  # fmt: skip

#: Tables that a run may have as well, with the columns that each must have: name -> columns.
OPTIONAL: dict[str, list[str]] = {
    "benchmark": [
        *KEYS, "target", "samples_per_culture", "label_noise", "repeats", "n_target", "chance", "precision",
        "precision_sd", "recall", "average_precision", "average_precision_sd",
    ],
    "finetuning": [
        "model", "task", "set", "choice", "seed", "culture", "n", "change", "change_low", "change_high",
        "change_vs_poorest", "change_vs_poorest_p_adjusted", "task_accuracy_before", "task_accuracy_after",
    ],
    "finetuning_modules": [
        "model", "task", "choice", "seed", "site", "layer", "chosen", "units", "richness", "parameters",
    ],
    "images": ["model", "culture", "control", "n", "accuracy", "accuracy_low", "accuracy_high", "change", "chance"],
    "cultures": [*KEYS, "culture", "measure", "self", "self_low", "self_high", "specificity", "p_value", "p_adjusted"],
    "differences": [
        "model", "selector", "other_selector", "top_fraction", "measure", "what", "difference", "ci_low", "ci_high",
    ],
    "permutations": [
        *KEYS, "culture", "measure", "permutations", "observed", "null", "null_low", "null_high", "p_value",
    ],
    "overlaps": [
        "kind", "model", "selector", "top_fraction", "culture", "a", "b", "n_a", "n_b", "n_shared", "overlap",
        "expected",
    ],
    "related": [*KEYS, "measure", "n_cultures", "overlapping", "correlation", "p_value", "p_adjusted", "verdict"],
    "sets": [
        *KEYS, "set", "factor", "n", "n_cultures", "shared", "chance", "baseline_accuracy", "masked_accuracy", "change",
        "change_low", "change_high", "change_p_adjusted", "random_change", "random_change_low", "random_change_high",
        "difference", "difference_low", "difference_high", "difference_p_adjusted",
    ],
    "sets_effects": [*KEYS, "set", "factor", "mask_culture", "eval_culture", "n", "drop", "logprob_drop", "rank"],
    "sets_transfer": [*KEYS, "set", "other_set", "factor", "n_cultures", "correlation", "p_value", "p_adjusted"],
    "stability": [
        *KEYS, "culture", "n_samples", "n_images", "n_neurons", "selected_again", "jaccard_bootstrap", "jaccard_halves",
        "jaccard_halves_low", "jaccard_halves_high", "jaccard_chance", "rank_correlation",
    ],
    "strengths": [*KEYS, "strength", "measure", "self", "self_low", "self_high", "cross", "cross_low", "cross_high"],
}  # fmt: skip

#: Columns that hold names: never read as numbers, whatever a culture is called.
TEXT = (
    "model", "selector", "other_selector", "what", "unit", "culture", "mask_culture", "eval_culture", "measure", "site",
    "set", "other_set", "shared", "comparison", "verdict", "planted", "control", "kind", "a", "b", "target",
    "samples_per_culture", "task", "method", "choice", "seed", "level", "open_reasoning",
)  # fmt: skip

#: Words of the column `level` of `baseline.csv` and `analysis.transfer.csv`.
AT_CHANCE, BELOW_CHANCE = "at chance", "below chance"

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
    #: Those of `OPTIONAL` that were read, by name.
    more: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    texts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        found: set[str] = set()
        for table in (*(getattr(self, name) for name in COLUMNS), *self.more.values()):
            for column in TEXT:
                if column in table.columns:
                    found.update(str(value) for value in table[column].dropna().unique())
        object.__setattr__(self, "texts", frozenset(found))

    @property
    def models(self) -> list[str]:
        """Models in the order of the baseline table."""
        return list(dict.fromkeys(self.baseline["model"]))

    @property
    def cultures(self) -> list[str]:
        return sorted(set(self.baseline["culture"]) | set(self.effects["eval_culture"]) | set(self.layers["culture"]))

    def table(self, name: str) -> pd.DataFrame | None:
        """The table tables/{name}.csv, or None where it was not read."""
        return getattr(self, name) if name in COLUMNS else self.more.get(name)

    def is_planted(self, model: str) -> bool:
        """Whether the tables mark this model as the planted control."""
        for table in (self.baseline, self.summary, self.effects, self.layers):
            if "planted" in table.columns and (table.loc[table["model"] == model, "planted"] == "yes").any():
                return True
        return False

    def selectors(self, model: str) -> list[str]:
        return list(dict.fromkeys(self.summary.loc[self.summary["model"] == model, "selector"]))


def read(folder: str | Path, more: Iterable[str] = ()) -> Tables:
    """Read the tables of `folder`, and those of `OPTIONAL` that `more` names.

    A table that an earlier run with other settings left there is read by nobody who does not name it.
    Raises FileError when one is missing, damaged, or lacks a column; ConfigError for an unknown name.
    """

    def one(name: str, columns: Sequence[str]) -> pd.DataFrame:
        return read_csv(Path(folder) / f"{name}.csv", columns, text=TEXT)

    more = list(more)
    for name in more:
        require(list(OPTIONAL), name, "table")
    return Tables(
        **{name: one(name, columns) for name, columns in COLUMNS.items()},
        more={name: one(name, OPTIONAL[name]) for name in more},
    )


def rows(table: pd.DataFrame, model: str, selector: str | None = None, top_fraction: float | None = None):
    """Rows of one model, and of one selector and top fraction where given."""
    keep = table["model"] == model
    if selector is not None:
        keep &= table["selector"] == selector
    if top_fraction is not None:
        keep &= np.isclose(table["top_fraction"].astype(float), top_fraction, rtol=1e-9, atol=0)
    return table[keep]


def require(known: Sequence[str], name: str, what: str) -> None:
    """Raise ConfigError unless `name` is one of `known`."""
    if name not in known:
        raise ConfigError(
            f"unknown {what} {name!r}{nearest(name, known)}; the tables have {', '.join(map(str, known)) or 'none'}"
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
    found = set(part.loc[part["site"] != "act_fn", "selector"])
    return [selector for selector in selectors if selector in found]


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
