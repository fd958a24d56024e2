"""What masks do on several data sets ("sets"): to all questions of a set, and culture by culture.

The mean over all questions of a set is what benchmarks publish, so every question counts the same here, whatever its
culture; tables of the run's own data, such as summary.csv, are means over cultures. A change is masked - baseline, mean
over the masks of a file: in accuracy points, in log-probability of the right option nats.

Intervals (95 %) are of a bootstrap over questions, those about one image together (`intervals`), and p-values of sign
flips and exchanged masks (`resampling.paired_p`): they speak of new questions under these very masks.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from culture_neurons.analysis import culture_tests, intervals, mask_effects, resampling, verdicts
from culture_neurons.analysis.intervals import Column, scale
from culture_neurons.analysis.mask_effects import Baseline, Changes
from culture_neurons.analysis.random_controls import held_against, same_size

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
#: So many cultures must two sets have in common: with fewer, no arrangement of their names could give p < 0.05.
FEWEST = 5


@dataclass(frozen=True)
class Reduced:
    """What the masks of one file do to each question of a set.

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
    paired: verdicts.Paired
    neurons: float
    masks: int
    own_rank: float
    shared: bool = False


def effects(base: Baseline, change: Changes, cultures: Sequence[str]) -> pd.DataFrame:
    """The rows of `mask_effects.effects`, and `rank` (Int64): which culture loses most under a mask.

    1 has the lowest logprob_drop of the cultures that have questions; of equal ones the first by name comes first.
    """
    table = mask_effects.effects(base, change, cultures)
    asked = table[table["n"] > 0].sort_values(["mask_culture", "logprob_drop", "eval_culture"])
    rank = (asked.groupby("mask_culture").cumcount() + 1).astype("Int64")
    # A mask that changes nothing, such as one without neurons, has no order.
    idle = table.groupby("mask_culture")["logprob_drop"].transform(lambda of: (of.fillna(0) == 0).all())
    return table.assign(rank=rank.where(~idle.loc[rank.index]))


def reduce(
    base: Baseline,
    change: Changes,
    sizes: Mapping[str, int],
    cells: pd.DataFrame,
    shared: bool = False,
    place: str = "",
) -> Reduced:
    """What `compare` needs of one file: the changes, neurons per culture's mask, the rows of `effects`, whether one
    mask is that of all cultures, and where the neurons lie (`verdicts.Paired`)."""
    points = 100.0 * (change.gained.astype(np.int64) - change.lost)
    own = cells.loc[cells["mask_culture"] == cells["eval_culture"], "rank"].dropna()
    return Reduced(
        correct=change.correct.mean(axis=0),
        well_formed=change.well_formed.mean(axis=0),
        change={"accuracy": points.mean(axis=0), "logprob": change.logprob.mean(axis=0)},
        paired=verdicts.pair(base, change, sizes, place),
        neurons=float(np.mean([sizes[name] for name in change.masks])),
        masks=len(change.masks),
        own_rank=float(own.mean()) if len(own) else float("nan"),
        shared=shared,
    )


