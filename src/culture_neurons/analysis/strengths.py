"""The same masks at other strengths of ablation: g becomes (1 - s) g on the masked neurons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from culture_neurons.analysis import intervals, p_values
from culture_neurons.analysis.mask_effects import Baseline
from culture_neurons.analysis.paired_changes import UNITS, Paired

#: Columns of a table of strengths, without what names the mask file.
COLUMNS = [
    "strength", "measure", "n", "self", "self_low", "self_high", "cross", "cross_low", "cross_high", "specificity",
    "specificity_low", "specificity_high", "unit",
]  # fmt: skip


def dose_response(
    base: Baseline, paired: Mapping[float, Paired], replicates: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Self and cross changes by strength of the intervention, g <- (1 - strength) g: columns `COLUMNS`.

    paired   strength -> the changes of one mask file at it

    Means over cultures of means over a culture's questions, with 95 % intervals over questions (`intervals`; one
    image's together, within cultures); all strengths on the same draws. Rows are by strength, then measure.
    """
    rows = []
    for strength in sorted(paired):
        changes = paired[strength]
        keep = np.isin(base.culture.astype(str), changes.cultures)
        if not keep.any():  # no mask's own culture has a question
            rows += [(strength, measure, 0, *[np.nan] * 9, unit) for measure, unit in UNITS.items()]
            continue
        plan = p_values.design(base.culture[keep], base.unit[keep])
        for measure, unit in UNITS.items():
            own, cross = changes.own[measure], changes.cross[measure]
            values = np.stack([own, cross, own - cross], axis=1)
            one, several = (
                intervals.scale(measure, several_masks) for several_masks in (False, len(changes.cultures) > 2)
            )
            mean = p_values.macro_mean(plan, values)
            low, high = intervals.interval(plan, values, [one, several, one], replicates, seed)
            ends = np.stack([mean, low, high], axis=1).ravel()
            rows.append((strength, measure, int(keep.sum()), *ends, unit))
    return pd.DataFrame(rows, columns=COLUMNS)
