"""What masks do on several data sets, in a sentence per selector."""

from __future__ import annotations

import numpy as np
import pandas as pd

from culture_neurons.analysis.significance import AT_CHANCE, HIGHER, LOWER, direction
from culture_neurons.report.figures.sets import before_and_after, factor_in_words, factors
from culture_neurons.report.figures.tables import Tables, is_control, percent, rows, selector_name
from culture_neurons.report.figures.titles import named, number

#: What is said of sets that a model guesses on.
GUESSED = "at chance without masks, and not judged,"
#: What is said where neither direction is shown.
OPEN = "not shown to differ"
#: Without a p-value: what was measured is no evidence, for either side.
UNTESTED = "not tested (no two questions apart, or no random masks)"


def sentences(tables: Tables, model: str) -> list[str]:
    """On which data sets accuracy is lower, or higher, under a selector's masks, by the smallest factor, than under
    random masks of their size (where there are none, than without masks); none where there is one data set alone."""
    table = tables.more.get("sets")
    if table is None:
        return []
    part = rows(table, model)
    part = part[part["factor"] == min(factors(part), default=0.0)]
    result = []
    for selector, of_selector in part.groupby("selector", sort=False):
        if is_control(tables, model, str(selector)):
            continue
        random = np.isfinite(of_selector["difference"].astype(float)).any()
        column = "difference" if random else "change"
        sets_by_word: dict[str, list[str]] = {LOWER: [], HIGHER: [], OPEN: [], UNTESTED: [], GUESSED: []}
        for _, row in of_selector.iterrows():
            sets_by_word[_word(row, column)].append(_numbers(row))
        against = "under random masks of their size" if random else "without masks"
        phrases = [f"{word} on {', '.join(names)}" for word, names in sets_by_word.items() if names]
        first = of_selector.iloc[0]
        result.append(
            f"{named(tables, model)}, on several data sets ({selector_name(str(selector))}, top "
            f"{percent(float(first['top_fraction']))}, neurons {factor_in_words(float(first['factor']))}, mean of all "
            f"masks over all questions; in brackets accuracy without masks and with them): against answers {against}, "
            f"accuracy is {'; '.join(phrases)}. That speaks of new questions under these very masks."
        )
    return result


def _word(row: pd.Series, column: str) -> str:
    p = float(row[f"{column}_p_adjusted"])
    if row.get("level") == AT_CHANCE:
        return GUESSED
    return UNTESTED if np.isnan(p) else direction(row[column], p) or OPEN


def _numbers(row: pd.Series) -> str:
    """ "blend (64.2 and 37.9 %)"."""
    before, after = 100 * float(row["baseline_accuracy"]), before_and_after(row)[0]
    return f"{row['set']} ({number(before, 1)} and {number(after, 1)} %)"
