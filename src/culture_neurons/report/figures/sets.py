"""What masks do on several data sets: accuracy before and after, and which cultures a culture's mask harms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import listed, named, plural, title

#: Panels in a row, at most.
COLUMNS = 3
#: Colour and marker of each factor, from the smallest.
MARKS = ((style.VERMILLION, "o"), (style.BLUE, "^"), (style.PURPLE, "s"), (style.ORANGE, "v"), (style.SKY, "P"))


def evaluated_selectors(tables: Tables, model: str, selectors: Sequence[str]) -> list[str]:
    """Those of the selectors whose masks were judged on several data sets."""
    table = tables.more.get("sets")
    return [] if table is None else [s for s in selectors if len(rows(table, model, s))]


def effects_by_set(tables: Tables, model: str, selector: str) -> dict[str, pd.DataFrame]:
    """Rows of `sets_effects` of cultures that have a mask, by data set, under the smallest factor; of sets that have
    questions of at least two such cultures."""
    part = rows(tables.more["sets_effects"], model, selector)
    part = part[part["factor"] == min(factors(part), default=0.0)]
    part = part[part["eval_culture"].isin(set(part["mask_culture"])) & (part["n"] > 0)]
    every = {name: part[part["set"] == name] for name in names(tables, model)}
    return {name: mine for name, mine in every.items() if mine["eval_culture"].nunique() > 1}


def names(tables: Tables, model: str) -> list[str]:
    """The data sets, in the order of the table: the run's own is the first."""
    return list(dict.fromkeys(rows(tables.more["sets"], model)["set"]))


def factors(table: pd.DataFrame) -> list[float]:
    """What chosen neurons were multiplied by, ascending."""
    return sorted(set(table["factor"].astype(float)))


def factor_in_words(factor: float) -> str:
    """A factor in a word."""
    return {0.0: "suppressed", 2.0: "enhanced"}.get(factor, "scaled") + f" (\N{MULTIPLICATION SIGN}{factor:g})"


def before_and_after(row: pd.Series, column: str = "change") -> tuple[float, float, float]:
    """Accuracy under masks (column "change") or random masks ("random_change") and the ends of its interval, in %.

    The interval is that of the change: answers with and without masks are to the same questions.
    """
    base = 100 * float(row["baseline_accuracy"])
    return base + float(row[column]), base + float(row[f"{column}_low"]), base + float(row[f"{column}_high"])


