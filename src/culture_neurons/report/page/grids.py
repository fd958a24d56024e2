"""Tables of the page: what a reader sees of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from culture_neurons.report.figures.baseline import wilson
from culture_neurons.report.figures.tables import Tables, is_control, questions, rows
from culture_neurons.report.figures.titles import DASH, named, number
from culture_neurons.report.words import MEASURES, bracket, plain
from culture_neurons.tables import TABLES

#: Rows of a table that the page shows; longer ones are named with their file.
MOST_ROWS = 2000
#: Columns with few different values, which a reader may choose one of.
CHOICES = (
    "model", "planted", "selector", "top_fraction", "culture", "mask_culture", "eval_culture", "measure", "comparison",
    "verdict", "control", "task", "set", "other_set", "factor", "choice", "seed",
)  # fmt: skip
#: Columns whose texts are ours, in words of the run.
OURS = ("verdict", "comparison", "what", "averaged_over")
#: Measure -> column of summary.csv.
SPECIFICITY = {"accuracy": "specificity", "logprob": "logprob_specificity"}
#: Decimals by the name of a column; the first pattern that is found counts. Other numbers: four significant digits.
DECIMALS = (
    (r"(^|_)p($|_)|_p_", 4),
    (r"logprob", 3),
    (r"accuracy$|_rate$|precision|recall|chance|share", 3),
    (r"drop|specificity|difference|change", 2),
)


def sections(tables: Tables) -> list[dict[str, Any]]:
    """The tables that the page shows and the run has, ready for it; those without rows are left out."""
    result = []
    for section in TABLES.values():
        frame = tables.table(section.name)
        if section.shown and frame is not None and len(frame):
            if section.name == "baseline":
                frame = with_interval(frame)
            frame = frame[frame[list(section.averaged)].isna().all(axis=1)]
            empty = set(frame.columns[frame.isna().all()])
            left_out = {c for c in frame if section.left_out and re.search(section.left_out, c)} | empty
            shown = frame[[c for c in frame if c not in left_out]]
            note = f"{section.note} {chance_range(tables)}".rstrip() if section.name == "summary" else section.note
            result.append(table(shown, section.name, section.decimals, tables.words)
                          | {"title": tables.words(section.title), "note": tables.words(note)})  # fmt: skip
    return result


def chance_range(tables: Tables) -> str:
    """What rows of random masks in summary.csv are for, and what range of specificity they have; "" without any."""
    parts = []
    for model in tables.models:
        part = rows(tables.summary, model)
        part = part.loc[[is_control(tables, model, str(selector)) for selector in part["selector"]]]
        ranges = [
            f"{number(values.min(), decimals)} to {number(values.max(), decimals)} {unit}"
            for measure, (_, unit, decimals) in MEASURES.items()
            if (column := SPECIFICITY[measure]) in part and len(values := part[column].astype(float).dropna())
        ]
        if ranges:
            parts.append(f"{named(tables, model)}, {' and '.join(ranges)}")
    if not parts:
        return ""
    return (
        "Rows of random masks are controls, not findings: what they show comes by chance, and by what they share with "
        f"the masks that they are matched to. Their specificity here: {'; '.join(parts)}. A selector's is an effect "
        "only where the comparisons below tell it from theirs."
    )


def with_interval(baseline: pd.DataFrame) -> pd.DataFrame:
    """baseline.csv with Wilson's interval of each accuracy: 100 % of one question is not yet 100 %."""
    n, accuracy = (pd.to_numeric(baseline[column]).to_numpy(float) for column in ("n", "accuracy"))
    low, high = wilson(accuracy * n, n)
    return baseline.assign(accuracy_low=low, accuracy_high=high)


def decimals_of(column: str) -> int | None:
    """Decimals of a column, by `DECIMALS`; None: four significant digits."""
    return next((places for pattern, places in DECIMALS if re.search(pattern, column)), None)


def ends_of(columns: list[str]) -> dict[str, tuple[str, str]]:
    """Columns with the ends of their intervals, where the table has both: x_low and x_high, or ci_low and ci_high."""
    pairs = {c: (f"{c}_low", f"{c}_high") for c in columns}
    pairs |= {"difference": ("ci_low", "ci_high")} if "ci_low" in columns else {}
    return {c: pair for c, pair in pairs.items() if {c, *pair} <= set(columns)}


