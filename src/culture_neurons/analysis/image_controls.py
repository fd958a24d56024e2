"""How much of the accuracy needs the image: the same questions with a grey image, or with none.

A change is control - shown, of one question that has an image: in accuracy -1, 0 or 1 (in points: times 100), in
log-probability of the right option in nats. Negative: the image helped. Units of the bootstrap are images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import pandas as pd

from culture_neurons.analysis import intervals, mask_effects, p_values
from culture_neurons.analysis.intervals import NATS, POINTS, SHARE
from culture_neurons.analysis.mask_effects import Baseline
from culture_neurons.errors import FileError

#: Name of the answers to the questions as they are.
SHOWN = "shown"
#: Stands for all cultures together: no culture is called so, since rows without a culture are left out.
ALL = ""
#: What one question can show in each column.
SCALES = {name: SHARE for name in ("accuracy", "well_formed_rate", "chance", "gained", "lost")}
SCALES |= {"change": POINTS, "logprob_change": NATS}

COLUMNS = [
    "culture", "control", "n", "accuracy", "accuracy_low", "accuracy_high", "change", "change_low", "change_high",
    "mcnemar_p", "mcnemar_p_adjusted", "logprob_change", "logprob_change_low", "logprob_change_high", "chance",
    "well_formed_rate", "gained", "lost", "n_without_image",
]  # fmt: skip


def compare(
    base: Baseline,
    controls: Mapping[str, pd.DataFrame],
    cultures: Sequence[str],
    sources: Mapping[str, str],
    replicates: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """One model's rows of the table: per culture, and for all cultures (`ALL`), one for `SHOWN` and each control.

    controls   control -> answers (columns of predictions.parquet) to all evaluate questions that have an image
    sources    control -> the name of its file for errors; `SHOWN` -> that of the baseline

    A row of `ALL` has macro averages: the mean over cultures of the mean over a culture's questions; its gained
    and lost, and their exact McNemar test, are of all questions together. Both heed that questions about one image are
    answered alike: intervals (95 %) are of a bootstrap over images within cultures (`intervals`), and the test flips
    the signs of images. A culture without images has n = 0 and empty values. Values of p are not adjusted yet
    (`adjust`).

    Raises FileError when two files do not hold the same questions.
    """
    has_image = np.isin(base.sample_id, next(iter(controls.values()))["sample_id"])
    with_image = replace(base, **{field.name: getattr(base, field.name)[has_image] for field in fields(base)})
    tables = [table.assign(mask_culture=name) for name, table in controls.items()]
    changes = {
        name: mask_effects.changes(with_image, table, {name: 1}, sources[name], sources[SHOWN])
        for name, table in zip(controls, tables, strict=True)
    }
    values = {(SHOWN, "accuracy"): with_image.correct, (SHOWN, "well_formed_rate"): with_image.well_formed}
    values[SHOWN, "chance"] = 1 / with_image.options
    for name, change in changes.items():
        values[name, "accuracy"] = change.correct[0]
        values[name, "well_formed_rate"] = change.well_formed[0]
        values[name, "change"] = 100.0 * (change.gained[0].astype(np.int64) - change.lost[0])
        values[name, "logprob_change"] = change.logprob[0]
        values[name, "gained"], values[name, "lost"] = change.gained[0], change.lost[0]
    matrix = np.stack([v.astype(np.float64) for v in values.values()], axis=1)  # (question, value)
    rows = []
    for culture in [*sorted(set(cultures) | set(base.culture)), ALL]:
        selected = np.ones(len(with_image.culture), dtype=bool) if culture == ALL else with_image.culture == culture
        n_all = len(base.culture) if culture == ALL else int((base.culture == culture).sum())
        estimates = _estimates(with_image, selected, matrix, list(values), replicates, seed)
        for control in (SHOWN, *controls):
            n, chance = int(selected.sum()), estimates[SHOWN, "chance"]
            row = {"culture": culture, "control": control, "n": n, "chance": chance, "n_without_image": n_all - n}
            rows.append(row | {name: value for (of, name), value in estimates.items() if of == control})
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(["gained", "lost"], "Int64"))


def _estimates(
    base: Baseline, selected: np.ndarray, matrix: np.ndarray, names: list, replicates: int, seed: int
) -> dict[tuple[str, str], float]:
    """(control, column) -> value, over the questions `selected`; intervals beside the columns that have them."""
    if not selected.any():
        return {(control, name): 0 if name in ("gained", "lost") else np.nan for control, name in names}
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
        if name in ("accuracy", "change", "logprob_change"):
            result[control, f"{name}_low"], result[control, f"{name}_high"] = float(low[i]), float(high[i])
    return result


def adjust(table: pd.DataFrame) -> pd.DataFrame:
    """The table of all models with `mcnemar_p_adjusted` filled in (Benjamini-Hochberg).

    Single cultures are one family over cultures, models and controls; the rows of all cultures together are
    another, over models and controls. Planted models have two families of their own: they lend the others nothing.
    """
    marked = table.assign(all_cultures=table["culture"] == ALL)
    families = ["planted", "all_cultures"]
    return p_values.adjust_within(marked, families, [("mcnemar_p", "mcnemar_p_adjusted")]).drop(columns="all_cultures")


def check_complete(table: pd.DataFrame, metadata: Mapping[str, object], base: Baseline, source: str) -> None:
    """Raise FileError unless a control's file has as many answers as its metadata says, of all evaluate questions."""
    rows, without_image = metadata.get("rows"), metadata.get("without_image")
    if len(table) != rows or len(table) + (without_image if isinstance(without_image, int) else 0) != len(
        base.sample_id
    ):
        raise FileError(
            f"{source}: {len(table)} answers, expected {len(base.sample_id)} less those without an image;"
            " delete it and run again"
        )
