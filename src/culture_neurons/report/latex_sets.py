"""A table for a paper: accuracy on several data sets, without masks and under them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from culture_neurons.analysis.significance import AT_CHANCE, LEVEL
from culture_neurons.report.figures.sets import before_and_after, factors
from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import named
from culture_neurons.report.latex import escape, file, marked, number, table


def accuracies(tables: Tables, selectors: Sequence[str]) -> str:
    """A column per data set, a row per model, selector and factor, the first row of a model without masks.

    Bold where it is lower than under random masks (where there are none, than without masks) with an adjusted p-value
    below 0.05, underlined where it is higher. Needs the table `sets`.
    """
    all_rows = tables.more["sets"]
    names = list(dict.fromkeys(all_rows["set"]))
    body, ends = [], []
    for model in tables.models:
        part = rows(all_rows, model)
        if not len(part):
            continue
        before = part.groupby("set")["baseline_accuracy"].first()
        plain = [number(100 * before[name], 1) if name in before.index else "--" for name in names]
        body.append([escape(named(tables, model)), "", "", *plain])
        for selector in (s for s in selectors if len(rows(part, model, s))):
            shown = escape(selector_name(selector))
            for factor in factors(part):
                by_set = part[(part["selector"] == selector) & (part["factor"] == factor)].set_index("set")
                cells = [_cell(by_set.loc[name]) if name in by_set.index else "--" for name in names]
                body.append(["", shown, rf"$\times {factor:g}$", *cells])
                shown = ""
        ends.append(len(body) - 1)
    top = percent(float(all_rows["top_fraction"].iloc[0])) if len(all_rows) else ""
    top = top.replace("\N{NO-BREAK SPACE}%", r"\,\%")
    caption = (
        rf"Accuracy (\%) on several data sets without masks (first row of a model) and with the chosen neurons (top "
        rf"{top}) multiplied by a factor, mean over the masks, and in brackets its change in points. Bold: lower "
        rf"than under random masks of the same size (where there are none, than without masks), underlined: higher "
        rf"(two-sided, adjusted $p < {LEVEL}$); never where a model answers at chance without masks."
    )
    head = ["Model", "Selector", "Factor", *map(escape, names)]
    return file([table(head, body, "lll" + "r" * len(names), caption, "tab:sets", ends)])


def _cell(row: pd.Series) -> str:
    against = "difference" if np.isfinite(float(row["difference"])) else "change"
    text = f"{number(before_and_after(row)[0], 1)} ({number(row['change'], 1)})"
    p = np.nan if row.get("level") == AT_CHANCE else row[f"{against}_p_adjusted"]
    return marked(text, row[against], p)