def draw_sets(ax: Axes, tables: Tables, model: str, selector: str) -> tuple[list[float], bool]:
    """Accuracies of one selector on `ax`, a row per data set, a line per factor in it.

    Returns all values and ends of intervals that were drawn, and whether there are random masks among them.
    """
    sets, part = names(tables, model), rows(tables.more["sets"], model, selector)
    known = factors(rows(tables.more["sets"], model))
    values, random = [], False
    for y, name in enumerate(sets):
        if y:
            ax.axhline(y - 0.5, color="#EEEEEE", linewidth=0.6)
        of_set = part[part["set"] == name]
        for _, row in of_set.iterrows():
            at = known.index(float(row["factor"]))
            line = y + 0.6 * ((at + 0.5) / len(known) - 0.5)
            before = 100 * float(row["baseline_accuracy"])
            after, low, high = before_and_after(row)
            colour, marker = MARKS[at % len(MARKS)]
            ax.plot([before, after], [line, line], color=colour, linewidth=0.8, alpha=0.45, zorder=2)
            ax.plot([low, high], [line, line], color=colour, linewidth=1.6, zorder=3)
            ax.plot([after], [line], color=colour, marker=marker, markersize=4.4, markeredgecolor="white",
                    markeredgewidth=0.5, linestyle="none", zorder=5)  # fmt: skip
            values += [before, after, low, high]
            chosen, low, high = before_and_after(row, "random_change")
            if np.isfinite(chosen):
                ax.plot([low, high], [line, line], color=style.KINDS["random"][0], linewidth=0.9, zorder=3)
                ax.plot([chosen], [line], linestyle="none", zorder=4, **style.mark("random", 4))
                values, random = [*values, chosen, low, high], True
        if len(of_set):
            before, chance = (100 * float(of_set[c].iloc[0]) for c in ("baseline_accuracy", "chance"))
            ax.plot([before, before], [y - 0.4, y + 0.4], color=style.INK, linewidth=1.1, zorder=2)
            ax.plot([chance, chance], [y - 0.4, y + 0.4], color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2)))
            values.append(chance)
    ax.set_ylim(max(1, len(sets)) - 0.5, -0.5)
    ax.set_yticks(range(len(sets)), fonts.labels(sets, 20))
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)
    if not len(part):
        style.empty_panel(ax, "no result")
    return [v for v in values if np.isfinite(v)], random


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Of all panels alike: what is drawn with some room, within 0 to 100 and at least 20 points."""
    low, high = (min(values), max(values)) if values else (0.0, 100.0)
    low, high = low - 3, high + 3
    short = max(0.0, 20 - (high - low)) / 2
    return max(-2.0, low - short), min(102.0, high + short)


def caption_sets(tables: Tables, model: str) -> str:
    """What `plot_sets` shows."""
    part = rows(tables.more["sets"], model)
    counts = part.groupby("set", sort=False)["n"].max().items()
    of = listed([f"{name} ({plural(int(n), 'question')})" for name, n in counts])
    factor_words = listed([factor_in_words(factor) for factor in factors(part)])
    return (
        f"{named(tables, model)}: accuracy on {of} without masks (black line) and with neurons (top "
        f"{percent(float(part['top_fraction'].iloc[0]))}) {factor_words}, mean over the masks, with 95 % intervals of "
        f"the change; diamonds: random masks of the same size; dashed: chance."
    )


def no_sets(tables: Tables, model: str, selectors: Sequence[str]) -> str:
    """Why there are no accuracies to draw, "" where there are some."""
    return "" if evaluated_selectors(tables, model, selectors) else "no mask was judged on further data sets"


@style.with_style
def plot_sets(tables: Tables, model: str, selectors: list[str], ax: Axes | None = None) -> Figure:
    """Accuracy on each data set without masks, under those of each selector, and under random masks.

    With `ax`, the first selector alone on it.
    """
    chosen = evaluated_selectors(tables, model, selectors)
    if ax is not None:
        values, _ = draw_sets(ax, tables, model, chosen[0] if chosen else "")
        ax.set_xlim(_limits(values))
        ax.set_title(f"{title(tables, model)}: {selector_name(chosen[0]) if chosen else ''}", loc="left")
        ax.set_xlabel("Accuracy (%)")
        return ax.figure
    part, sets = rows(tables.more["sets"], model), names(tables, model)
    known = factors(part)
    n_columns = min(COLUMNS, max(1, len(chosen)))
    n_rows = -(-len(chosen) // n_columns) or 1
    left, right, gap, head, foot, between = 1.3, 0.1, 0.14, 0.68, 0.6, 0.24
    cell = max(1, len(sets)) * max(0.2, 0.1 * len(known))
    width = min(2.75, (style.DOUBLE - left - right - (n_columns - 1) * gap) / n_columns)
    fig = style.figure(style.DOUBLE, head + n_rows * cell + (n_rows - 1) * between + foot)
    height = fig.get_size_inches()[1]
    top = percent(float(part["top_fraction"].iloc[0])) if len(part) else ""
    question_count = plural(int(part.groupby("set")["n"].max().sum()), "question")
    style.heading(fig, title(tables, model, 60), [
        f"Accuracy on several data sets, without masks and under them (top {top}), 95\N{NO-BREAK SPACE}% intervals of "
        f"the change; {question_count}",
    ])  # fmt: skip
    panels, values, random = [], [], False
    for i, selector in enumerate(chosen):
        row, column = divmod(i, n_columns)
        bottom = height - head - (row + 1) * cell - row * between
        ax = style.axes(fig, left + column * (width + gap), bottom, width, cell)
        drawn, with_random = draw_sets(ax, tables, model, selector)
        values, random = values + drawn, random or with_random
        ax.set_title(fonts.label(selector_name(selector), 26), pad=3)
        # The last panel of each column carries the labels of its axis.
        ax.tick_params(labelleft=column == 0, labelbottom=i + n_columns >= len(chosen))
        panels.append(ax)
    for ax in panels:
        ax.set_xlim(_limits(values))
        style.ticks(ax.xaxis, 5)
    middle = left + (n_columns * width + (n_columns - 1) * gap) / 2
    fig.text(middle / style.DOUBLE, 0.25 / height, "Accuracy (%)", ha="center")
    handles = [Line2D([], [], color=style.INK, linewidth=1.1)]
    handles += [Line2D([], [], color=MARKS[i % len(MARKS)][0], marker=MARKS[i % len(MARKS)][1], markersize=4.4,
                       linewidth=1.4) for i in range(len(known))]  # fmt: skip
    handles += [Line2D([], [], linestyle="none", **style.mark("random", 4))] * random
    handles.append(Line2D([], [], color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2))))
    texts = ["without masks", *(factor_in_words(factor) for factor in known), *["random mask"] * random, "chance"]
    fig.legend(handles, texts, loc="lower center", ncols=len(texts), bbox_to_anchor=(0.5, 0.01 / height),
               handlelength=1.4, columnspacing=1.1, handletextpad=0.4, borderaxespad=0.1)  # fmt: skip
    return fig
