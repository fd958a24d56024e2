"""What was found, in words: a verdict per selector and model, and what each culture loses under its own mask.

The words come from evidence.csv, summary.csv and effects.csv alone; whether a model is planted is
shown beside every verdict, and never decides one.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.analysis.significance import (
    HIGHER,
    INCONCLUSIVE,
    LESS,
    LOWER,
    NOT_JUDGED,
    NOTHING,
    SPECIFIC,
    TOO_FEW,
    UNSPECIFIC,
    UNTESTED,
    direction,
)
from culture_neurons.errors import FileError
from culture_neurons.report.figures.tables import (
    Tables,
    at_chance,
    drops,
    percent,
    require_fraction,
    rows,
    selector_name,
)
from culture_neurons.report.figures.titles import MINUS, named, number, plural
from culture_neurons.report.page import (
    answering,
    evaluation_sets,
    finetuning,
    image_controls,
    shuffled_labels,
    survival,
)
from culture_neurons.report.words import FARES, MEASURES, bracket, change_in_words, p_value_text, plain

#: How a headline puts each verdict; the key is the word in evidence.csv.
HEADLINES = {
    SPECIFIC: "culture-specific",
    UNSPECIFIC: "damage, not shown to be specific to the culture",
    LESS: "less harm than random masks do",
    NOTHING: NOTHING,
    INCONCLUSIVE: "inconclusive, neither shown nor excluded",
    TOO_FEW: "no verdict, as there are too few masks to tell an effect from luck",
    UNTESTED: "not tested, as {missing}",
    NOT_JUDGED: "no verdict, as the model answers at chance",
}
BADGES = {SPECIFIC: "specific", UNSPECIFIC: "damage", NOTHING: "nothing"}

#: Selector -> the data set that it chose on, where all chose on the run's own questions.
ON_OWN: Mapping[str, str] = MappingProxyType({})

#: measure -> columns of effects.csv with a culture's change and its adjusted p-value, which may be missing
CHANGES = {"accuracy": ("drop", "mcnemar_p_adjusted"), "logprob": ("logprob_drop", "logprob_p_adjusted")}


def _interval(row: pd.Series, unit: str, decimals: int) -> str:
    if not np.isfinite(row["difference"]):
        return UNTESTED
    outcome = direction(row["difference"], row["p_adjusted"])
    both = row.get("both_low"), row.get("both_high")
    known = all(end is not None and np.isfinite(end) for end in both)
    low, high = both if known else (row["ci_low"], row["ci_high"])
    interval = f"95 % interval over questions{' and masks' if known else ''} {number(low, decimals)} to "
    words = (
        f"{number(row['difference'], decimals)} {unit} ({interval if high > low else ''}"
        f"{f'{number(high, decimals)}, ' if high > low else ''}adjusted {p_value_text(float(row['p_adjusted']))}"
        f"{f': {FARES[outcome]}' if outcome else ''})"
    )
    return ", ".join(filter(None, (words, _carriers(row), _detectable(row, unit, decimals))))


def _carriers(row: pd.Series) -> str:
    """How many masks carry a difference: "4 of 6 masks do more than any of these"."""
    n, masks = (float(row.get(column, math.nan)) for column in ("n_carriers", "n_cultures"))
    if not (np.isfinite(n) and np.isfinite(masks)):
        return ""
    return f"{n:.0f} of {plural(int(masks), 'mask')} {'goes' if n == 1 else 'go'} beyond all of these"


def _detectable(row: pd.Series, unit: str, decimals: int) -> str:
    """The smallest effect that the design could have found, where nothing was."""
    least = float(row.get("detectable", math.nan))
    if not np.isfinite(least) or direction(row["difference"], row["p_adjusted"]):
        return ""
    return f"differences from {number(least, decimals)} {unit} on would be found by four of five such runs"


def main_fraction(tables: Tables, wanted: Any = None) -> float:
    """The top fraction of the summary: the wanted one, or the one closest to 1 %."""
    known = sorted(set(tables.summary["top_fraction"].astype(float)))
    if not known and wanted is not None:
        return float(wanted)
    if not known:
        raise FileError("summary.csv holds no result; run the ablations again")
    if wanted is None:
        return min(known, key=lambda r: (abs(math.log(r / 0.01)), r))
    require_fraction(tables.summary, float(wanted))
    return float(wanted)


def selector_words(selector: str, chosen_on: Mapping[str, str] = ON_OWN) -> str:
    """A selector's name and, where `chosen_on` has it, on which data set it chose, not on the run's own questions."""
    return selector_name(selector) + (f" (chosen on {chosen_on[selector]})" if selector in chosen_on else "")


def findings(tables: Tables, top_fraction: float, chosen_on: Mapping[str, str] = ON_OWN) -> list[dict[str, Any]]:
    """Per model: who, planted, headlines (measures, verdicts, selectors), what the image controls, shuffled labels and
    further data sets say, which effects survive there, what training on other tasks did, and one item per selector.

    An item has a sentence with its verdict for each measure of evidence.csv, and the intervals behind it. `chosen_on`
    says of selectors on which other data set they chose, by name: `selector_words`.
    """
    result = []
    for model in tables.models:
        who = named(tables, model)
        evidence = rows(tables.evidence, model, None, top_fraction)
        items = []
        for selector, part in evidence.groupby("selector", sort=False):
            finding_by_measure = {
                measure: _finding(tables, who, model, str(selector), top_fraction, measure, of_measure, chosen_on)
                for measure in MEASURES
                if len(of_measure := part[part["measure"].str.startswith(measure)])
            }
            items.append({"selector": selector_words(str(selector), chosen_on), "said": finding_by_measure})
        result.append({
            "model": model, "planted": tables.is_planted(model), "who": who, "items": items,
            "headlines": _headlines(items), "image": image_controls.sentence(tables, model),
            "shuffled": shuffled_labels.sentences(tables, model), "sets": evaluation_sets.sentences(tables, model),
            "survival": survival.sentences(tables, model),
            "tuned": finetuning.sentences(tables, model), "answers": answering.level_in_words(tables, model),
            "warnings": answering.warnings(tables, model),
        })  # fmt: skip
    return result


def _finding(
    tables: Tables, who: str, model: str, selector: str, top_fraction: float, measure: str, evidence: pd.DataFrame,
    chosen_on: Mapping[str, str] = ON_OWN,
) -> dict[str, Any]:  # fmt: skip
    noun, unit, decimals = MEASURES[measure]
    name = selector_name(selector) + (f", chosen on {chosen_on[selector]}" if selector in chosen_on else "")
    drop = drops(tables, model, selector, top_fraction, measure)
    against = {str(row["comparison"]): _interval(row, unit, decimals) for _, row in evidence.iterrows()}
    verdict = str(evidence["verdict"].iloc[0])
    others = ", and ".join(
        f"{who_else} {number(drop[kind].value, decimals)} {unit}"
        for kind, who_else in (("cross", "it changes the other cultures' by"), ("random", "random masks change it by"))
        if np.isfinite(drop[kind].value)  # what was not measured is not spoken of
    )
    return {
        "verdict": verdict,
        "words": HEADLINES.get(verdict, verdict).format(missing=_missing(drop)),
        "badge": BADGES.get(verdict, "nothing"),
        "text": (
            f"{who}: masking a culture's own neurons ({name}, top {percent(top_fraction)}) "
            f"{change_in_words(drop['self'].value, f'its {noun}', unit, decimals)}{'; ' if others else ''}{others}"
        ),
        "detail": "; ".join(
            f"against {name}: {against[key]}"
            for key, name in (("self-vs-random", "random masks"), ("self-vs-cross", "the other cultures' masks"))
            if key in against
        ),
        "n": int(evidence["n"].max()),
    }


def _missing(drop: Mapping[str, Any]) -> str:
    """What a selector lacks that was not tested."""
    if not np.isfinite(drop["self"].value):
        return "no question was asked under its masks"
    if not np.isfinite(drop["random"].value):
        return "no random masks of its size were judged"
    return "there are too few questions"


def _headlines(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Selectors by verdict, per measure; measures that agree are said together."""
    result: list[dict[str, Any]] = []
    for measure, (noun, *_) in MEASURES.items():
        by_verdict: dict[tuple[str, str], list[str]] = {}
        for item in items:
            if measure in item["said"]:
                said = item["said"][measure]
                by_verdict.setdefault((said["verdict"], said["words"]), []).append(item["selector"])
        parts = [
            {"words": words, "badge": BADGES.get(verdict, "nothing"), "selectors": names}
            for (verdict, words), names in sorted(by_verdict.items(), key=lambda pair: (_order(pair[0][0]), pair[0][1]))
        ]
        if result and result[-1]["parts"] == parts:
            result[-1]["measures"].append(noun)
        elif parts:
            result.append({"measures": [noun], "parts": parts})
    return result


def _order(verdict: str) -> tuple[int, str]:
    known = list(HEADLINES)
    return (known.index(verdict) if verdict in known else len(known), verdict)


def main_selector(tables: Tables, wanted: list[str]) -> str | None:
    """The selector that is shown culture by culture: the first wanted one that was tested, else CAS, else the first."""
    known = list(dict.fromkeys(tables.evidence["selector"])) or list(dict.fromkeys(tables.summary["selector"]))
    return next((s for s in [*wanted, "cas", *known] if s in known), None)


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
