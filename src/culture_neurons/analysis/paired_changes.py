"""The changes under a selector's masks, question by question, in the form in which two selectors are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from culture_neurons.analysis.mask_effects import Baseline, Changes

#: Measures and their units.
UNITS = {"accuracy": "points", "logprob": "nats"}


@dataclass(frozen=True)
class Paired:
    """Changes of one mask file, reduced to what the comparisons need.

    cultures   those that have a mask and questions, sorted
    own        measure -> float64 [question]: change under the mask of the question's own culture
    others     measure -> float64 [question, other mask]: change under each mask of the other cultures
    cross      measure -> float64 [question]: their mean; nan with one culture
    matrix     measure -> float64 [mask culture, evaluated culture]: mean changes
    neurons    float64 [culture]: number of neurons in its mask, nan if it is not known
    single_mask   whether all masks do the same to every question: one mask that all cultures share
    location      where the neurons lie; masks are held against random ones of the same place only

    Questions are those of `cultures`, in the order of the baseline.
    """

    cultures: list[str]
    own: dict[str, np.ndarray]
    others: dict[str, np.ndarray]
    cross: dict[str, np.ndarray]
    matrix: dict[str, np.ndarray]
    neurons: np.ndarray
    single_mask: bool = False
    location: str = ""


def pair(base: Baseline, change: Changes, sizes: Mapping[str, int] | None = None, location: str = "") -> Paired:
    """Reduce the changes; accuracy in points, log-probability in nats. `sizes`: culture -> neurons in its mask."""
    keep = np.isin(base.culture.astype(str), change.masks)
    cultures = sorted(set(base.culture[keep]))
    rows = [change.masks.index(name) for name in cultures]
    culture_index = np.array([cultures.index(name) for name in base.culture[keep]], dtype=np.int64)
    group = np.eye(len(cultures))[culture_index]  # [question, culture]
    own, others, cross, matrix = {}, {}, {}, {}
    # The other masks of each question, in the order of cultures, without its own one.
    other_masks = np.arange(max(0, len(cultures) - 1)) + (
        np.arange(max(0, len(cultures) - 1)) >= culture_index[:, None]
    )
    single_mask = len(rows) > 1
    for measure in UNITS:
        if measure == "accuracy":
            values = 100.0 * (change.gained.astype(np.int64) - change.lost)[rows][:, keep]
        else:
            values = change.logprob[rows][:, keep]
        single_mask &= bool((values == values[:1]).all())
        own[measure] = values[culture_index, np.arange(len(culture_index))]
        others[measure] = values[other_masks, np.arange(len(culture_index))[:, None]]
        cross[measure] = others[measure].mean(axis=1) if other_masks.shape[1] else np.full(len(culture_index), np.nan)
        matrix[measure] = values @ group / group.sum(axis=0)
    neurons = np.array([np.nan if sizes is None else sizes[name] for name in cultures], float)
    return Paired(cultures, own, others, cross, matrix, neurons, single_mask, location)


def restrict_to(base: Baseline, paired: Paired, cultures: Sequence[str]) -> Paired:
    """The same changes for some of the cultures only; `cross` stays the mean over all other masks of the file."""
    culture = base.culture[np.isin(base.culture.astype(str), paired.cultures)]
    keep = np.isin(culture.astype(str), cultures)
    rows = [paired.cultures.index(name) for name in cultures]
    own, others, cross = (
        {measure: values[keep] for measure, values in by_measure.items()}
        for by_measure in (paired.own, paired.others, paired.cross)
    )
    matrix = {measure: values[np.ix_(rows, rows)] for measure, values in paired.matrix.items()}
    return replace(
        paired,
        cultures=list(cultures),
        own=own,
        others=others,
        cross=cross,
        matrix=matrix,
        neurons=paired.neurons[rows],
    )
