"""How much accuracy erodes when a model is fine-tuned on something else, by which of its modules were updated.

A change is always fine-tuned - before, of one question: in accuracy -1, 0 or 1 (in points: times 100), in
log-probability of the right option among the options in nats. Claim of CULNIG (Yamamoto et al. 2026, arXiv
2510.08284): updating the modules rich in culture-general neurons costs more cultural accuracy than updating poor ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from culture_neurons import evaluation, resampling
from culture_neurons.evaluation import Baseline

#: The choice that the others are held against.
REFERENCE = "poorest"
#: Stands for the mean over seeds, and for all cultures together: neither a seed nor a culture is called so.
ALL = ""
#: Measures, and what each is multiplied by.
MEASURES = {"change": 100.0, "logprob_change": 1.0}

COLUMNS = [
    "choice", "seed", "culture", "n", "accuracy_before", "accuracy_after",
    *(f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high")),
    *(f"{measure}_vs_poorest{end}" for measure in MEASURES for end in ("", "_low", "_high", "_p", "_p_adjusted")),
    "well_formed_rate",
]  # fmt: skip


def compare(
    base: Baseline,
    after: Mapping[tuple[str, str], pd.DataFrame],
    sources: Mapping[tuple[str, str], str],
    base_source: str,
    replicates: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """One model's answers to one set, fine-tuned on one task: a row per choice, seed and culture, columns `COLUMNS`.

    base       the answers before
    after      (choice, seed) -> answers (columns of predictions.parquet) to all evaluate questions of the set
    sources    the names of these files, for errors

    Rows of seed `ALL` are of each question's mean change over seeds. Rows of culture `ALL` are macro averages: the
    mean over cultures of the mean over a culture's questions. Columns `_vs_poorest` are the differences to the choice
    `poorest` of the same seed on the same questions, empty where there is none. Intervals are 95 % percentiles of a
    bootstrap over questions within cultures (questions about one image stay together), p is two-sided, of sign flips
    of the paired differences; not adjusted yet (`adjust`).

    Raises FileError when two files do not hold the same questions.
    """
    runs: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for key, table in after.items():
        found = evaluation.changes(base, table.assign(mask_culture=ALL), {ALL: 1}, sources[key], base_source)
        gained, lost = found.gained[0].astype(float), found.lost[0].astype(float)
        runs[key] = {
            "change": MEASURES["change"] * (gained - lost), "logprob_change": found.logprob[0],
            "accuracy_after": found.correct[0].astype(float), "well_formed_rate": found.well_formed[0].astype(float),
        }  # fmt: skip
    for choice in dict.fromkeys(choice for choice, _ in after):
        mine = [values for (name, _), values in runs.items() if name == choice]
        runs[choice, ALL] = {name: np.mean([values[name] for values in mine], axis=0) for name in mine[0]}
    for (choice, key), values in runs.items():
        if choice != REFERENCE and (REFERENCE, key) in runs:
            against = runs[REFERENCE, key]
            values |= {f"{measure}_vs_poorest": values[measure] - against[measure] for measure in MEASURES}
    names = [(key, name) for key, values in runs.items() for name in values]
    matrix = np.stack([runs[key][name] for key, name in names], axis=1)  # (question, value)
    rows = []
    for culture in [*sorted(set(base.culture)), ALL]:
        of = np.ones(len(base.culture), dtype=bool) if culture == ALL else base.culture == culture
        estimates = _estimates(base, of, matrix, names, replicates, seed)
        shared = {
            "culture": culture,
            "n": int(of.sum()),
            "accuracy_before": _macro(base, of, base.correct[:, None].astype(float))[0],
        }
        rows += [{"choice": choice, "seed": key, **shared, **estimates[choice, key]} for choice, key in runs]
    return pd.DataFrame(rows, columns=COLUMNS)


def _macro(base: Baseline, of: np.ndarray, values: np.ndarray) -> np.ndarray:
    return resampling.macro_mean(resampling.design(base.culture[of], base.unit[of]), values[of])


def _estimates(
    base: Baseline, of: np.ndarray, matrix: np.ndarray, names: Sequence[tuple], replicates: int, seed: int
) -> dict[tuple[str, str], dict[str, float]]:
    """Run -> column -> value, over the questions `of`; the columns of `names`, their intervals and values of p."""
    plan = resampling.design(base.culture[of], base.unit[of])
    values = matrix[of]
    means = resampling.macro_mean(plan, values)
    low, high = resampling.interval(resampling.bootstrap(plan, values, replicates, seed))
    p = resampling.two_sided(means, resampling.sign_flips(plan, values, replicates, seed))
    result: dict[tuple[str, str], dict[str, float]] = {}
    for i, (key, name) in enumerate(names):
        row = result.setdefault(key, {})
        row[name] = float(means[i])
        if name.removesuffix("_vs_poorest") in MEASURES:
            row[f"{name}_low"], row[f"{name}_high"] = float(low[i]), float(high[i])
        if name.endswith("_vs_poorest"):
            row[f"{name}_p"] = float(p[i])
    return result


def adjust(table: pd.DataFrame) -> pd.DataFrame:
    """The table of all models with the columns `_p_adjusted` filled in (Benjamini-Hochberg).

    Families, of each measure: all cultures together or single ones, the mean over seeds or single ones, and planted
    models apart; each over models, tasks, sets and choices.
    """
    table = table.copy()
    family = table["planted"] + np.where(table["culture"] == ALL, " all", " single")
    family = family + np.where(table["seed"] == ALL, " mean", " seed")
    for measure in MEASURES:
        name = f"{measure}_vs_poorest_p"
        for one in family.unique():
            mine = family == one
            table.loc[mine, f"{name}_adjusted"] = resampling.benjamini_hochberg(table.loc[mine, name].astype(float))
    return table
