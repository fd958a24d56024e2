"""The page of a comparison of two runs: what was found in words, four figures, and the tables."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from culture_neurons.analysis import significance
from culture_neurons.analysis.compare_runs import TABLES
from culture_neurons.analysis.significance import HIGHER, LOWER
from culture_neurons.report.figures import compared as drawing
from culture_neurons.report.figures.compared import Compared
from culture_neurons.report.figures.tables import selector_name
from culture_neurons.report.figures.titles import PLANTED, plural, signed
from culture_neurons.report.page import grids, pictures
from culture_neurons.report.page.document import FOLDER, environment
from culture_neurons.report.registry import FigureFile
from culture_neurons.report.words import bracket, p_value_text, plain


def render(compared: Compared, figures: Path, made_by: Mapping[str, Any]) -> str:
    """The page. `figures` is the folder of the figures' PNG files; `made_by` says what made the tables.

    Every text from data is escaped. The same input gives the same page.
    """
    captions = drawing.captions(compared) | {
        name: f"{words[0].upper()}{words[1:]}." for name, words in drawing.empty(compared).items() if words
    }
    style = Markup((FOLDER / "document.css.j2").read_text(encoding="utf-8"))
    return environment(compared.noun).get_template("comparison.html.j2").render(
        style=style,
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        first=plain(compared.first),
        second=plain(compared.second),
        top=plain(f"{100 * float(compared.top):g} %"),
        findings=[plain(compared.words(text)) for text in findings(compared)],
        missing=grids.table(missing(compared), "compared", words=compared.words) if len(missing(compared)) else None,
        figures=[pictures.image(figures, FigureFile(name), captions[name]) for name in drawing.FIGURES],
        tables=list(sections(compared)),
        provenance=json.dumps(dict(made_by), indent=2, sort_keys=True, ensure_ascii=False),
    )  # fmt: skip


def missing(compared: Compared) -> pd.DataFrame:
    """What could not be compared, and why."""
    table = compared.tables["compared"]
    rows = table[table["compared"] == "no"]
    shown = [column for column in ("what", "model", "selector", "top_fraction", "reason") if rows[column].notna().any()]
    shown_rows = rows[shown].fillna("")
    # A reason with a path in it is what a file's reader said.
    reasons = [text if "/" in text else compared.words(text) for text in shown_rows.get("reason", [])]
    return shown_rows.assign(reason=reasons) if reasons else shown_rows


def sections(compared: Compared) -> Iterator[dict[str, Any]]:
    """The tables that have rows, as the page shows them."""
    for section in TABLES.values():
        frame = compared.tables.get(section.name)
        if frame is None or not len(frame):
            continue
        frame = frame[frame[list(section.averaged)].isna().all(axis=1)] if section.averaged else frame
        if section.name == "shared_neurons":
            frame = frame[frame["matched"].fillna("").ne("")]
        empty = set(frame.columns[frame.isna().all()])
        columns = [
            c for c in frame if c not in empty and not (section.left_out and re.search(section.left_out, str(c)))
        ]
        grid = grids.table(frame[columns], section.name, section.decimals, compared.words)
        yield grid | {"title": compared.words(section.title), "note": compared.words(section.note)}


def findings(compared: Compared) -> list[str]:
    """What was found, in sentences: of answers, of neurons, of effects, and of moved masks."""
    return [
        *_answers(compared),
        *_neurons(compared),
        *_effects(compared),
        *_moved(compared),
    ]


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each pair of models in words, and its rows."""
    for (model, other), part in rows.groupby(["model", "other_model"], sort=False):
        name = str(model) if model == other else f"{model} and {other}"
        yield f"{name} ({PLANTED})" if part["planted"].eq("yes").any() else name, part


def _answers(compared: Compared) -> Iterator[str]:
    table = compared.tables["paired_effects"]
    rows = table[table["culture"].isna() & (table["what"] == "baseline") & (table["measure"] == "accuracy")]
    for who, part in _pairs(rows):
        row = part.iloc[0]
        way = significance.direction(row["difference"], row["p_adjusted"])
        words = {LOWER: f"fewer right than in {compared.second}", HIGHER: f"more right than in {compared.second}"}
        yield (
            f"{who}, without masks: {row['value']:.1f} % of {plural(int(row['n']), 'shared question')} right in "
            f"{compared.first}, {row['other_value']:.1f} % in {compared.second}: "
            f"{words.get(way, 'no difference shown')} ({_difference(row, 1, 'points')})."
        )


def _neurons(compared: Compared) -> Iterator[str]:
    rows = drawing.shared(compared)
    if not len(rows):
        return
    for who, pair in _pairs(rows[rows["control"] != "yes"]):
        for selector, part in pair.groupby("selector", sort=False):
            above = part["overlap"] - part["expected"]
            ways = map(significance.direction, above, part["p_adjusted"])
            more = sum(way == HIGHER for way in ways)
            yield (
                f"{who}, {selector_name(str(selector))}: the masks of one culture share {_percent(part['overlap'])} % "
                f"of their neurons (Jaccard index, mean over {plural(len(part), 'culture')}), by chance "
                f"{_percent(part['expected'])} %; more than by chance in {more} of {len(part)} (adjusted p < 0.05)."
            )


def _percent(values: pd.Series) -> str:
    return f"{100 * float(np.nanmean(values.astype(float))):.1f}"


def _effects(compared: Compared) -> Iterator[str]:
    yield from _changes(drawing.paired(compared), (f"in {compared.first}", f"in {compared.second}"))


def _moved(compared: Compared) -> Iterator[str]:
    rows = drawing.paired(compared, "transferred_masks")
    for (masks, asked), part in rows.groupby(["masks_of", "questions_of"], sort=False) if len(rows) else ():
        yield from _changes(part, (f"under masks of {masks}", f"under those of {asked}, whose questions they are"))


def _changes(rows: pd.DataFrame, where: tuple[str, str]) -> Iterator[str]:
    """A sentence for each selector that is no random control: both changes under own masks, and their difference."""
    if not len(rows):
        return
    own = rows[(rows["what"] == "self") & (rows["control"] != "yes")]
    for who, pair in _pairs(own):
        for row in pair.to_dict("records"):
            way = significance.direction(row["difference"], row["p_adjusted"])
            words = {LOWER: f"more is lost {where[0]}", HIGHER: f"more is lost {where[1]}"}
            first, second = (
                f"{signed(row[c], 3)} {bracket(row[f'{c}_low'], row[f'{c}_high'], 3)}".strip()
                for c in ("value", "other_value")
            )
            yield (
                f"{who}, {selector_name(str(row['selector']))}: a culture's own mask changes the log-probability of "
                f"the right option on {plural(int(row['n']), 'question')} by {first} nats {where[0]} and by {second} "
                f"{where[1]}: {words.get(way, 'no difference shown')} ({_difference(row, 3, 'nats')})."
            )


def _difference(row: Mapping[str, Any], decimals: int, unit: str) -> str:
    ends = bracket(row["ci_low"], row["ci_high"], decimals)
    text = f"difference {signed(float(row['difference']), decimals)} {unit} {ends}".strip()
    return f"{text}, {p_value_text(float(row['p_adjusted']))}"
