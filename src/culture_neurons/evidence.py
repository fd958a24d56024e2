"""What the effects prove: each selector's masks against random masks and against the other cultures' masks.

Two comparisons, both on a culture's own questions, paired question by question, averaged over the questions
of a culture and then over cultures:

self-vs-random   the culture's mask against random masks made for the same culture: does it matter which
                 neurons the selector chose?
self-vs-cross    the culture's mask against the masks of the other cultures: does it matter for whom they
                 were chosen?

Either difference could be luck in two ways, so each has two p-values, and the larger one counts (the claim is
that both kinds of luck are excluded):

p_questions   luck of the questions: would the difference hold for new questions under these very masks?
              Sign flips of the questions' differences, the questions about one image together.
p_masks       luck of the masks: any two masks differ a little, even random ones. self-vs-random: within each
              culture, any of its masks could have been the selector's (`resampling.exchange`). self-vs-cross: any
              mask could have been any culture's (`resampling.relabel`).

All are two-sided; a verdict needs the sign too. p-values are adjusted (Benjamini-Hochberg) within one model
and one measure, over selectors, fractions and both comparisons; so a planted control lends nothing to the other
models. Intervals are percentiles of a bootstrap over questions: they speak of these masks.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from culture_neurons import resampling
from culture_neurons.controls import held_against, same_size
from culture_neurons.evaluation import Baseline, Changes

#: Measures and their units.
UNITS = {"accuracy": "points", "logprob": "nats"}
COMPARISONS = ("self-vs-random", "self-vs-cross")
LEVEL = 0.05

SPECIFIC = "culture-specific"
UNSPECIFIC = "unspecific damage"
NOTHING = "not distinguishable from random masks"
TOO_FEW = "too few masks to tell"
UNTESTED = "not tested"
#: Of a model that guesses (`guessing`): there is nothing that a mask could take away. Given in steps.tabulate.
AT_CHANCE = "not judged: the model answers at chance"

COLUMNS = [
    "selector", "top_fraction", "measure", "comparison", "n", "difference", "ci_low", "ci_high", "p_value",
    "p_adjusted", "verdict", "unit", "p_questions", "p_masks", "n_cultures", "n_controls",
]  # fmt: skip


#: Differences between selectors: selector - other_selector, of self drops or of specificities (self - cross).
DIFFERENCES = [
    "selector", "other_selector", "top_fraction", "measure", "what", "n", "difference", "ci_low", "ci_high", "p_value",
    "p_adjusted", "unit",
]  # fmt: skip


@dataclass(frozen=True)
class Paired:
    """Changes of one mask file, reduced to what the comparisons need.

    cultures   those that have a mask and questions, sorted
    own        measure -> float64 [question]: change under the mask of the question's own culture
    cross      measure -> float64 [question]: mean change under the other masks; nan with one culture
    matrix     measure -> float64 [mask culture, evaluated culture]: mean changes
    neurons    float64 [culture]: number of neurons in its mask, nan if it is not known
    one        whether all masks do the same to every question: one mask, that all cultures share
    place      where the neurons lie; masks are held against random ones of the same place only

    Questions are those of `cultures`, in the order of the baseline.
    """

    cultures: list[str]
    own: dict[str, np.ndarray]
    cross: dict[str, np.ndarray]
    matrix: dict[str, np.ndarray]
    neurons: np.ndarray
    one: bool = False
    place: str = ""


def pair(base: Baseline, change: Changes, sizes: Mapping[str, int] | None = None, place: str = "") -> Paired:
    """Reduce the changes; accuracy in points, log-probability in nats. `sizes`: culture -> neurons in its mask."""
    keep = np.isin(base.culture.astype(str), change.masks)
    cultures = sorted(set(base.culture[keep]))
    rows = [change.masks.index(name) for name in cultures]
    at = np.array([cultures.index(name) for name in base.culture[keep]], dtype=np.int64)
    group = np.eye(len(cultures))[at]  # [question, culture]
    own, cross, matrix = {}, {}, {}
    one = len(rows) > 1
    for measure in UNITS:
        if measure == "accuracy":
            values = 100.0 * (change.gained.astype(np.int64) - change.lost)[rows][:, keep]
        else:
            values = change.logprob[rows][:, keep]
        one &= bool((values == values[:1]).all())
        own[measure] = values[at, np.arange(len(at))]
        others = len(cultures) - 1
        cross[measure] = (values.sum(axis=0) - own[measure]) / others if others > 0 else np.full(len(at), np.nan)
        matrix[measure] = values @ group / group.sum(axis=0)
    neurons = np.array([np.nan if sizes is None else sizes[name] for name in cultures], float)
    return Paired(cultures, own, cross, matrix, neurons, one, place)


def among(base: Baseline, paired: Paired, cultures: Sequence[str]) -> Paired:
    """What a mask file says of some of its cultures; `cross` stays the mean over all its other masks."""
    asked = base.culture[np.isin(base.culture.astype(str), paired.cultures)]
    keep = np.isin(asked.astype(str), cultures)
    at = [paired.cultures.index(name) for name in cultures]
    own, cross = ({measure: values[keep] for measure, values in part.items()} for part in (paired.own, paired.cross))
    matrix = {measure: values[np.ix_(at, at)] for measure, values in paired.matrix.items()}
    return replace(paired, cultures=list(cultures), own=own, cross=cross, matrix=matrix, neurons=paired.neurons[at])


def compare(
    base: Baseline,
    paired: Mapping[tuple[str, str], Paired],
    controls: Mapping[str, str],
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """All comparisons of one model.

    paired     (selector, top_fraction) -> its reduced changes
    controls   see `controls.controls_for`; controls themselves get no rows of evidence, and one of another size than
               the masks at hand is left out (`controls.same_size`), or one without a mask for each of their cultures.
               Masks of fewer cultures (imported ones) are held against these cultures' random masks alone.

    Returns the evidence (columns `COLUMNS`); per (selector, top_fraction), the macro averages of the random controls on
    the culture's own questions with the 95 % intervals of self, cross and random (`_intervals`); and the differences
    between selectors (columns `DIFFERENCES`).
    """
    keys = sorted(paired, key=lambda key: (key[0], float(key[1]), key[1]))
    found: dict[tuple[str, str], tuple[list[dict], dict]] = {}
    differences: list[dict] = []
    for cultures in sorted({tuple(part.cultures) for part in paired.values()}):
        mine = [key for key in keys if tuple(paired[key].cultures) == cultures]
        held = {key for key in keys if key[0] in controls and set(cultures) <= set(paired[key].cultures)}
        alike = {key: among(base, paired[key], cultures) for key in keys if key in held or key in mine}
        made, apart = _compare(base, alike, mine, controls, replicates, seed)
        found |= made
        differences += apart
    rows, averages = [row for key in keys for row in found[key][0]], [found[key][1] for key in keys]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "least"])
    for measure in UNITS:
        mine = table["measure"] == measure
        # What could not be significant is no member of the family, and takes nothing from the others.
        p = table.loc[mine, "p_value"].where(table.loc[mine, "least"] < LEVEL)
        adjusted = pd.Series(resampling.benjamini_hochberg(p.to_numpy(float)), index=p.index)
        table.loc[mine, "p_adjusted"] = adjusted.fillna(table.loc[mine, "p_value"])
    table["verdict"] = table["verdict"].astype(object)
    for _, group in table.groupby(["selector", "top_fraction", "measure"], sort=False):
        table.loc[group.index, "verdict"] = verdict(*(
            group[group["comparison"] == c].iloc[0] for c in COMPARISONS
        ))  # fmt: skip
    return table[COLUMNS], pd.DataFrame(averages), _adjusted(pd.DataFrame(differences, columns=DIFFERENCES))


def _compare(
    base: Baseline,
    paired: Mapping[tuple[str, str], Paired],
    judged: Sequence[tuple[str, str]],
    controls: Mapping[str, str],
    replicates: int,
    seed: int,
) -> tuple[dict[tuple[str, str], tuple[list[dict], dict]], list[dict]]:
    """Rows of evidence and averages of the `judged` keys, all of the same cultures; and rows of differences."""
    cultures = paired[judged[0]].cultures
    keep = np.isin(base.culture.astype(str), cultures)
    plan = resampling.design(base.culture[keep], base.unit[keep])
    columns = {}
    for key in paired:
        for measure in UNITS:
            columns[key, measure, "self"] = paired[key].own[measure]
            columns[key, measure, "cross"] = paired[key].cross[measure]
    values = np.stack(list(columns.values()), axis=1)
    place = {name: i for i, name in enumerate(columns)}
    sampled = _Sampled(
        place,
        resampling.macro_mean(plan, values),
        resampling.bootstrap(plan, values, replicates, seed),
        resampling.sign_flips(plan, values, replicates, seed),
    ) if len(plan.strata) else None  # fmt: skip
    found = {}
    for key in judged:
        held = held_against({key: part.place for key, part in paired.items()}, key, controls)
        sizes = {name: float(paired[name].neurons.mean()) for name in [key, *held]} if cultures else {}
        held = [control for control in held if not cultures or same_size(sizes[key], sizes[control])]
        rows = []
        for measure, unit in UNITS.items() if key[0] not in controls else ():
            for comparison in COMPARISONS:
                row = _test(paired, sampled, key, held, measure, comparison, seed)
                row |= {"n": int(keep.sum()), "n_cultures": len(cultures), "n_controls": len(held), "unit": unit}
                rows.append({"selector": key[0], "top_fraction": key[1], "measure": measure,
                             "comparison": comparison, **row})  # fmt: skip
        found[key] = rows, {"selector": key[0], "top_fraction": key[1], **_intervals(sampled, key, held)}
    names = [key for key in judged if key[0] not in controls]
    return found, _differences(sampled, names, int(keep.sum())) if sampled is not None else []


def _differences(sampled: _Sampled, keys: Sequence[tuple[str, str]], n: int) -> list[dict]:
    """Each pair of selectors at one top fraction, on the same questions; see `DIFFERENCES`."""
    rows = []
    for (a, b), measure, what in itertools.product(itertools.combinations(keys, 2), UNITS, ("self", "specificity")):
        if a[1] != b[1]:
            continue

        def change(draws: str, key: tuple, measure: str = measure, what: str = what) -> np.ndarray:
            own = sampled.mean(draws, [(key, measure, "self")])
            return own if what == "self" else own - sampled.mean(draws, [(key, measure, "cross")])

        observed, boot, flipped = (change(d, a) - change(d, b) for d in ("observed", "bootstrapped", "flipped"))
        if not np.isfinite(observed):
            continue
        low, high = resampling.interval(boot)
        p = float(resampling.two_sided(np.array([observed]), flipped[:, None])[0])
        rows.append({
            "selector": a[0], "other_selector": b[0], "top_fraction": a[1], "measure": measure, "what": what, "n": n,
            "difference": float(observed), "ci_low": float(low), "ci_high": float(high), "p_value": p,
            "unit": UNITS[measure],
        })  # fmt: skip
    return rows


def _adjusted(differences: pd.DataFrame) -> pd.DataFrame:
    """Benjamini-Hochberg within one measure of one model, over pairs, fractions, and self and specificity."""
    for _, group in differences.groupby("measure", sort=False):
        p = resampling.benjamini_hochberg(group["p_value"].to_numpy(float))
        differences.loc[group.index, "p_adjusted"] = p
    return differences


def verdict(random: pd.Series, cross: pd.Series) -> str:
    """In words, from the two comparisons of one measure (difference, p_adjusted, least attainable p).

    culture-specific                        worse than random masks and worse than the other cultures' masks
    unspecific damage                       worse than random masks, not worse than the other cultures' masks, or one
                                            mask of all cultures
    not distinguishable from random masks   otherwise
    too few masks to tell                   where no arrangement of so few masks could give p < 0.05
    not tested                              without random masks of the same size, or without questions
    """
    if not np.isfinite(random["p_value"]):
        return UNTESTED
    if not (random["p_adjusted"] < LEVEL and random["difference"] < 0):
        return TOO_FEW if random["least"] >= LEVEL else NOTHING
    if cross["least"] >= LEVEL:
        return TOO_FEW
    return SPECIFIC if cross["p_adjusted"] < LEVEL and cross["difference"] < 0 else UNSPECIFIC


@dataclass(frozen=True)
class _Sampled:
    """Macro averages of all columns: as observed [column], bootstrapped and with flipped signs [draw, column]."""

    place: dict
    observed: np.ndarray
    bootstrapped: np.ndarray
    flipped: np.ndarray

    def mean(self, what: str, names: list) -> np.ndarray:
        """Mean over columns; every average is linear in the questions' values."""
        return getattr(self, what)[..., [self.place[name] for name in names]].mean(axis=-1)


