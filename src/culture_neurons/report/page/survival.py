"""Which effects of masks survive on other questions: a sentence per further data set of the same cultures.

An effect here is specificity: what a culture's own mask does to its questions, beyond what the other cultures' masks do
to them (sets.csv, log-probability of the right option). Masks are chosen on the run's own data alone. Where a further
set asks the other way round (from the country to what belongs to it), an effect that stays behind was one of the
question's form: of neurons that write a country's name, say.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from culture_neurons.analysis.significance import AT_CHANCE, HIGHER, LOWER, direction
from culture_neurons.report.figures.sets import factor_in_words, factors, names
from culture_neurons.report.figures.tables import Tables, is_control, percent, rows, selector_name
from culture_neurons.report.figures.titles import named, number
from culture_neurons.report.words import bracket

COLUMN = "logprob_specificity"
#: (direction on the run's own data, direction on the further set) -> how that is put.
OUTCOMES = {
    (LOWER, LOWER): "survives for",
    (LOWER, ""): "is not shown any more for",
    (LOWER, HIGHER): "turns round for",
    ("", LOWER): "is shown there alone for",
    ("", ""): "is shown on neither for",
}


def sentences(tables: Tables, model: str) -> list[str]:
    """For each further data set that has questions of cultures with a mask, for which selectors the specificity shown
    on the run's own data is shown there too; none where there is no such set, or either is answered at chance."""
    table = tables.more.get("sets")
    if table is None:
        return []
    part = rows(table, model)
    part = part[(part["factor"] == min(factors(part), default=0.0)) & (part["shared"] == "no")]
    # An empty list would choose no columns, not no rows.
    part = part.loc[[not is_control(tables, model, str(selector)) for selector in part["selector"]]]
    part = part[np.isfinite(part[COLUMN].astype(float)) & (part["level"] != AT_CHANCE)]
    known = [name for name in names(tables, model) if name in set(part["set"])]
    if not known or known[0] != names(tables, model)[0]:
        return []
    own = part[part["set"] == known[0]].set_index("selector")
    return [_sentence(tables, model, own, part[part["set"] == name].set_index("selector"), known[0], name)
            for name in known[1:]]  # fmt: skip


def _sentence(tables: Tables, model: str, own: pd.DataFrame, there: pd.DataFrame, home: str, name: str) -> str:
    by_outcome: dict[str, list[str]] = {}
    for selector in own.index.intersection(there.index, sort=False):
        directions = tuple(_direction(table.loc[selector]) for table in (own, there))
        words = OUTCOMES.get(directions, "is a smaller loss under the own mask, on one of them or both, for")
        numbers = f"{_numbers(own.loc[selector])} on {home}, {_numbers(there.loc[selector])} on {name}"
        by_outcome.setdefault(words, []).append(f"{selector_name(str(selector))} ({numbers})")
    order = [words for words in (*OUTCOMES.values(), *by_outcome) if words in by_outcome]
    phrases = [f"{words} {', '.join(by_outcome[words])}" for words in dict.fromkeys(order)]
    first = there.iloc[0]
    return (
        f"{named(tables, model)}, from {home} to {name} (top {percent(float(first['top_fraction']))}, neurons "
        f"{factor_in_words(float(first['factor']))}; how much more a culture's questions lose under its own mask than "
        f"under the other cultures', log-probability of the right option in nats, 95 % intervals): the effect "
        f"{'; '.join(phrases)}."
    )


def _direction(row: pd.Series) -> str:
    return direction(row[COLUMN], float(row[f"{COLUMN}_p_adjusted"])) or ""


def _numbers(row: pd.Series) -> str:
    """ "-0.31 [-0.40, -0.22]"."""
    return f"{number(row[COLUMN], 2)} {bracket(row[f'{COLUMN}_low'], row[f'{COLUMN}_high'], 2)}".rstrip()
