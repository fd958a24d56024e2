"""What the effects prove: each selector's masks against random masks and against the other cultures' masks.

Two comparisons, both on a culture's own questions, paired question by question, averaged over the questions
of a culture and then over cultures:

self-vs-random   the culture's mask against random masks made for the same culture: does it matter which
                 neurons the selector chose?
self-vs-cross    the culture's mask against the masks of the other cultures: does it matter for whom they
                 were chosen?

Either difference could be noise of two kinds, so each has two p-values, and the larger one counts (the claim is
that both kinds are excluded):

p_questions   sampling noise of the questions: would the difference hold for new questions under these very masks?
              Sign flips of the questions' differences, and their masks exchanged question by question, the questions
              about one image together; the larger p (`p_values.paired_p`).
p_masks       sampling noise of the masks: any two masks differ a little, even random ones. self-vs-random: within each
              culture, any of its masks could have been the selector's (`p_values.exchange_test`). self-vs-cross: any
              mask could have been any culture's (`p_values.relabel_test`).

All are two-sided; a verdict needs the sign too. p-values are adjusted (Benjamini-Hochberg) within one model
and one measure, over selectors, fractions and both comparisons; so a planted control lends nothing to the other
models. Two intervals: ci_low and ci_high of a bootstrap over questions (`intervals`), which speaks of these masks; and
both_low and both_high over questions and masks, which belongs to the p-value before adjustment (`mask_intervals`), with
the smallest difference that the design could have found (detectable) and how many masks carry it (n_carriers).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from culture_neurons.analysis import intervals, mask_intervals, p_values
from culture_neurons.analysis.intervals import Column
from culture_neurons.analysis.mask_effects import Baseline
from culture_neurons.analysis.paired_changes import UNITS, Paired, restrict_to
from culture_neurons.analysis.random_controls import available_controls, is_same_size
from culture_neurons.analysis.significance import (
    HIGHER,
    INCONCLUSIVE,
    LARGE,
    LESS,
    LEVEL,
    LOWER,
    NOTHING,
    OPEN,
    SPECIFIC,
    TOO_FEW,
    UNRESOLVED,
    UNSPECIFIC,
    UNTESTED,
    direction,
)

COMPARISONS = ("self-vs-random", "self-vs-cross")

COLUMNS = [
    "selector", "top_fraction", "measure", "comparison", "n", "difference", "ci_low", "ci_high", "p_value",
    "p_adjusted", "verdict", "unit", "p_questions", "p_masks", "n_cultures", "n_controls", "both_low", "both_high",
    "detectable", "n_carriers",
]  # fmt: skip


#: Differences between selectors: selector - other_selector, of self drops or of specificities (self - cross).
DIFFERENCES = [
    "selector", "other_selector", "top_fraction", "measure", "what", "n", "difference", "ci_low", "ci_high", "p_value",
    "p_adjusted", "unit",
]  # fmt: skip


def compare(
    base: Baseline,
    paired: Mapping[tuple[str, str], Paired],
    controls: Mapping[str, str],
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """All comparisons of one model.

    paired     (selector, top_fraction) -> its reduced changes
    controls   see `random_controls.controls_for`; controls themselves get no rows of evidence. One of another size than
               the masks (`random_controls.is_same_size`), or without a mask for each of their cultures, is left out.
               Masks of fewer cultures (imported ones) are held against these cultures' random masks alone.

    Returns the evidence (columns `COLUMNS`); per (selector, top_fraction), the macro averages of the random controls on
    the culture's own questions with the 95 % intervals of self, cross and random (`_macro_averages`); and the
    differences between selectors (columns `DIFFERENCES`).
    """
    keys = sorted(paired, key=lambda key: (key[0], float(key[1]), key[1]))
    results: dict[tuple[str, str], tuple[list[dict], dict]] = {}
    differences: list[dict] = []
    for cultures in sorted({tuple(part.cultures) for part in paired.values()}):
        own_keys = [key for key in keys if tuple(paired[key].cultures) == cultures]
        control_keys = {key for key in keys if key[0] in controls and set(cultures) <= set(paired[key].cultures)}
        restricted = {
            key: restrict_to(base, paired[key], cultures) for key in keys if key in control_keys or key in own_keys
        }
        evidence, pair_differences = _compare_same_cultures(base, restricted, own_keys, controls, replicates, seed)
        results |= evidence
        differences += pair_differences
    rows, averages = [row for key in keys for row in results[key][0]], [results[key][1] for key in keys]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "least"])
    for measure in UNITS:
        of_measure = table["measure"] == measure
        # Tests that can't reach significance are not counted in the family.
        p = table.loc[of_measure, "p_value"].where(table.loc[of_measure, "least"] < LEVEL)
        adjusted = pd.Series(p_values.benjamini_hochberg(p.to_numpy(float)), index=p.index)
        table.loc[of_measure, "p_adjusted"] = adjusted.fillna(table.loc[of_measure, "p_value"])
    table["verdict"] = table["verdict"].astype(object)
    for _, group in table.groupby(["selector", "top_fraction", "measure"], sort=False):
        table.loc[group.index, "verdict"] = decide_verdict(*(
            group[group["comparison"] == c].iloc[0] for c in COMPARISONS
        ))  # fmt: skip
    # Differences: a family is one measure of one model, over pairs, fractions, and self and specificity.
    of_selectors = pd.DataFrame(differences, columns=DIFFERENCES)
    if differences:
        of_selectors = p_values.adjust_within(of_selectors, ["measure"], [("p_value", "p_adjusted")])
    return table[COLUMNS], pd.DataFrame(averages), of_selectors


def _compare_same_cultures(
    base: Baseline,
    paired: Mapping[tuple[str, str], Paired],
    keys: Sequence[tuple[str, str]],
    controls: Mapping[str, str],
    replicates: int,
    seed: int,
) -> tuple[dict[tuple[str, str], tuple[list[dict], dict]], list[dict]]:
    """Rows of evidence and macro averages for `keys`, all of the same cultures; and rows of differences."""
    cultures = paired[keys[0]].cultures
    keep = np.isin(base.culture.astype(str), cultures)
    n = int(keep.sum())
    plan = p_values.design(base.culture[keep], base.unit[keep])
    controls_of = {key: _controls_of(paired, key, controls) for key in keys}
    names = [key for key in keys if key[0] not in controls]
    columns = {
        name: column for key in keys for name, column in _estimated_columns(paired, key, controls_of[key]).items()
    }
    columns |= _difference_columns(paired, names)
    testable = {name: column for name, column in columns.items() if n and np.isfinite(column.values).all()}
    estimates: dict[tuple, dict[str, float]] = {}
    if testable:
        outcome = intervals.estimate(plan, list(testable.values()), replicates, seed)
        for name, *numbers in zip(testable, outcome.mean, outcome.low, outcome.high, outcome.p, strict=True):
            estimates[name] = dict(
                zip(("difference", "ci_low", "ci_high", "p_value"), map(float, numbers), strict=True)
            )
    result = {}
    for key in keys:
        rows = []
        for (measure, unit), comparison in itertools.product(UNITS.items(), COMPARISONS if key in names else ()):
            row = _evidence_row(
                paired, estimates.get((key, measure, comparison)), key, controls_of[key], measure, comparison, seed
            )
            row |= {"n": n, "n_cultures": len(cultures), "n_controls": len(controls_of[key]), "unit": unit}
            rows.append({"selector": key[0], "top_fraction": key[1], "measure": measure, "comparison": comparison,
                         **row})  # fmt: skip
        result[key] = rows, {"selector": key[0], "top_fraction": key[1], **_macro_averages(estimates, key)}
    differences = [
        {"selector": a[0], "other_selector": b[0], "top_fraction": a[1], "measure": measure, "what": quantity, "n": n,
         **estimates[a, b, measure, quantity], "unit": UNITS[measure]}
        for a, b, measure, quantity in (name for name in estimates if len(name) == 4)
    ]  # fmt: skip
    return result, differences


def _controls_of(paired: Mapping[tuple[str, str], Paired], key: tuple[str, str], controls: Mapping[str, str]) -> list:
    """The random controls that a mask file is compared with: those of its location and its size."""
    available = available_controls({name: part.location for name, part in paired.items()}, key, controls)
    if not paired[key].cultures:
        return available
    return [name for name in available if is_same_size(paired[key].neurons.mean(), paired[name].neurons.mean())]


def _estimated_columns(
    paired: Mapping[tuple[str, str], Paired], key: tuple[str, str], control_keys: Sequence
) -> dict[tuple, Column]:
    """(key, measure, quantity) -> what is estimated of one mask file: averages, and the two comparisons."""
    masks = paired[key]
    columns = {}
    for measure in UNITS:
        own, cross, others = masks.own[measure], masks.cross[measure], masks.others[measure]
        of_one_mask, of_several = (
            intervals.scale(measure, several_masks) for several_masks in (False, others.shape[1] > 1)
        )
        columns[key, measure, "self"] = Column(own, of_one_mask)
        columns[key, measure, "cross"] = Column(cross, of_several)
        if not masks.single_mask:
            columns[key, measure, "self-vs-cross"] = Column(own - cross, of_one_mask, np.column_stack([own, others]))
        if control_keys:
            random = np.stack([paired[name].own[measure] for name in control_keys], axis=1)  # [question, control]
            mean = random.mean(axis=1)
            columns[key, measure, "random_self"] = Column(mean, intervals.scale(measure, len(control_keys) > 1))
            columns[key, measure, "self-vs-random"] = Column(own - mean, of_one_mask, np.column_stack([own, random]))
    return columns


def _difference_columns(paired: Mapping[tuple[str, str], Paired], keys: Sequence[tuple[str, str]]) -> dict:
    """(a, b, measure, quantity) -> a - b: each pair of selectors at one top fraction, on the same questions.

    Both sides are alike, so signs alone tell them apart: no masks to exchange.
    """
    columns = {}
    for (a, b), measure in itertools.product(itertools.combinations(keys, 2), UNITS):
        if a[1] == b[1]:
            own, cross = (
                getattr(paired[a], name)[measure] - getattr(paired[b], name)[measure] for name in ("own", "cross")
            )
            columns[a, b, measure, "self"] = Column(own, intervals.scale(measure))
            if not (paired[a].single_mask and paired[b].single_mask):
                columns[a, b, measure, "specificity"] = Column(own - cross, intervals.scale(measure))
    return columns


def decide_verdict(random: pd.Series, cross: pd.Series) -> str:
    """The verdict in words, from the two comparisons of one measure (rows of evidence, and `least`, the
    least attainable p).

    culture-specific                        worse than random masks and worse than the other cultures' masks
    unspecific damage                       worse than random masks, not worse than the other cultures' masks, where a
                                            difference of `LARGE` would have been found; or one mask of all cultures
    damage, specificity inconclusive        worse than random masks, and it is open whether worse than the other
                                            cultures' masks
    less harm than random masks             better than random masks, whatever the other cultures' masks do
    inconclusive                            neither, and it is open
    not distinguishable from random masks   otherwise
    too few masks to tell                   where no arrangement of so few masks could give p < 0.05
    not tested                              without random masks of the same size, or without questions

    Of a model at chance no verdict is told: `steps.tabulate` puts `significance.NOT_JUDGED` in its place.

    A comparison is open where these questions do differ under these masks (p_questions < 0.05), which masks like them
    could do by chance, or where a difference of `LARGE` could have been missed: that nothing was shown is then no
    evidence that there is nothing.
    """
    if not np.isfinite(random["p_value"]):
        return UNTESTED
    direction_to_random = direction(random["difference"], random["p_adjusted"])
    if direction_to_random != LOWER:
        if direction_to_random == HIGHER:
            return LESS
        return TOO_FEW if random["least"] >= LEVEL else INCONCLUSIVE if _is_open(random) else NOTHING
    if cross["least"] >= LEVEL:
        return TOO_FEW
    direction_to_cross = direction(cross["difference"], cross["p_adjusted"])
    if direction_to_cross == LOWER:
        return SPECIFIC
    is_single_mask = not np.isfinite(cross["p_value"])
    return UNSPECIFIC if is_single_mask or direction_to_cross == HIGHER or not _is_open(cross) else UNRESOLVED


def _is_open(row: pd.Series) -> bool:
    """Whether a comparison that shows nothing leaves a difference possible, see `decide_verdict`."""
    moves = direction(row["difference"], row["p_questions"]) != OPEN
    return bool(moves or not row["detectable"] <= LARGE[row["measure"]])


def _evidence_row(paired: Mapping, estimate: Mapping[str, float] | None, key: tuple, control_keys: list, measure: str,
                  comparison: str, seed: int) -> dict[str, float]:  # fmt: skip
    """One row of evidence, without the columns that name it; `estimate` is over questions, None if there is none."""
    masks = paired[key]
    empty = dict.fromkeys((
        "difference", "ci_low", "ci_high", "p_value", "p_questions", "p_masks", "both_low", "both_high", "detectable",
        "n_carriers",
    ), np.nan)  # fmt: skip
    if (
        comparison == "self-vs-cross" and masks.single_mask
    ):  # the others' masks are the same one: there is nothing to compare
        return empty | {"least": 0.0}
    if estimate is None:
        return empty | {"least": 1.0}
    if comparison == "self-vs-random":
        others = np.stack([paired[h].matrix[measure].diagonal() for h in control_keys])
        own = masks.matrix[measure].diagonal()
        # One random choice of a mask, not one per culture: it is exchanged with its controls as a whole.
        if masks.single_mask or any(paired[h].single_mask for h in control_keys):
            own, others = own.mean(keepdims=True), others.mean(axis=1, keepdims=True)
        p_masks, least = p_values.exchange_test(own, others, seed=seed)
        of_masks = mask_intervals.exchange_interval(own, others, seed=seed)
        carriers = mask_intervals.count_beyond(own, np.atleast_2d(others).reshape(-1, 1))
    else:
        matrix = masks.matrix[measure]
        p_masks, least = p_values.relabel_test(matrix, seed=seed)
        of_masks = mask_intervals.relabel_interval(matrix, seed=seed)
        carriers = mask_intervals.count_beyond(matrix.diagonal(), np.where(np.eye(len(matrix)), np.nan, matrix))
    p_questions = estimate["p_value"]
    p_value = max(p_questions, p_masks) if np.isfinite(p_questions) else np.nan
    low, high = mask_intervals.hull((estimate["ci_low"], estimate["ci_high"]), of_masks)
    return {
        **estimate, "p_value": p_value, "p_questions": p_questions, "p_masks": p_masks, "least": least,
        "both_low": low, "both_high": high, "detectable": mask_intervals.least_detectable(low, high),
        "n_carriers": carriers,
    }  # fmt: skip


def _macro_averages(estimates: Mapping[tuple, Mapping[str, float]], key: tuple) -> dict[str, float]:
    """random_self_drop, random_self_logprob_drop, and {self,cross,random_self}_[logprob_]drop_{low,high}.

    [logprob_]specificity_{low,high}: of self - cross.
    """
    result = {}
    unknown = dict.fromkeys(("difference", "ci_low", "ci_high"), np.nan)
    for measure, infix in (("accuracy", ""), ("logprob", "logprob_")):
        for comparison in ("self", "cross", "random_self", "self-vs-cross"):
            estimate = estimates.get((key, measure, comparison), unknown)
            name = f"{infix}specificity" if comparison == "self-vs-cross" else f"{comparison}_{infix}drop"
            if comparison == "random_self":
                result[name] = estimate["difference"]
            result |= {f"{name}_low": estimate["ci_low"], f"{name}_high": estimate["ci_high"]}
    return result