def table(
    frame: pd.DataFrame, name: str, decimals: Mapping[str, int] | None = None, words: Callable[[str], str] = str
) -> dict[str, Any]:
    """A table for the page: columns (text, is number, can be chosen by), rows of (text, is number, value to sort by),
    and how many rows were left out.

    `words` puts headings and verdicts in words of the run. Ends of intervals become a bracket behind their
    value. The value to sort by is "" where the text says it.
    """
    ends = ends_of(list(map(str, frame.columns)))
    hidden = {end for pair in ends.values() for end in pair}
    numeric = {c: pd.api.types.is_numeric_dtype(frame[c]) for c in frame.columns}
    places = {c: (decimals or {}).get(c, decimals_of(str(c))) if pd.api.types.is_float_dtype(frame[c]) else None
              for c in frame.columns}  # fmt: skip
    body = []
    for record in frame.head(MOST_ROWS).to_dict("records"):
        cells = []
        for column, value in record.items():
            if column in hidden:
                continue
            if not numeric[column]:
                text = plain(DASH if pd.isna(value) else value)
                cells.append((words(text) if column in OURS else text, False, ""))
                continue
            text = number(value, places[column])
            if column in ends:
                text = f"{text} {bracket(*(record[e] for e in ends[column]), places[column])}".rstrip()
            cells.append((text, True, _key(value, text)))
        body.append({"planted": str(record.get("planted", "")) == "yes", "cells": cells})
    return {
        "name": name,
        "columns": [
            (words(plain(_heading(str(c)))), numeric[c], c in CHOICES) for c in frame.columns if c not in hidden
        ],
        "rows": body,
        "left_out": max(0, len(frame) - MOST_ROWS),
        "total": len(frame),
    }


def _heading(column: str) -> str:
    """A column's name as the page shows it: with a drop that is negative where much is lost, "change" says it."""
    return re.sub(r"(^|_)drop(?=_|$)", r"\1change", column).replace("_", " ")


def _key(value: Any, text: str) -> str:
    """What a number is sorted by, where its text was rounded."""
    if pd.isna(value):
        return ""
    exact = f"{float(value):.6g}"
    return "" if text.replace("\N{MINUS SIGN}", "-").replace(",", "") == exact else exact


def counts_table(counts: pd.DataFrame, total: str = "all cultures") -> pd.DataFrame:
    """Questions per culture: one column per category, then per split, then all; the last row is called `total`."""
    by_category = counts.pivot_table(index="culture", columns="category", values="n", aggfunc="sum", fill_value=0)
    by_split = counts.pivot_table(index="culture", columns="split", values="n", aggfunc="sum", fill_value=0)
    splits = [s for s in ("identify", "evaluate") if s in by_split] + [
        s for s in by_split if s not in ("identify", "evaluate")
    ]
    result = pd.concat([by_category.add_prefix("category: "), by_split[splits].add_prefix("split: ")], axis=1)
    result["all"] = by_split.sum(axis=1)
    sums = result.sum().to_frame(total).T  # a row of its own: a culture may be called so
    return pd.concat([result, sums]).rename_axis("culture").reset_index()


def dropped_table(dropped: pd.DataFrame) -> pd.DataFrame:
    """Rows left out: reason, culture, number of rows; most frequent reason first."""
    frame = dropped.assign(culture=dropped["culture"].fillna("(none)") if "culture" in dropped else "(none)")
    result = frame.groupby(["reason", "culture"], dropna=False).size().rename("rows").reset_index()
    weight = result.groupby("reason")["rows"].transform("sum")
    result = result.assign(weight=weight).sort_values(["weight", "reason", "culture"], ascending=[False, True, True])
    return result.drop(columns="weight")


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys; lists of settings stay as JSON."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    result: dict[str, Any] = {}
    for key in value:
        result.update(flat(value[key], f"{prefix}.{key}" if prefix else str(key)))
    return result


def source(stanza: Mapping[str, Any]) -> str:
    """Where a model comes from: its path or name on the hub, its GGUF file, or the package that has it; "" for none."""
    gguf = stanza.get("gguf") or {}
    package = gguf.get("pip") or {}
    if package:
        return f"{package['package']} {package['version']}: {package['file']}"
    return str(stanza.get("path") or gguf.get("path") or "")


def models_table(tables: Tables, run: Mapping[str, Any], training: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per model: planted, source, revision, training accuracy, baseline accuracy, questions."""
    records = []
    for model in tables.models:
        stanza = dict(run.get("models", {}).get(model) or {})
        base = rows(tables.baseline, model)
        trained = flat(training.get(model, {}))
        record: dict[str, Any] = {
            "model": model,
            "planted": "yes" if tables.is_planted(model) else "no",
            "source": source(stanza) or ("trained in this run" if "train" in stanza or trained else DASH),
            "revision": str(stanza.get("revision") or DASH),
        }
        for key, value in trained.items():
            if "accuracy" in key and isinstance(value, (int, float)) and not isinstance(value, bool):
                record[f"training: {key} (%)"] = 100 * float(value) if value <= 1 else float(value)
        record["baseline accuracy (%)"] = 100 * float(pd.to_numeric(base["accuracy"]).mean())
        if "well_formed_rate" in base:
            record["well-formed answers (%)"] = 100 * float(pd.to_numeric(base["well_formed_rate"]).mean())
        record["evaluate questions"] = questions(tables, model) or 0
        if "n_identify_correct" in base:
            record["identify questions answered correctly"] = questions(tables, model, "n_identify_correct") or 0
        records.append(record)
    return pd.DataFrame(records)
