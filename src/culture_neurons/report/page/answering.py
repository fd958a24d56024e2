"""Whether a model answered at all: guessing, answers that are no letters, prompts that end inside reasoning."""

from __future__ import annotations

import pandas as pd

from culture_neurons.analysis import design_limits
from culture_neurons.analysis.significance import ABOVE_CHANCE, AT_CHANCE, BELOW_CHANCE
from culture_neurons.report.figures.tables import Tables, level, questions, rows, selector_name
from culture_neurons.report.figures.titles import listed, named, number, plural
from culture_neurons.report.words import bracket, p_value_text, plain

#: A share of well-formed answers below this is said.
FORMED = 0.5
#: Answers that prefer a place with a p-value below this are said to.
PREFERRED = 0.01


def warnings(tables: Tables, model: str) -> list[str]:
    """What to know before any result of a model is read: guessing, answers in a form or at a place, cultures without a
    mask, and verdicts that are out of reach."""
    who, base = named(tables, model), rows(tables.baseline, model)
    result = []
    word = level(tables, model)
    if word in (AT_CHANCE, BELOW_CHANCE):
        numbers = _numbers(base)
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
    return (
        result
        + [text for text in (_place(base, who), _without_mask(tables, model, who)) if text]
        + _limits(tables, model, who)
        + _sets(tables, model, who)
    )


def level_in_words(tables: Tables, model: str) -> str:
    """How well a model answers that does not guess: accuracy with its interval against guessing; "" where `warnings`
    says it, or nothing does."""
    if level(tables, model) != ABOVE_CHANCE:
        return ""
    n = questions(tables, model) or 0
    return (
        f"{named(tables, model)} answers {ABOVE_CHANCE} without masks: {_numbers(rows(tables.baseline, model))} "
        f"({plural(n, 'question')})."
    )


def _numbers(base: pd.DataFrame) -> str:
    """ "accuracy 61.0 % [50.2, 70.9], mean over cultures, and guessing gives 25.0 %"."""
    first = base.iloc[0]
    interval = bracket(100 * first["model_accuracy_low"], 100 * first["model_accuracy_high"], 1)
    accuracy, guessing = (_percent(first[f"model_{name}"]) for name in ("accuracy", "chance"))
    return f"accuracy {accuracy} % {interval}, mean over cultures, and guessing gives {guessing} %"


def _place(base: pd.DataFrame, who: str) -> str:
    """Whether answers prefer a place among the options."""
    if "place_p" not in base or not float(base["place_p"].iloc[0]) < PREFERRED:
        return ""
    first = base.iloc[0]
    return (
        f"{who} prefers a place: {int(first['place_n'])} of {plural(int(first['place_of']), 'answer')} are option "
        f"{first['place']} of the prompt, where {number(float(first['place_expected']), 0)} would be even "
        f"({p_value_text(float(first['place_p']))}). Part of its answers depends on the order of the options."
    )


def _without_mask(tables: Tables, model: str, who: str) -> str:
    """Cultures that no selector has a mask of, and why."""
    base, masked = rows(tables.baseline, model), set(rows(tables.effects, model)["mask_culture"])
    if not masked or not {"n_identify", "n_identify_correct"} <= set(base):
        return ""
    missing = [
        f"{plain(row['culture'])} ({int(row['n_identify_correct'])} of {int(row['n_identify'])})"
        for _, row in base.iterrows()
        if row["culture"] not in masked
    ]
    if not missing:
        return ""
    return (
        f"{who} has no mask for {listed(missing)}: in brackets how many questions that choose neurons it answers "
        "right, which are too few. No result speaks of these cultures' own masks."
    )


def _limits(tables: Tables, model: str, who: str) -> list[str]:
    """Selectors that no verdict can be reached on."""
    table = rows(tables.evidence, model)
    if not {"n_cultures", "n_controls"} <= set(table) or not len(table):
        return []
    first = table[table["n_controls"].astype(float) > 0].drop_duplicates("selector")  # without any: "not tested"
    by_groups = {}
    for _, row in first.iterrows():
        by_groups.setdefault(int(row["n_cultures"]), {})[selector_name(str(row["selector"]))] = int(row["n_controls"])
    notes = [note for groups, controls in by_groups.items() for note in design_limits.notes(controls, groups)]
    return [f"{who}: {note}." for note in notes]


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
