"""Whether a model answered at all: guessing, answers that are no letters, prompts that end inside reasoning."""

from __future__ import annotations

import pandas as pd

from culture_neurons.analysis.significance import AT_CHANCE, BELOW_CHANCE
from culture_neurons.report.figures.tables import Tables, level, rows
from culture_neurons.report.figures.titles import named, number
from culture_neurons.report.words import bracket

#: A share of well-formed answers below this is said.
FORMED = 0.5


def warnings(tables: Tables, model: str) -> list[str]:
    """What to know before any result of a model is read; none where it answers above chance, and with letters."""
    who, base = named(tables, model), rows(tables.baseline, model)
    result = []
    word = level(tables, model)
    if word in (AT_CHANCE, BELOW_CHANCE):
        first = base.iloc[0]
        numbers = (
            f"accuracy {_percent(first['model_accuracy'])} % "
            f"{bracket(100 * first['model_accuracy_low'], 100 * first['model_accuracy_high'], 1)}, and guessing gives "
            f"{_percent(first['model_chance'])} %"
        )
        meaning = (
            "There is no knowledge that a mask could take away, so no verdict is given."
            if word == AT_CHANCE
            else "It knows something and says the opposite: mostly a fault of the labels, or of its answers' form."
        )
        result.append(f"{who} answers {word}: {numbers}. {meaning}")
    formed = _well_formed(base)
    if formed < FORMED:
        result.append(
            f"{who}: only {_percent(formed)} % of its answers are well formed. Mostly it would answer with something "
            "else than the letter of an option, so results speak of letters that it would not choose by itself."
        )
    tag = str(base["open_reasoning"].iloc[0]) if "open_reasoning" in base and len(base.dropna(
        subset=["open_reasoning"])) else ""  # fmt: skip
    if tag:
        result.append(
            f"{who}: its prompts end inside an open {tag}, so it starts to reason where its answer is read. "
            "Close it with chat_template_kwargs or chat_template."
        )
    return result + _sets(tables, model, who)


def _sets(tables: Tables, model: str, who: str) -> list[str]:
    """The same of further data sets."""
    table = tables.more.get("sets")
    if table is None:
        return []
    part = rows(table, model).drop_duplicates("set")
    rates = part["baseline_well_formed_rate"] if "baseline_well_formed_rate" in part else pd.Series(dtype=float)
    few = [f"{part.loc[i, 'set']} ({_percent(rate)} %)" for i, rate in rates.items() if rate < FORMED]
    return [f"{who}: less than half of its answers are well formed on {', '.join(few)}."] if few else []


def _well_formed(base: pd.DataFrame) -> float:
    """The share of well-formed answers, all questions alike; nan where the table does not say."""
    if "well_formed_rate" not in base:
        return float("nan")
    n = pd.to_numeric(base["n"])
    return float((pd.to_numeric(base["well_formed_rate"]) * n).sum() / n.sum()) if n.sum() else float("nan")


def _percent(share: float) -> str:
    return number(100 * float(share), 1)
