"""What each culture's questions lose under its own mask, culture by culture and model by model."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from culture_neurons.analysis.significance import HIGHER, LOWER, direction
from culture_neurons.report.figures.tables import Tables, at_chance, rows
from culture_neurons.report.figures.titles import MINUS, named, number
from culture_neurons.report.page.summary import ON_OWN, selector_words
from culture_neurons.report.words import FARES, MEASURES, bracket, p_value_text, plain

#: measure -> columns of effects.csv with a culture's change and its adjusted p-value, which may be missing
CHANGES = {"accuracy": ("drop", "mcnemar_p_adjusted"), "logprob": ("logprob_drop", "logprob_p_adjusted")}


def by_culture(
    tables: Tables, selector: str, top_fraction: float, chosen_on: Mapping[str, str] = ON_OWN
) -> dict[str, Any]:
    """How each culture fares under its own mask: a row per culture, a cell per model.

    A cell has the change in each measure; and one contrast with its interval, p-value and direction: that the own mask
    does something else to it than other masks do (`_specific`), or where no table has that, that its answers change at
    all (effects.csv). `counts` are how many cultures fare worse, and better where any does.
    """
    effects = tables.effects[tables.effects["mask_culture"] == tables.effects["eval_culture"]]
    specific = {measure: _specific(tables, selector, top_fraction, measure) for measure in MEASURES}
    cells_of: dict[str, dict[str, dict[str, Any]]] = {}
    for model in tables.models:
        for record in rows(effects, model, selector, top_fraction).to_dict("records"):
            culture = str(record["eval_culture"])
            tests = {
                measure: of.get((model, culture), (math.nan,) * 5) if of else _own_change(record, measure)
                for measure, of in specific.items()
            }
            cells_of.setdefault(culture, {})[model] = _cell(record, tests, {m for m, of in specific.items() if of})
    guessing = {model for model in tables.models if at_chance(tables, model)}
    for cells in cells_of.values():  # nothing of a model that guesses is marked
        for model in guessing & cells.keys():
            cells[model]["changes"] = [change | {"fares": ""} for change in cells[model]["changes"]]
    counted = {
        (fares, noun): [
            [cells[m]["changes"][i]["fares"] == fares for cells in cells_of.values() if m in cells]
            for m in tables.models
        ]
        for fares in FARES.values()
        for i, (measure, (noun, *_)) in enumerate(MEASURES.items())
        if specific[measure] or CHANGES[measure][1] in effects
    }
    counted = {key: of for key, of in counted.items() if key[0] == FARES[LOWER] or any(map(any, of))}
    return {
        "selector": selector_words(selector, chosen_on),
        "models": [{"who": named(tables, m), "planted": tables.is_planted(m)} for m in tables.models],
        "rows": [{"culture": plain(c), "cells": [cells_of[c].get(m) for m in tables.models]} for c in sorted(cells_of)],
        "counts": {
            key: [
                "not judged" if model in guessing else f"{sum(column)} of {len(column)}"
                for model, column in zip(tables.models, columns, strict=True)
            ]
            for key, columns in counted.items()
        },
        "better": any(fares == FARES[HIGHER] for fares, _ in counted),
        "specific": any(specific.values()),
        "shuffled": tables.more.get("permutations") is not None,
    }


def _specific(
    tables: Tables, selector: str, top_fraction: float, measure: str
) -> dict[tuple[str, str], tuple[float, ...]]:
    """(model, culture) -> how much more its questions change under the own mask than under others, adjusted p-value,
    the ends of its interval over questions, and the difference that this interval is of.

    Against the other cultures' masks (luck of the questions, cultures.csv, two-sided) and, where labels were shuffled,
    against masks of shuffled labels (luck of the neurons, permutations.csv, one-sided: a loss as large). The larger p
    counts; where the two differ in direction the change is nan, as neither can be said.
    """
    result: dict[tuple[str, str], tuple[float, ...]] = {}
    for name in ("cultures", "permutations"):
        table = tables.more.get(name)
        for model in tables.models if table is not None else ():
            part = rows(table, model, selector, top_fraction)
            part = part[(part["measure"] == measure) & part["culture"].notna()]
            change = part["specificity"] if name == "cultures" else part["observed"] - part["null"]
            ends = [
                part[f"specificity_{end}"].astype(float) if f"specificity_{end}" in part else [math.nan] * len(part)
                for end in ("low", "high")
            ]
            for culture, difference, p, low, high in zip(
                part["culture"], change.astype(float), part["p_adjusted"].astype(float), *ends, strict=True
            ):
                key = model, str(culture)
                if name == "cultures":
                    result[key] = difference, p, low, high, difference
                elif key in result:
                    result[key] = *_both(result[key][:2], (difference, p)), *result[key][2:]
    return result


def _both(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The first change, nan where the second has another sign, and the larger p-value, nan where one is unknown."""
    return one[0] if one[0] * other[0] > 0 else math.nan, float(np.maximum(one[1], other[1]))


def _own_change(record: dict[str, Any], measure: str) -> tuple[float, ...]:
    """A culture's change under its own mask, its p-value and the ends of its interval, from effects.csv."""
    change, p = CHANGES[measure]
    names = (change, p, f"{change}_low", f"{change}_high", change)
    return tuple(float(record.get(name, math.nan)) for name in names)


def _cell(
    record: dict[str, Any], tests: Mapping[str, tuple[float, ...]], specific: Container[str] = ()
) -> dict[str, Any]:
    """One culture under its own mask in one model; `tests`: measure -> change that was tested, its p-value and ends;
    `specific` has measures whose tested change is that against other masks."""
    changes = []
    for measure, (_, unit, decimals) in MEASURES.items():
        column, (change, p, low, high, shown) = CHANGES[measure][0], tests[measure]
        against = measure in specific and np.isfinite(shown)
        changes.append({
            "text": f"{number(float(record[column]), decimals)} {unit}",
            "against": f"own {MINUS} others {number(shown, decimals)}" if against else "",
            "interval": bracket(low, high, decimals),
            "p": p_value_text(p) if np.isfinite(p) else "",
            "fares": FARES.get(direction(change, p), ""),
        })  # fmt: skip
    return {"changes": changes, "key": f"{float(record['drop']):.6g}"}
