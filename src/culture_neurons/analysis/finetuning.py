"""Accuracy loss when a model is fine-tuned on an unrelated task, by which of its modules were updated.

A change is always fine-tuned - before, of one question: in accuracy -1, 0 or 1 (in points: times 100), in
log-probability of the right option among the options in nats. Claim of CULNIG (Yamamoto et al. 2026, arXiv
2510.08284): updating the modules rich in culture-general neurons costs more cultural accuracy than updating poor ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from culture_neurons.analysis import intervals, mask_effects, p_values
from culture_neurons.analysis.intervals import NATS, POINTS, SHARE, Column
from culture_neurons.analysis.mask_effects import Baseline

#: The choice that the others are compared with.
REFERENCE = "poorest"
#: Stands for the mean over seeds, and for all cultures together: neither a seed nor a culture is called so.
ALL = ""
#: Measures, and what each is multiplied by.
MEASURES = {"change": 100.0, "logprob_change": 1.0}
#: What one question can show in each column that is estimated.
SCALES = {
    "change": POINTS, "logprob_change": NATS, "change_vs_poorest": POINTS, "logprob_change_vs_poorest": NATS,
    "accuracy_after": SHARE, "well_formed_rate": SHARE,
}  # fmt: skip

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

    Rows of seed `ALL` are of each question's mean change over seeds. Rows of culture `ALL` are means over all questions
    of the set, whatever their culture, as benchmarks publish them. Columns `_vs_poorest` are the differences to the
    choice `poorest` of the same seed on the same questions, empty where there is none. Intervals are 95 % ones
    of a bootstrap over questions (`intervals`; those about one image stay together; none where there is one alone), p
    is two-sided, of sign flips of the paired differences; not adjusted yet (`adjust`). Without questions n is 0 and the
    rest empty.

    Raises FileError when two files do not hold the same questions.
    """
    runs: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for key, table in after.items():
        changes = mask_effects.changes(base, table.assign(mask_culture=ALL), {ALL: 1}, sources[key], base_source)
        gained, lost = changes.gained[0].astype(float), changes.lost[0].astype(float)
        runs[key] = {
            "change": MEASURES["change"] * (gained - lost), "logprob_change": changes.logprob[0],
            "accuracy_after": changes.correct[0].astype(float),
            "well_formed_rate": changes.well_formed[0].astype(float),
        }  # fmt: skip
    averaged = {key: [key] for key in runs}  # which seeds a run is the mean of
    for choice in dict.fromkeys(choice for choice, _ in after):
        averaged[choice, ALL] = [key for key in runs if key[0] == choice]
        runs_of_choice = [runs[key] for key in averaged[choice, ALL]]
        runs[choice, ALL] = {
            name: np.mean([values[name] for values in runs_of_choice], axis=0) for name in runs_of_choice[0]
        }
    for (choice, key), values in runs.items():
        if choice != REFERENCE and (REFERENCE, key) in runs:
            reference = runs[REFERENCE, key]
            values |= {f"{measure}_vs_poorest": values[measure] - reference[measure] for measure in MEASURES}
    rows = []
    for culture in [*sorted(set(base.culture)), ALL]:
        selected = np.ones(len(base.culture), dtype=bool) if culture == ALL else base.culture == culture
        columns = {
            (key, name): Column(column_values[selected], replace(SCALES[name], several=len(averaged[key]) > 1))
            for key, values in runs.items()
            for name, column_values in values.items()
        }
        estimates = intervals.estimate_by_name(base.unit[selected], columns, COLUMNS, replicates, seed)
        before = float(base.correct[selected].mean()) if selected.any() else np.nan
        shared = {"culture": culture, "n": int(selected.sum()), "accuracy_before": before}
        rows += [{"choice": choice, "seed": key, **shared, **estimates.get((choice, key), {})} for choice, key in runs]
    return pd.DataFrame(rows, columns=COLUMNS)


def adjust(table: pd.DataFrame) -> pd.DataFrame:
    """The table of all models with the columns `_p_adjusted` filled in (Benjamini-Hochberg).

    Families, of each measure: all cultures together or single ones, the mean over seeds or single ones, and planted
    models apart; each over models, tasks, sets and choices.
    """
    marked = table.assign(all_cultures=table["culture"] == ALL, mean=table["seed"] == ALL)
    pairs = [(f"{measure}_vs_poorest_p", f"{measure}_vs_poorest_p_adjusted") for measure in MEASURES]
    families = ["all_cultures", "mean"]
    return p_values.adjust_within(marked, ["planted", *families], pairs).drop(columns=families)
