"""What shuffled culture labels say of a model, in a sentence per selector."""

from __future__ import annotations

import numpy as np

from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import named, number
from culture_neurons.report.words import MEASURES, bracket, p_value_text


def sentences(tables: Tables, model: str) -> list[str]:
    """The own culture's change against what masks of shuffled labels do; none where labels were not shuffled."""
    table = tables.more.get("permutations")
    if table is None:
        return []
    every = rows(table, model)
    every = every[every["culture"].isna()]  # means over cultures
    result = []
    for selector, part in every.groupby("selector", sort=False):
        comparisons = []
        for row in part.to_dict("records"):
            noun, unit, decimals = MEASURES[row["measure"]]
            seen = f"{noun} {number(row['observed'], decimals)} {unit}"
            if np.isnan(row["null"]):
                comparisons.append(f"{seen}, with nothing to compare it with (no label could be shuffled)")
                continue
            null = bracket(row["null_low"], row["null_high"], decimals)
            comparisons.append(
                f"{seen} against {number(row['null'], decimals)} {null}, adjusted "
                f"{p_value_text(float(row['p_adjusted']))}"
            )
        first = part.iloc[0]
        result.append(
            f"{named(tables, model)}, against shuffled culture labels ({selector_name(str(selector))}, top "
            f"{percent(float(first['top_fraction']))}, {int(first['permutations']):,} times; in brackets where "
            f"95 % of these lie; p one-sided, of a loss as large): {'; '.join(comparisons)}."
        )
    return result