def compare(
    base: Baseline,
    found: Mapping[tuple[str, str], Reduced],
    controls: Mapping[str, str],
    replicates: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """The rows of one model and set: selector, factor, and `COLUMNS`.

    found      (selector, factor) -> what its masks do
    controls   see `random_controls.controls_for`; only those of the judged masks' mean size are held against
               them (`random_controls.same_size`), by the same factor, and they are compared with nothing themselves

    own_change: each question under its own culture's mask; other_change: under the other cultures' masks (their mean);
    specificity: own - other, nan for one mask of all cultures. All three over the questions of cultures that have a
    mask; nan where there are none.
    random_change: mean over the controls; difference: change - random_change. p-values are not adjusted (`adjust`).
    """
    keys = sorted(found, key=lambda key: (key[0], float(key[1]), key[1]))
    held = {key: _held(found, key, controls) for key in keys}
    estimates: dict[tuple[str, str], dict[str, float]] = {key: {} for key in keys}
    whole = {}
    for key, (measure, prefix) in itertools.product(keys, PREFIX.items()):
        mine, of = found[key].change[measure], scale(measure, found[key].masks > 1)
        whole[key, f"{prefix}change"] = Column(mine, of)
        if held[key]:
            random = np.stack([found[control].change[measure] for control in held[key]], axis=1)  # [question, control]
            mean, masks = random.mean(axis=1), np.column_stack([mine, random])
            whole[key, f"random_{prefix}change"] = Column(mean, scale(measure, several=True))
            whole[key, f"{prefix}difference"] = Column(mine - mean, of, masks)
    for key, numbers in intervals.named_estimates(base.unit, whole, COLUMNS, replicates, seed).items():
        estimates[key] |= numbers
    for cultures in sorted({tuple(part.paired.cultures) for part in found.values()}):
        part = {}
        for key, (measure, prefix) in itertools.product(keys, PREFIX.items()):
            paired = found[key].paired
            if tuple(paired.cultures) == cultures:
                own, cross, others = (of[measure] for of in (paired.own, paired.cross, paired.others))
                part[key, f"own_{prefix}change"] = Column(own, scale(measure))
                if len(cultures) > 1:
                    part[key, f"other_{prefix}change"] = Column(cross, scale(measure, len(cultures) > 2))
                if len(cultures) > 1 and not found[key].shared:
                    masks = np.column_stack([own, others])
                    part[key, f"{prefix}specificity"] = Column(own - cross, scale(measure), masks)
        unit = base.unit[np.isin(base.culture.astype(str), cultures)]
        for key, numbers in intervals.named_estimates(unit, part, COLUMNS, replicates, seed).items():
            estimates[key] |= numbers
    rows = [
        {"selector": key[0], "factor": key[1], **_counts(base, found[key]), "n_controls": len(held[key]),
         **estimates[key]}
        for key in keys
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["selector", "factor", *COLUMNS])


def _held(found: Mapping[tuple[str, str], Reduced], key: tuple[str, str], controls: Mapping[str, str]) -> list:
    """Random controls of a file that were made and are of its size."""
    if key[0] in controls:
        return []
    known = held_against({name: part.paired.place for name, part in found.items()}, key, controls)
    return [control for control in known if same_size(found[key].neurons, found[control].neurons)]


def _counts(base: Baseline, part: Reduced) -> dict[str, float]:
    """What needs no draws."""

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if len(values) else float("nan")

    return {
        "n": len(base.culture), "n_cultures": len(set(base.culture)), "n_masks": part.masks,
        "shared": "yes" if part.shared else "no", "neurons": part.neurons,
        "chance": mean(1 / base.options), "baseline_accuracy": mean(base.correct),
        "masked_accuracy": mean(part.correct), "baseline_well_formed_rate": mean(base.well_formed),
        "well_formed_rate": mean(part.well_formed), "n_own": len(part.paired.own["accuracy"]),
        "own_rank": part.own_rank,
    }  # fmt: skip


def adjust(table: pd.DataFrame, controls: Sequence[str]) -> pd.DataFrame:
    """The table of all models with adjusted p-values (Benjamini-Hochberg).

    Each column of `P_VALUES` is a family over models, sets, selectors and factors; planted models have one of their
    own, and so have random controls: they lend the others nothing.
    """
    if not len(table):
        return table
    marked = table.assign(control=table["selector"].isin(list(controls)))
    return culture_tests.adjust(marked, ["planted", "control"], P_VALUES).drop(columns="control")


def transfer(cells: pd.DataFrame, permutations: int = 9999, seed: int = 0) -> pd.DataFrame:
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
            name: of.pivot(index="mask_culture", columns="eval_culture", values="logprob_drop")
            for name, of in part.groupby("set", sort=False)
        }
        for a, b in itertools.combinations(matrices, 2):
            one, other = matrices[a], matrices[b]
            common = sorted(set(one.index) & set(one.columns) & set(other.columns))
            if len(common) < FEWEST:
                continue
            shown = [interaction(m.loc[common, common].to_numpy(float)) for m in (one, other)]
            ((correlation, p, _),) = resampling.mantel(shown[0], [shown[1]], permutations, seed)
            rows.append((*key, a, b, len(common), correlation, p, np.nan))
    return pd.DataFrame(rows, columns=TRANSFER)


def adjust_transfer(table: pd.DataFrame) -> pd.DataFrame:
    """`transfer` of all models with adjusted p-values: one family, and one of planted models."""
    return culture_tests.adjust(table, ["planted"], [("p_value", "p_adjusted")]) if len(table) else table


def interaction(values: np.ndarray) -> np.ndarray:
    """values [culture, culture] less the best sum of a number per row and one per column (least squares over the cells
    off the diagonal); nan on the diagonal, and 0 for what is left by rounding."""
    n = len(values)
    row, column = np.nonzero(~np.eye(n, dtype=bool))
    design = np.concatenate([np.eye(n)[row], np.eye(n)[column]], axis=1)
    cells = values[row, column]
    rest = cells - design @ np.linalg.lstsq(design, cells, rcond=None)[0]
    rest[np.abs(rest) <= 1e-9 * np.abs(cells).max(initial=0.0)] = 0.0
    result = np.full((n, n), np.nan)
    result[row, column] = rest
    return result
