"""How much of the accuracy needs the image: the same questions with a grey image, with none, or with another culture's.

A change is control - shown, of one question that has an image: in accuracy -1, 0 or 1 (in points: times 100), in
log-probability of the right option in nats. Negative: the image helped. Units of the bootstrap are images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.analysis import intervals, mask_effects, p_values
from culture_neurons.analysis.intervals import NATS, POINTS, SHARE
from culture_neurons.analysis.mask_effects import Baseline
from culture_neurons.errors import FileError

#: Name of the answers to the questions as they are, and of the control that shows the image of another culture.
SHOWN, SWAPPED = "shown", "swapped"
#: Stands for all cultures together: no culture is called so, since rows without a culture are left out.
ALL = ""
#: What one question can show in each column.
SCALES = {name: SHARE for name in ("accuracy", "well_formed_rate", "chance", "gained", "lost", "followed")}
SCALES |= {"change": POINTS, "logprob_change": NATS}

COLUMNS = [
    "culture", "control", "n", "accuracy", "accuracy_low", "accuracy_high", "change", "change_low", "change_high",
    "mcnemar_p", "mcnemar_p_adjusted", "logprob_change", "logprob_change_low", "logprob_change_high", "chance",
    "well_formed_rate", "gained", "lost", "n_without_image",
]  # fmt: skip
#: Those that only rows of `SWAPPED` have.
SWAPPED_COLUMNS = ["n_without_other_image", "followed", "followed_low", "followed_high", "followed_n"]

#: (control, column) -> what each question shows, float64 or bool [question]
Values = dict[tuple[str, str], np.ndarray]


def compare(
    base: Baseline,
    controls: Mapping[str, pd.DataFrame],
    cultures: Sequence[str],
    sources: Mapping[str, str],
    replicates: int = 2000,
    seed: int = 0,
    left_out: Sequence[str] = (),
    owners: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """One model's rows of the table: per culture, and for all cultures (`ALL`), one for `SHOWN` and each control.

    controls   control -> answers (columns of predictions.parquet) to all evaluate questions that have an image;
               `SWAPPED`: without those of `left_out`, and whose image was shown (`shown_culture`)
    sources    control -> the name of its file for errors; `SHOWN` -> that of the baseline
    left_out   ids of questions that have an image, but none of another culture to show in its place
    owners     sample_id -> whose each option is, in the order of the options; nothing where that is not known

    A row of `ALL` has macro averages: the mean over cultures of the mean over a culture's questions; its gained
    and lost, and their exact McNemar test, are of all questions together. Both heed that questions about one image are
    answered alike: intervals (95 %) are of a bootstrap over images within cultures (`intervals`), and the test flips
    the signs of images. A culture without images has n = 0 and empty values. Values of p are not adjusted yet
    (`adjust`).

    followed: among the questions that were answered right with their own image, and whose owners are known, the share
    whose answer under `SWAPPED` is the option of the culture that was shown; followed_n of them.

    Raises FileError when two files do not hold the same questions.
    """
    with_image = _chosen(base, {*left_out}.union(*(table["sample_id"] for table in controls.values())))
    exchanged = _chosen(base, {*with_image.sample_id} - {*left_out})
    swapped = controls.get(SWAPPED)
    values: Values = {(SHOWN, "accuracy"): with_image.correct, (SHOWN, "well_formed_rate"): with_image.well_formed}
    values[SHOWN, "chance"] = 1 / with_image.options
    for name, table in controls.items():
        if name != SWAPPED:
            values |= _changes(with_image, name, table, sources)
    groups = [(with_image, values)]
    if swapped is not None:
        groups.append((exchanged, {(SWAPPED, "chance"): 1 / exchanged.options}))
        groups[-1][1].update(_changes(exchanged, SWAPPED, swapped, sources))
        groups.append(_followed(exchanged, swapped, owners or {}, sources))
    rows = []
    for culture in [*sorted(set(cultures) | set(base.culture)), ALL]:
        n_all, *n_asked = (int(_of(culture, part).sum()) for part in (base, *(part for part, _ in groups)))
        estimates: dict[tuple[str, str], float] = {}
        for part, of_part in groups:
            estimates |= _estimates(part, _of(culture, part), of_part, replicates, seed)
        for control in (SHOWN, *controls):
            row = {"culture": culture, "control": control, "n": n_asked[0], "n_without_image": n_all - n_asked[0]}
            row["chance"] = estimates[SHOWN, "chance"]
            if control == SWAPPED:
                row |= {"n": n_asked[1], "n_without_other_image": n_asked[0] - n_asked[1], "followed_n": n_asked[2]}
            rows.append(row | {name: value for (of, name), value in estimates.items() if of == control})
    counts = ["gained", "lost", "n_without_other_image", "followed_n"]
    types = dict.fromkeys(SWAPPED_COLUMNS, "float64") | dict.fromkeys(counts, "Int64")
    return pd.DataFrame(rows, columns=[*COLUMNS, *SWAPPED_COLUMNS]).astype(types)


def _chosen(base: Baseline, ids: Set[str]) -> Baseline:
    """The questions with these ids."""
    which = np.array([name in ids for name in base.sample_id], dtype=bool)
    return replace(base, **{field.name: getattr(base, field.name)[which] for field in fields(base)})


def _of(culture: str, base: Baseline) -> np.ndarray:
    """Which questions are a culture's, or all, bool [question]."""
    return np.ones(len(base.culture), dtype=bool) if culture == ALL else base.culture == culture


