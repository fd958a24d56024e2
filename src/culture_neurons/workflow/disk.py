"""The room on disk that the results of a run will take (`workflow.planning.plan`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from culture_neurons.selectors import selection

#: Bytes on disk, measured on files of the size of the paper's run: a row of a mask, an answer, and what a file has
#: beside its rows.
MASK_ROW, ANSWER_ROW, FILE = 10, 24, 4000


def disk(
    run: Mapping[str, Any], counts: Any, calibration: Mapping[str, Any], further: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Bytes of one model's files; `shards` are removed when they are merged.

    run, further    see `workflow.planning` and `workflow.planning.work`
    counts          `workflow.planning.Questions`
    """
    layers, neurons, selectors = calibration["layers"], calibration["neurons"], len(run["selectors"])
    choosing = chosen_from(run, further)
    recorded = [counts.identify] * (1 + len(run["token_rules"])) + choosing
    shards = sum(round(number * calibration["statistics_bytes_per_question"]) for number in recorded)
    per_culture = counts.cultures * layers * neurons
    chosen = sum(selection.budget(fraction, layers, neurons) for fraction in run["top_fractions"]) * counts.cultures
    files = len(run["top_fractions"])
    answers = counts.evaluate * counts.cultures * files
    controls = controlled(run, counts, further)
    robustness = run["robustness"]
    repeated = {
        # Masks of one fraction under every permutation; answers to them, and under every strength.
        "robustness": len(robustness["selectors"])
        * (
            robustness["permutations"] * (chosen // files * MASK_ROW + counts.evaluate * ANSWER_ROW)
            + len(robustness["strengths"]) * counts.evaluate * counts.cultures * ANSWER_ROW
            + (len(robustness["strengths"]) + 2) * FILE
        )
    }
    more = {}
    if run["attributed"]:
        # A sum of 8 bytes per culture and unit, in each shard of questions, controls and mentions.
        kinds = (2 + run["mentions"]) * run["shards"]["record"]
        more["attributions"] = kinds * (counts.cultures * layers * calibration.get("units_per_layer", 0) * 8 + FILE)
    sets = {name: n for name, n in (further or {}).items() if name != "mentions" and "/" not in name}
    if sets:
        evaluated, n_sets = run["sets"]["selectors"], run["sets"]["masked"]
        number = sum(sets.values()) + counts.evaluate * (n_sets > len(sets))
        under_masks = len(evaluated) * len(run["sets"]["factors"])
        more["sets"] = under_masks * (counts.cultures * number * ANSWER_ROW + n_sets * FILE)
    tuned = run["finetuning"]["runs"]
    if tuned:
        more["tuned answers"] = tuned * ((sum(sets.values()) + counts.evaluate) * ANSWER_ROW + (1 + len(sets)) * FILE)
    return {
        # All questions, and the two or five sums per culture, 8 bytes each.
        "statistics": shards + len(recorded) * per_culture * (40 if run["negative_sum"] else 16),
        "scores": selectors * (per_culture * 4 + FILE),
        "masks": selectors * (chosen * MASK_ROW + files * FILE),
        "outcomes": selectors * (answers * ANSWER_ROW + files * FILE)
        + (counts.total + sum(controls) + sum(choosing)) * ANSWER_ROW
        + (1 + len(controls) * len(run["image_controls"]) + len(choosing)) * FILE,
        "shards": shards,
        **(repeated if robustness["selectors"] else {}),
        **more,
    }


def chosen_from(run: Mapping[str, Any], further: Mapping[str, int] | None = None) -> list[int]:
    """Questions of each data set that chooses neurons in place of the run's own; arguments as of `disk`."""
    return [(further or {}).get(f"choose/{name}", 0) for name in run["choosing"]]


def controlled(run: Mapping[str, Any], counts: Any, further: Mapping[str, int] | None = None) -> list[int]:
    """Answers under all image controls together, of each data set that may have images; arguments as of `disk`."""
    questions = {**(further or {}), "": counts.evaluate}
    answers = [len(run["image_controls"]) * questions.get(name, 0) for name in run["with_images"]]
    return answers if run["image_controls"] else []
