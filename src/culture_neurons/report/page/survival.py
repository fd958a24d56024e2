"""Which effects of masks survive on other questions: a sentence per further data set of the same cultures.

An effect here is specificity: what a culture's own mask does to its questions, beyond what the other cultures' masks do
to them (sets.csv, log-probability of the right option). Where another set asks the other way round than the one that
masks were chosen on (from the country to what belongs to it), an effect that stays behind was one of the question's
form: of neurons that write a country's name, say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
#: The same of one set alone, where no mask is judged on the questions that it was chosen on.
ONE_SET = {LOWER: "is shown for", "": "is not shown for", HIGHER: "is a smaller loss under the own mask for"}


def sentences(tables: Tables, model: str, chosen_on: Mapping[str, str] | None = None) -> list[str]:
    """For the masks chosen on one data set and each other set that has questions of cultures with a mask: for which
    selectors the specificity shown where they were chosen is shown there too. Masks can't survive on the set that they
    were chosen on. `chosen_on`: selector -> its data set, where that is not the run's own. None where there is no other
    set, or either is answered at chance."""
    table = tables.more.get("sets")
    if table is None:
        return []
    part = rows(table, model)
    part = part[(part["factor"] == min(factors(part), default=0.0)) & (part["shared"] == "no")]
    # An empty list would choose no columns, not no rows.
    part = part.loc[[not is_control(tables, model, str(selector)) for selector in part["selector"]]]
    part = part[np.isfinite(part[COLUMN].astype(float)) & (part["level"] != AT_CHANCE)]
    every = names(tables, model)
    known = [name for name in every if name in set(part["set"])]
    of_set = {name: part[part["set"] == name].set_index("selector") for name in known}
    homes: dict[str, list[str]] = {}
    for selector in dict.fromkeys(part["selector"]):
        homes.setdefault((chosen_on or {}).get(str(selector), every[0]), []).append(str(selector))
    claims = [
        claim
        for home, selectors in homes.items()
        for name in known
        if name != home and (home in known or home not in every)
        if (claim := _claim(tables, model, selectors, of_set.get(home), of_set[name], home, name))
    ]
    return [*claims, _numbers_in_words(part.iloc[0])] if claims else []


def _numbers_in_words(row: pd.Series) -> str:
    """What the numbers of all claims are."""
    return (
        f"Numbers: change of a culture's questions under its own mask, less that under the other cultures', in the "
        f"right option's log-probability (nats), with 95 % intervals; means over questions, where verdicts speak of "
        f"means over cultures; top {percent(float(row['top_fraction']))}, neurons "
        f"{factor_in_words(float(row['factor']))}."
    )


def _claim(
    tables: Tables, model: str, selectors: Sequence[str], own: pd.DataFrame | None, there: pd.DataFrame, home: str,
    name: str,
) -> str:  # fmt: skip
    """`own` has what masks do where they were chosen; None: no mask is judged there."""
    by_outcome: dict[str, list[str]] = {}
    for selector in selectors:
        if selector not in there.index or (own is not None and selector not in own.index):
            continue
        words, numbers = ONE_SET[_direction(there.loc[selector])], f"{_numbers(there.loc[selector])} on {name}"
        if own is not None:
            directions = tuple(_direction(table.loc[selector]) for table in (own, there))
            words = OUTCOMES.get(directions, "is a smaller loss under the own mask, on one of them or both, for")
            numbers = f"{_numbers(own.loc[selector])} on {home}, {numbers}"
        by_outcome.setdefault(words, []).append(f"{selector_name(selector)} ({numbers})")
    if not by_outcome:
        return ""
    order = [words for words in (*OUTCOMES.values(), *by_outcome) if words in by_outcome]
    phrases = [f"{words} {', '.join(by_outcome[words])}" for words in dict.fromkeys(order)]
    way = f"chosen on {home} and judged on {name} too" if own is not None else f"chosen on {home}, judged on {name}"
    return f"{named(tables, model)}, masks {way}: the effect {'; '.join(phrases)}."


def _direction(row: pd.Series) -> str:
    return direction(row[COLUMN], float(row[f"{COLUMN}_p_adjusted"])) or ""


def _numbers(row: pd.Series) -> str:
    """ "-0.31 [-0.40, -0.22]"."""
    return f"{number(row[COLUMN], 2)} {bracket(row[f'{COLUMN}_low'], row[f'{COLUMN}_high'], 2)}".rstrip()