def _test(paired: Mapping, sampled: _Sampled | None, key: tuple, held: list, measure: str, comparison: str,
          seed: int) -> dict[str, float]:  # fmt: skip
    """One row of evidence, without its names."""
    against = [(h, measure, "self") for h in held] if comparison == "self-vs-random" else [(key, measure, "cross")]
    mine = paired[key]
    empty = ("difference", "ci_low", "ci_high", "p_value", "p_questions", "p_masks")
    if sampled is None or not against or (comparison == "self-vs-cross" and len(mine.cultures) < 2):
        return dict.fromkeys(empty, np.nan) | {"least": 1.0}
    if comparison == "self-vs-cross" and mine.one:  # the others' masks are the same one: there is nothing to compare
        return dict.fromkeys(empty, np.nan) | {"least": 0.0}
    observed, boot, flipped = (
        sampled.mean(what, [(key, measure, "self")]) - sampled.mean(what, against)
        for what in ("observed", "bootstrapped", "flipped")
    )
    low, high = resampling.interval(boot)
    p_questions = float(resampling.two_sided(np.array([observed]), flipped[:, None])[0])
    if comparison == "self-vs-random":
        others = np.stack([paired[h].matrix[measure].diagonal() for h in held])
        own = mine.matrix[measure].diagonal()
        # One draw of a mask, not one per culture: it changes places with its controls as a whole.
        if mine.one or any(paired[h].one for h in held):
            own, others = own.mean(keepdims=True), others.mean(axis=1, keepdims=True)
        p_masks, least = resampling.exchange(own, others, seed=seed)
    else:
        p_masks, least = resampling.relabel(mine.matrix[measure], seed=seed)
    return {
        "difference": float(observed), "ci_low": float(low), "ci_high": float(high),
        "p_value": max(p_questions, p_masks), "p_questions": p_questions, "p_masks": p_masks, "least": least,
    }  # fmt: skip


