"""Tables of the page: which ones it shows, and what a reader sees of each.

To show one more table of a run: a line in `figures.tables.OPTIONAL`, so that it is read, and one in `SECTIONS`. A
table that is missing or has no rows is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from culture_neurons.report.figures.tables import Tables, questions, rows
from culture_neurons.report.figures.titles import DASH, number
from culture_neurons.report.words import bracket, plain

#: Rows of a table that the page shows; longer ones are named with their file.
MOST_ROWS = 2000
#: Columns with few different values, which a reader may choose one of.
CHOICES = (
    "model", "planted", "selector", "top_fraction", "culture", "mask_culture", "eval_culture", "measure", "comparison",
    "verdict", "control", "task", "set", "other_set", "factor", "choice", "seed",
)  # fmt: skip
#: Decimals by the name of a column; the first pattern that is found counts. Other numbers: four significant digits.
DECIMALS = (
    (r"(^|_)p($|_)|_p_", 4),
    (r"logprob", 3),
    (r"accuracy$|_rate$|precision|recall|chance|share", 3),
    (r"drop|specificity|difference|change", 2),
)


@dataclass(frozen=True)
class Section:
    """A table of the run that the page shows.

    name       tables/{name}.csv
    title      of the table on the page
    note       a sentence or two on how it is read
    left_out   pattern of columns that the page leaves to the file
    decimals   of columns that `DECIMALS` does not suit
    whole      columns that are empty in the rows that the page shows, those of single cultures are left to the file
    """

    name: str
    title: str
    note: str = ""
    left_out: str = ""
    decimals: Mapping[str, int] = field(default_factory=dict)
    whole: tuple[str, ...] = ()


#: Tables of thousands of rows, which the page leaves to their files and figures.
TOO_LONG = ("overlaps", "sets_effects")

SECTIONS = (
    Section(
        "summary",
        "Self and cross drops",
        "Means over cultures: a culture's own mask on its own questions (self) and on the other cultures' (cross), and "
        "random masks on its own questions.",
        left_out=r"well_formed|flip",
    ),
    Section(
        "evidence",
        "Comparisons and verdicts",
        "The own mask held against random masks and against the other cultures' masks; a negative difference: the own "
        "mask does more harm.",
        left_out=r"^(unit|n_controls|n_cultures)$",
        decimals={"difference": 3},
    ),
    Section(
        "cultures",
        "Culture by culture",
        "The change of a culture's own questions under its own mask (self) and under the other cultures' (cross); "
        "specificity is their difference, with its two-sided p-value; negative: the own mask does more harm. It speaks "
        "of luck of the questions, under these masks.",
        left_out=r"^unit$",
        decimals={"self": 3, "cross": 3, "specificity": 3},
    ),
    Section(
        "permutations",
        "Shuffled labels",
        "The own culture's change against what masks of shuffled culture labels do (the whole chain repeated, from "
        "statistics to masks to drops); null: their mean, and in brackets where 95 % of them lie. A culture left empty "
        "is the mean over cultures. One-sided p-values: of a loss as large.",
        left_out=r"^unit$",
        decimals={"observed": 3, "null": 3},
    ),
    Section(
        "strengths",
        "Strength of the intervention",
        "Own and other cultures' change when g becomes (1 - strength) g; strength 1 is zero ablation, as in all other "
        "results.",
        left_out=r"^unit$",
        decimals={"self": 3, "cross": 3, "specificity": 3},
    ),
    Section(
        "differences",
        "Differences between selectors",
        "One selector's change minus another's, on the same questions; of the own culture's change (self), and of "
        "own - other cultures' (specificity). Negative: the first does more harm.",
        left_out=r"^unit$",
        decimals={"difference": 3},
    ),
    Section(
        "stability",
        "Would other questions have chosen the same neurons?",
        "Selected again: the share of bootstrap draws of the recorded questions in which a neuron of a mask is chosen "
        "again. Jaccard: what two masks share, of all that either has; of the mask and those of the draws (bootstrap), "
        "of masks from random halves of the questions, with the middle 95 % of splits, and of random masks (chance). "
        "Rank correlation: Spearman's, of the halves' scores of all neurons. Left empty where a culture's recorded "
        "questions are about one image (n images), which drawn again never changes, or its mask is empty.",
        decimals={"jaccard_chance": 3},
    ),
    Section(
        "related",
        "Does a mask hurt the cultures that it shares neurons with?",
        "Over pairs of cultures: Spearman's correlation of how many neurons their masks share (Jaccard index) and what "
        "the mask of the one does to the questions of the other; negative: shared neurons hurt. Overlapping: share of "
        "pairs with a neuron in common. p by exchanging the names of cultures (Mantel), two-sided.",
        left_out=r"^n_pairs$",
    ),
    Section(
        "sets",
        "On other benchmarks",
        "All questions of each data set count the same; the run's own take part with their evaluate half. Factor 0 "
        "suppresses the chosen neurons, 2 enhances them. Change: masked - baseline, mean over the masks; own and "
        "other: each question under its own culture's mask and under the others'; difference: change - that under "
        "random masks of the same size. p-values are two-sided and speak of new questions under these masks.",
        left_out=r"^(n_.*|shared|neurons)$|well_formed|_p$|logprob_(?!change|diff)|_logprob",
    ),
    Section(
        "sets_transfer",
        "Do masks harm the same other cultures on two data sets?",
        "Over pairs of cultures: Spearman's correlation of what the mask of the one does to the questions of the other "
        "(log-probability), without what is due to the mask or to the evaluated culture alone. p by exchanging the "
        "names of cultures (Mantel).",
    ),
    Section("baseline", "Baseline", "Accuracy without any mask, and how many answered questions neurons come from."),
    Section(
        "images",
        "With and without the image",
        "The same questions as they are (shown), with a grey image of the same size (blank) and as text alone (none); "
        "questions without an image are left out. A row without a culture is the mean over cultures. Negative "
        "changes: the image helped.",
        left_out=r"^(gained|lost|well_formed_rate|n_without_image)$",
        decimals={"change": 1},
    ),
    Section(
        "finetuning",
        "After training on another task",
        "A few modules of the model, those richest or poorest in chosen neurons or random ones, were trained "
        "on a task that has nothing to do with culture; then each data set was asked again. Means over all "
        "questions and over seeds; single cultures and seeds are in the file. Vs poorest: paired difference on the "
        "same questions, negative: more is lost; p by sign flips, two-sided. Task: accuracy on its held-out questions.",
        left_out=r"^(culture|seed)$|well_formed|_loss|^task_n$|logprob_change_vs_poorest_p$|^change_vs_poorest_p$",
        decimals={"change": 2, "change_vs_poorest": 2},
        whole=("culture", "seed"),
    ),
    Section(
        "finetuning_modules",
        "Modules that were trained",
        "Chosen: output units of the module that the mask names; richness is their share. Parameters: numbers that "
        "were trained, of all modules of the choice together.",
        decimals={"richness": 4},
    ),
    Section(
        "benchmark",
        "Selectors on planted neurons",
        "Of the planted models alone, whose culture neurons are known. Effective ones cost their culture at least 0.1 "
        "nats when they alone are zeroed. Means and standard deviations (sd) over draws of questions; label noise is "
        "the share of questions with a shuffled culture, chance the precision of a random choice.",
        left_out=r"^(repeats|n_cultures)$",
    ),
    Section(
        "planted", "Planted neurons found", "Of the planted control alone: which of its known neurons were chosen."
    ),
)


def sections(tables: Tables) -> list[dict[str, Any]]:
    """The tables of `SECTIONS` that the run has, ready for the page."""
    result = []
    for section in SECTIONS:
        frame = tables.table(section.name)
        if frame is not None and len(frame):
            frame = frame[frame[list(section.whole)].isna().all(axis=1)]
            shown = frame[[c for c in frame if not (section.left_out and re.search(section.left_out, c))]]
            result.append(table(shown, section.name, section.decimals)
                          | {"title": section.title, "note": section.note})  # fmt: skip
    return result


def decimals_of(column: str) -> int | None:
    """Decimals of a column, by `DECIMALS`; None: four significant digits."""
    return next((places for pattern, places in DECIMALS if re.search(pattern, column)), None)


def ends_of(columns: list[str]) -> dict[str, tuple[str, str]]:
    """Columns with the ends of their intervals, where the table has both: x_low and x_high, or ci_low and ci_high."""
    pairs = {c: (f"{c}_low", f"{c}_high") for c in columns}
    pairs |= {"difference": ("ci_low", "ci_high")} if "ci_low" in columns else {}
    return {c: pair for c, pair in pairs.items() if {c, *pair} <= set(columns)}


def table(frame: pd.DataFrame, name: str, decimals: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A table for the page: columns (text, is number, can be chosen by), rows of (text, is number, value to sort by),
    and how many rows were left out.

    Ends of intervals become a bracket behind their value. The value to sort by is "" where the text says it.
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
                cells.append((plain(DASH if pd.isna(value) else value), False, ""))
                continue
            text = number(value, places[column])
            if column in ends:
                text = f"{text} {bracket(*(record[e] for e in ends[column]), places[column])}".rstrip()
            cells.append((text, True, _key(value, text)))
        body.append({"planted": str(record.get("planted", "")) == "yes", "cells": cells})
    return {
        "name": name,
        "columns": [
            (plain(str(c).replace("_", " ")), numeric[c], c in CHOICES) for c in frame.columns if c not in hidden
        ],
        "rows": body,
        "left_out": max(0, len(frame) - MOST_ROWS),
        "total": len(frame),
    }


def _key(value: Any, text: str) -> str:
    """What a number is sorted by, where its text was rounded."""
    if pd.isna(value):
        return ""
    exact = f"{float(value):.6g}"
    return "" if text.replace("\N{MINUS SIGN}", "-").replace(",", "") == exact else exact


def counts_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Questions per culture: one column per category, then per split, then all."""
    by_category = counts.pivot_table(index="culture", columns="category", values="n", aggfunc="sum", fill_value=0)
    by_split = counts.pivot_table(index="culture", columns="split", values="n", aggfunc="sum", fill_value=0)
    splits = [s for s in ("identify", "evaluate") if s in by_split] + [
        s for s in by_split if s not in ("identify", "evaluate")
    ]
    result = pd.concat([by_category.add_prefix("category: "), by_split[splits].add_prefix("split: ")], axis=1)
    result["all"] = by_split.sum(axis=1)
    total = result.sum().to_frame("all cultures").T  # a row of its own: a culture may be called so
    return pd.concat([result, total]).rename_axis("culture").reset_index()


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
            "source": str(stanza.get("path") or ("trained in this run" if "train" in stanza or trained else DASH)),
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
