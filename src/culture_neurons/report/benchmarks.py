"""What masks do on several data sets, in a sentence per selector."""

from __future__ import annotations

import numpy as np
import pandas as pd

from culture_neurons.figures import captions
from culture_neurons.figures.sets import before_and_after, does, factors
from culture_neurons.figures.tables import Tables, is_control, percent, rows, selector_name
from culture_neurons.figures.titles import number

#: An adjusted p-value below this is a difference.
LEVEL = 0.05
#: Without a p-value: what was measured is no evidence, for either side.
UNTESTED = "not tested (no two questions apart, or no random masks)"


def sentences(tables: Tables, model: str) -> list[str]:
    """On which data sets accuracy is lower under a selector's masks, by the smallest factor, than under random masks
    of their size (where there are none, than without masks); none where there is one data set alone."""
    table = tables.more.get("sets")
    if table is None:
        return []
    part = rows(table, model)
    part = part[part["factor"] == min(factors(part), default=0.0)]
    result = []
    for selector, mine in part.groupby("selector", sort=False):
        if is_control(tables, model, str(selector)):
            continue
        random = np.isfinite(mine["difference"].astype(float)).any()
        found: dict[str, list[str]] = {"lower": [], "higher": [], "not shown to differ": [], UNTESTED: []}
        for _, row in mine.iterrows():
            found[_judged(row, "difference" if random else "change")].append(_numbers(row))
        against = "under random masks of their size" if random else "without masks"
        said = [f"{word} on {', '.join(names)}" for word, names in found.items() if names]
        first = mine.iloc[0]
        result.append(
            f"{captions.named(tables, model)}, on several data sets ({selector_name(str(selector))}, top "
            f"{percent(float(first['top_fraction']))}, neurons {does(float(first['factor']))}, mean of all masks "
            f"over all questions; in brackets accuracy without masks and with them): against answers {against}, "
            f"accuracy is {'; '.join(said)}. That speaks of new questions under these very masks."
        )
    return result


def _judged(row: pd.Series, what: str) -> str:
    value, p = float(row[what]), float(row[f"{what}_p_adjusted"])
    if not np.isfinite(p):
        return UNTESTED
    return ("lower" if value < 0 else "higher") if p < LEVEL else "not shown to differ"


def _numbers(row: pd.Series) -> str:
    """ "blend (64.2 and 37.9 %)"."""
    before, after = 100 * float(row["baseline_accuracy"]), before_and_after(row)[0]
    return f"{row['set']} ({number(before, 1)} and {number(after, 1)} %)"