def _changes(base: Baseline, name: str, table: pd.DataFrame, sources: Mapping[str, str]) -> Values:
    """What the questions show under a control. Raises FileError when they are not those of its table."""
    marked = table.assign(mask_culture=name)
    change = mask_effects.changes(base, marked, {name: 1}, sources[name], sources[SHOWN])
    return {
        (name, "accuracy"): change.correct[0],
        (name, "well_formed_rate"): change.well_formed[0],
        (name, "change"): 100.0 * (change.gained[0].astype(np.int64) - change.lost[0]),
        (name, "logprob_change"): change.logprob[0],
        (name, "gained"): change.gained[0],
        (name, "lost"): change.lost[0],
    }


def _followed(
    base: Baseline, swapped: pd.DataFrame, owners: Mapping[str, Sequence[str]], sources: Mapping[str, str]
) -> tuple[Baseline, Values]:
    """The questions that can show whether an answer follows the image, and which of the answers do.

    Raises FileError where no option, or more than one, is the shown culture's.
    """
    right = _chosen(base, {name for name, correct in zip(base.sample_id, base.correct, strict=True)
                           if correct and len(owners.get(name, ()))})  # fmt: skip
    answers = swapped.set_index("sample_id").loc[right.sample_id]
    followed = []
    for name, culture, prediction in answers[["shown_culture", "prediction"]].itertuples():
        places = [place for place, owner in enumerate(owners[name]) if owner == culture]
        if len(places) != 1:
            raise FileError(
                f"{sources[SWAPPED]}: {name!r} was shown an image of {culture!r}, which has {len(places)} of its "
                "options, expected one; delete it and run again"
            )
        followed.append(prediction == places[0])
    return right, {(SWAPPED, "followed"): np.array(followed, dtype=bool)}


def _estimates(
    base: Baseline, selected: np.ndarray, values: Values, replicates: int, seed: int
) -> dict[tuple[str, str], float]:
    """(control, column) -> value, over the questions `selected`; intervals beside the columns that have them."""
    names = list(values)
    if not selected.any():
        return {(control, name): 0 if name in ("gained", "lost") else np.nan for control, name in names}
    matrix = np.stack([v.astype(np.float64) for v in values.values()], axis=1)  # (question, value)
    plan = p_values.design(base.culture[selected], base.unit[selected])
    means = p_values.macro_mean(plan, matrix[selected])
    low, high = intervals.interval(plan, matrix[selected], [SCALES[name] for _, name in names], replicates, seed)
    result: dict[tuple[str, str], float] = {}
    for i, (control, name) in enumerate(names):
        if name in ("gained", "lost"):
            result[control, name] = int(matrix[selected, i].sum())
            continue
        if name == "change":
            points = p_values.unit_sums(plan, matrix[selected][:, [i]])
            result[control, "mcnemar_p"] = float(p_values.mcnemar_units(np.rint(points / 100).astype(np.int64))[0])
        result[control, name] = float(means[i])
        if name in ("accuracy", "change", "logprob_change", "followed"):
            result[control, f"{name}_low"], result[control, f"{name}_high"] = float(low[i]), float(high[i])
    return result


def adjust(table: pd.DataFrame) -> pd.DataFrame:
    """The table of all models with `mcnemar_p_adjusted` filled in (Benjamini-Hochberg).

    Single cultures of a data set are one family over cultures, models and controls; the rows of all its cultures
    together are another, over models and controls. Planted models have two families of their own: they lend the others
    nothing.
    """
    marked = table.assign(all_cultures=table["culture"] == ALL)
    families = ["set", "planted", "all_cultures"]
    return p_values.adjust_within(marked, families, [("mcnemar_p", "mcnemar_p_adjusted")]).drop(columns="all_cultures")


def check_complete(table: pd.DataFrame, metadata: Mapping[str, Any], base: Baseline, source: str) -> None:
    """Raise FileError unless a control's file has as many answers as its metadata says, of all evaluate questions."""
    rows, without_image = metadata.get("rows"), metadata.get("without_image")
    left_out = (without_image if isinstance(without_image, int) else 0) + len(metadata.get("without_other_image", ()))
    if len(table) != rows or len(table) + left_out != len(base.sample_id):
        raise FileError(
            f"{source}: {len(table)} answers, expected {len(base.sample_id)} less those without an image;"
            " delete it and run again"
        )
