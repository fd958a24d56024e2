"""What masks do on several data sets ("sets"): to all questions of a set, and culture by culture.

The mean over all questions of a set is what benchmarks publish, so every question counts the same here, whatever its
culture; tables of the run's own data, such as summary.csv, are means over cultures. A change is masked - baseline, mean
over the masks of a file: in accuracy points, in log-probability of the right option nats.

Intervals (95 %) are of a bootstrap over questions, those about one image together (`intervals`), and p-values of sign
flips and exchanged masks (`p_values.paired_p`): they speak of new questions under these very masks.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from culture_neurons.analysis import intervals, mask_effects, p_values, paired_changes
from culture_neurons.analysis.intervals import Column, scale
from culture_neurons.analysis.mask_effects import Baseline, Changes
from culture_neurons.analysis.random_controls import available_controls, is_same_size

#: What marks the columns of a measure: `change`, `logprob_change`.
PREFIX = {"accuracy": "", "logprob": "logprob_"}
#: Means that have an interval, and those of them that have a p-value too.
ESTIMATES = ("change", "own_change", "other_change", "specificity", "random_change", "difference")
TESTED = ("change", "specificity", "difference")


def _columns() -> list[str]:
    result = []
    for prefix, name in itertools.product(PREFIX.values(), ESTIMATES):
        column = name.replace("change", f"{prefix}change") if "change" in name else f"{prefix}{name}"
        result += [column, f"{column}_low", f"{column}_high"]
        result += [f"{column}_p", f"{column}_p_adjusted"] if name in TESTED else []
    return result


#: Columns of the table of sets, without what names the files.
COLUMNS = [
    "n", "n_cultures", "n_masks", "shared", "neurons", "chance", "baseline_accuracy", "masked_accuracy", *_columns(),
    "n_own", "own_rank", "n_controls", "baseline_well_formed_rate", "well_formed_rate",
]  # fmt: skip
#: Columns of p-values, each with those to fill in.
P_VALUES = [(c, f"{c}_adjusted") for c in COLUMNS if c.endswith("_p")]
#: Columns of the comparison of two sets, without `model`.
TRANSFER = [
    "selector", "top_fraction", "factor", "set", "other_set", "n_cultures", "correlation", "p_value", "p_adjusted",
]  # fmt: skip
#: Two sets must share at least this many cultures: with fewer, p < 0.05 is out of reach.
FEWEST = 5


@dataclass(frozen=True)
class ReducedChanges:
    """What the masks of one file do to each question of a set, reduced to what `compare` needs.

    correct, well_formed   float64 [question]: share of the masks under which the answer is right, is well formed
    change                 measure -> float64 [question]: mean change over the masks
    paired                 own and other masks on the questions of cultures that have one
    neurons, masks         mean number of neurons per mask; number of masks, one per culture
    shared                 whether these are one mask, which every culture has
    own_rank               mean rank of the masks' own cultures, see `effects`; nan where none was asked
    """

    correct: np.ndarray
    well_formed: np.ndarray
    change: dict[str, np.ndarray]
    paired: paired_changes.Paired
    neurons: float
    masks: int
    own_rank: float
    shared: bool = False


def effects(base: Baseline, change: Changes, cultures: Sequence[str]) -> pd.DataFrame:
    """The rows of `mask_effects.effects`, and `rank` (Int64): which culture loses most under a mask.

    1 has the lowest logprob_drop of the cultures that have questions; of equal ones the first by name comes first.
    """
    table = mask_effects.effects(base, change, cultures)
    with_questions = table[table["n"] > 0].sort_values(["mask_culture", "logprob_drop", "eval_culture"])
    rank = (with_questions.groupby("mask_culture").cumcount() + 1).astype("Int64")
    # A mask that changes nothing, such as one without neurons, has no order.
    without_effect = table.groupby("mask_culture")["logprob_drop"].transform(
        lambda values: (values.fillna(0) == 0).all()
    )
    return table.assign(rank=rank.where(~without_effect.loc[rank.index]))


def mean_over_masks(
    base: Baseline,
    change: Changes,
    sizes: Mapping[str, int],
    cells: pd.DataFrame,
    shared: bool = False,
    location: str = "",
) -> ReducedChanges:
    """Reduce the changes of one mask file to means over its masks.

    sizes      culture -> number of neurons in its mask
    cells      the rows of `effects`
    shared     whether all cultures have the same mask
    location   where the neurons lie (`paired_changes.Paired`)
    """
    points = 100.0 * (change.gained.astype(np.int64) - change.lost)
    own = cells.loc[cells["mask_culture"] == cells["eval_culture"], "rank"].dropna()
    return ReducedChanges(
        correct=change.correct.mean(axis=0),
        well_formed=change.well_formed.mean(axis=0),
        change={"accuracy": points.mean(axis=0), "logprob": change.logprob.mean(axis=0)},
        paired=paired_changes.pair(base, change, sizes, location),
        neurons=float(np.mean([sizes[name] for name in change.masks])),
        masks=len(change.masks),
        own_rank=float(own.mean()) if len(own) else float("nan"),
        shared=shared,
    )


def compare(
    base: Baseline,
    reduced: Mapping[tuple[str, str], ReducedChanges],
    controls: Mapping[str, str],
    replicates: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """The rows of one model and set: selector, factor, and `COLUMNS`.

    reduced    (selector, factor) -> changes of its masks
    controls   see `random_controls.controls_for`; masks are compared with controls of the same mean size
               (`random_controls.is_same_size`) and the same factor; controls are compared with nothing themselves

    own_change: each question under its own culture's mask; other_change: under the other cultures' masks (their mean);
    specificity: own - other, nan for one mask of all cultures. All three over the questions of cultures that have a
    mask; nan where there are none.
    random_change: mean over the controls; difference: change - random_change. p-values are not adjusted (`adjust`).
    """
    keys = sorted(reduced, key=lambda key: (key[0], float(key[1]), key[1]))
    controls_of = {key: _controls_of(reduced, key, controls) for key in keys}
    estimates: dict[tuple[str, str], dict[str, float]] = {key: {} for key in keys}
    all_columns = {}
    for key, (measure, prefix) in itertools.product(keys, PREFIX.items()):
        values, of = reduced[key].change[measure], scale(measure, reduced[key].masks > 1)
        all_columns[key, f"{prefix}change"] = Column(values, of)
        if controls_of[key]:
            random = np.stack(
                [reduced[control].change[measure] for control in controls_of[key]], axis=1
            )  # [question, control]
            mean, masks = random.mean(axis=1), np.column_stack([values, random])
            all_columns[key, f"random_{prefix}change"] = Column(mean, scale(measure, several=True))
            all_columns[key, f"{prefix}difference"] = Column(values - mean, of, masks)
    for key, numbers in intervals.estimate_by_name(base.unit, all_columns, COLUMNS, replicates, seed).items():
        estimates[key] |= numbers
    for cultures in sorted({tuple(of.paired.cultures) for of in reduced.values()}):
        own_columns = {}
        for key, (measure, prefix) in itertools.product(keys, PREFIX.items()):
            paired = reduced[key].paired
            if tuple(paired.cultures) == cultures:
                own, cross, others = (of[measure] for of in (paired.own, paired.cross, paired.others))
                own_columns[key, f"own_{prefix}change"] = Column(own, scale(measure))
                if len(cultures) > 1:
                    own_columns[key, f"other_{prefix}change"] = Column(cross, scale(measure, len(cultures) > 2))
                if len(cultures) > 1 and not reduced[key].shared:
                    masks = np.column_stack([own, others])
                    own_columns[key, f"{prefix}specificity"] = Column(own - cross, scale(measure), masks)
        unit = base.unit[np.isin(base.culture.astype(str), cultures)]
        for key, numbers in intervals.estimate_by_name(unit, own_columns, COLUMNS, replicates, seed).items():
            estimates[key] |= numbers
    rows = [
        {"selector": key[0], "factor": key[1], **_counts(base, reduced[key]), "n_controls": len(controls_of[key]),
         **estimates[key]}
        for key in keys
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["selector", "factor", *COLUMNS])


def _controls_of(
    reduced: Mapping[tuple[str, str], ReducedChanges], key: tuple[str, str], controls: Mapping[str, str]
) -> list:
    """Keys of the random controls of a file that exist and have its size; none for a control."""
    if key[0] in controls:
        return []
    available = available_controls({name: masks.paired.location for name, masks in reduced.items()}, key, controls)
    return [control for control in available if is_same_size(reduced[key].neurons, reduced[control].neurons)]


def _counts(base: Baseline, masks: ReducedChanges) -> dict[str, float]:
    """Counts and rates of one row, which need no resampling."""

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if len(values) else float("nan")

    return {
        "n": len(base.culture), "n_cultures": len(set(base.culture)), "n_masks": masks.masks,
        "shared": "yes" if masks.shared else "no", "neurons": masks.neurons,
        "chance": mean(1 / base.options), "baseline_accuracy": mean(base.correct),
        "masked_accuracy": mean(masks.correct), "baseline_well_formed_rate": mean(base.well_formed),
        "well_formed_rate": mean(masks.well_formed), "n_own": len(masks.paired.own["accuracy"]),
        "own_rank": masks.own_rank,
    }  # fmt: skip


def adjust(table: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """The table of all models with adjusted p-values (Benjamini-Hochberg).

    Each column of `P_VALUES` is a family over models, sets, selectors and factors; planted models have one of their
    own, and so have random controls: they lend the others nothing.
    """
    if not len(table):
        return table
    marked = table.assign(control=table["selector"].isin(list(controls)))
    return p_values.adjust_within(marked, ["planted", "control"], P_VALUES).drop(columns="control")


def correlate_sets(cells: pd.DataFrame, permutations: int = 9999, seed: int = 0) -> pd.DataFrame:
    """Do masks harm the same other cultures in two sets? Columns `TRANSFER`, p_adjusted left empty.

    cells   rows of `effects` of one model with set, selector, top_fraction and factor; no random controls

    Of each pair of sets with at least `FEWEST` cultures in common that have a mask too: the log-probability changes
    [mask, evaluated culture] without the diagonal and without what is due to the mask or to the evaluated culture alone
    (`interaction`). Spearman's correlation of the two sets over pairs of cultures, and its p-value by exchanging the
    cultures' names in one of them (Mantel). nan where masks do not differ.
    """
    rows = []
    names = ["selector", "top_fraction", "factor"]
    for key, part in cells[cells["n"] > 0].groupby(names, sort=False):
        matrices = {
            name: rows_of_set.pivot(index="mask_culture", columns="eval_culture", values="logprob_drop")
            for name, rows_of_set in part.groupby("set", sort=False)
        }
        for a, b in itertools.combinations(matrices, 2):
            first, second = matrices[a], matrices[b]
            common = sorted(set(first.index) & set(first.columns) & set(second.columns))
            if len(common) < FEWEST:
                continue
            interactions = [interaction(m.loc[common, common].to_numpy(float)) for m in (first, second)]
            ((correlation, p, _),) = p_values.mantel(interactions[0], [interactions[1]], permutations, seed)
            rows.append((*key, a, b, len(common), correlation, p, np.nan))
    return pd.DataFrame(rows, columns=TRANSFER)


def adjust_transfer(table: pd.DataFrame) -> pd.DataFrame:
    """`correlate_sets` of all models with adjusted p-values: one family, and one of planted models."""
    return p_values.adjust_within(table, ["planted"], [("p_value", "p_adjusted")]) if len(table) else table


def interaction(values: np.ndarray) -> np.ndarray:
    """The interaction of values [culture, culture]: the residuals of an additive model, float64 [culture, culture].

    The model has one number per row and one per column, fitted by least squares to the cells off the diagonal. The
    diagonal is nan; residuals that are mere rounding are 0.
    """
    n = len(values)
    row, column = np.nonzero(~np.eye(n, dtype=bool))
    design = np.concatenate([np.eye(n)[row], np.eye(n)[column]], axis=1)
    cells = values[row, column]
    residual = cells - design @ np.linalg.lstsq(design, cells, rcond=None)[0]
    residual[np.abs(residual) <= 1e-9 * np.abs(cells).max(initial=0.0)] = 0.0
    result = np.full((n, n), np.nan)
    result[row, column] = residual
    return result