def _intervals(sampled: _Sampled | None, key: tuple, held: list) -> dict[str, float]:
    """random_self_drop, random_self_logprob_drop, and {self,cross,random_self}_[logprob_]drop_{low,high}.

    [logprob_]specificity_{low,high}: of self - cross, from the same draws.
    """
    result = {}
    for measure, infix in (("accuracy", ""), ("logprob", "logprob_")):
        random = [(h, measure, "self") for h in held]
        for kind, names in (
            ("self", [(key, measure, "self")]), ("cross", [(key, measure, "cross")]), ("random_self", random),
        ):  # fmt: skip
            low = high = value = np.nan
            if sampled is not None and names:
                value = sampled.mean("observed", names)
                low, high = resampling.interval(sampled.mean("bootstrapped", names))
            if kind == "random_self":
                result[f"random_self_{infix}drop"] = float(value)
            result |= {f"{kind}_{infix}drop_low": float(low), f"{kind}_{infix}drop_high": float(high)}
        low = high = np.nan
        if sampled is not None:
            own, other = (sampled.mean("bootstrapped", [(key, measure, kind)]) for kind in ("self", "cross"))
            low, high = resampling.interval(own - other)
        result |= {f"{infix}specificity_low": float(low), f"{infix}specificity_high": float(high)}
    return result
