"""What was found, in words: a verdict per selector and model, and the numbers behind it.

The words come from evidence.csv and summary.csv alone; whether a model is planted is shown beside every verdict, and
never decides one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.analysis.significance import (
    INCONCLUSIVE,
    LESS,
    NOT_JUDGED,
    NOTHING,
    SPECIFIC,
    TOO_FEW,
    UNRESOLVED,
    UNSPECIFIC,
    UNTESTED,
    direction,
)
from culture_neurons.errors import FileError
from culture_neurons.report.figures.tables import (
    Tables,
    drops,
    percent,
    require_fraction,
    rows,
    selector_name,
)
from culture_neurons.report.figures.titles import named, number, plural
from culture_neurons.report.page import (
    answering,
    evaluation_sets,
    finetuning,
    image_controls,
    shuffled_labels,
    survival,
)
from culture_neurons.report.words import FARES, MEASURES, change_in_words, p_value_text

#: How a headline puts each verdict; the key is the word in evidence.csv.
HEADLINES = {
    SPECIFIC: "culture-specific",
    UNRESOLVED: "damage, of which it is open whether it is specific to the culture",
    UNSPECIFIC: "damage that is not specific to the culture",
    LESS: "less harm than random masks do",
    NOTHING: NOTHING,
    INCONCLUSIVE: "inconclusive, neither shown nor excluded",
    TOO_FEW: "no verdict, as there are too few masks to tell an effect from luck",
    UNTESTED: "not tested, as {missing}",
    NOT_JUDGED: "no verdict, as the model answers at chance",
}
BADGES = {SPECIFIC: "specific", UNRESOLVED: "damage", UNSPECIFIC: "damage", NOTHING: "nothing"}

#: Verdict -> the comparisons that it takes: whatever else was compared says nothing of how many masks carry it.
AGAINST_RANDOM = ("self-vs-random",)
RESTS_ON = {SPECIFIC: (*AGAINST_RANDOM, "self-vs-cross"), UNRESOLVED: AGAINST_RANDOM, UNSPECIFIC: AGAINST_RANDOM}

#: Selector -> the data set that it chose on, where all chose on the run's own questions.
ON_OWN: Mapping[str, str] = MappingProxyType({})


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
    counts = carriers(row)
    if not counts:
        return ""
    return f"{counts[0]} of {plural(counts[1], 'mask')} {'goes' if counts[0] == 1 else 'go'} beyond all of these"


def carriers(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """How many masks carry the difference in a row of evidence.csv, and of how many; None where it does not say."""
    n, masks = (float(row.get(column, math.nan)) for column in ("n_carriers", "n_cultures"))
    return (int(n), int(masks)) if np.isfinite(n) and np.isfinite(masks) else None


def _carried(evidence: pd.DataFrame, verdict: str) -> tuple[int, int] | None:
    """How many masks a verdict rests on: the fewest of the comparisons that it takes; None where that is not said."""
    if verdict not in RESTS_ON:
        return None
    part = evidence[evidence["comparison"].isin(RESTS_ON[verdict])]
    return min(filter(None, (carriers(row) for _, row in part.iterrows())), default=None)


def _detectable(row: pd.Series, unit: str, decimals: int) -> str:
    """The smallest effect that the design could have found, where nothing was."""
    least = float(row.get("detectable", math.nan))
    if not np.isfinite(least) or direction(row["difference"], row["p_adjusted"]):
        return ""
    size = f"{number(least, decimals)} {unit}"
    return f"power: a true difference of {size}, either way, would be found by four of five such runs"


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
            items.append({"selector": selector_words(str(selector), chosen_on), "by_measure": finding_by_measure})
        result.append({
            "model": model, "planted": tables.is_planted(model), "who": who, "items": items,
            "headlines": _headlines(items), "image": image_controls.sentence(tables, model),
            "shuffled": shuffled_labels.sentences(tables, model), "sets": evaluation_sets.sentences(tables, model),
            "survival": survival.sentences(tables, model, chosen_on),
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
        for kind, who_else in (("cross", "the other cultures' by"), ("random", "random masks change it by"))
        if np.isfinite(drop[kind].value)  # what was not measured is not spoken of
    )
    return {
        "verdict": verdict,
        "words": HEADLINES.get(verdict, verdict).format(missing=_missing(drop)),
        "badge": BADGES.get(verdict, "nothing"),
        "carried": _carried(evidence, verdict),
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
    """Selectors by verdict, per measure; measures that agree are said together. Behind a selector stands how many masks
    the verdict rests on."""
    result: list[dict[str, Any]] = []
    for measure in MEASURES:
        by_verdict: dict[tuple[str, str], list[str]] = {}
        for item in items:
            if measure in item["by_measure"]:
                finding = item["by_measure"][measure]
                by_verdict.setdefault((finding["verdict"], finding["words"]), []).append(item["selector"])
        parts = [
            {"words": words, "badge": BADGES.get(verdict, "nothing"), "selectors": names}
            for (verdict, words), names in sorted(by_verdict.items(), key=lambda pair: (_order(pair[0][0]), pair[0][1]))
        ]
        if result and result[-1]["parts"] == parts:
            result[-1]["measures"].append(measure)
        elif parts:
            result.append({"measures": [measure], "parts": parts})
    findings_of = {item["selector"]: item["by_measure"] for item in items}
    return [
        {
            "measures": [MEASURES[measure][0] for measure in headline["measures"]],
            "parts": [
                part | {"named": [_with_carriers(name, [findings_of[name][measure]["carried"]
                                                        for measure in headline["measures"]])
                                  for name in part["selectors"]]}
                for part in headline["parts"]
            ],
        }
        for headline in result
    ]  # fmt: skip


def _with_carriers(name: str, carried: list[tuple[int, int] | None]) -> str:
    """ "LAP: 2 of 6 masks", of one measure or of several: "LAP: 2 to 3 of 6 masks"."""
    known = [pair for pair in carried if pair]
    if not known:
        return name
    least, most = min(n for n, _ in known), max(n for n, _ in known)
    return f"{name}: {least if least == most else f'{least} to {most}'} of {plural(known[0][1], 'mask')}"


def _order(verdict: str) -> tuple[int, str]:
    known = list(HEADLINES)
    return (known.index(verdict) if verdict in known else len(known), verdict)


def main_selector(tables: Tables, wanted: list[str]) -> str | None:
    """The selector that is shown culture by culture: the first wanted one that was tested, else CAS, else the first."""
    known = list(dict.fromkeys(tables.evidence["selector"])) or list(dict.fromkeys(tables.summary["selector"]))
    return next((s for s in [*wanted, "cas", *known] if s in known), None)
