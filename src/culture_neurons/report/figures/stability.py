"""How stable masks are: what masks of resampled questions share with each other, against what chance gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import named, plural, title
from culture_neurons.types import FEWEST_UNITS

#: Panels: column of `stability`, title.
PANELS = {
    "jaccard_halves": "Masks of two random halves",
    "jaccard_bootstrap": "The mask and those of bootstrap resamples",
}


def _rounded(value: float, _: int | None = None) -> str:
    """At a tick: the position on a logarithmic axis as the fraction that it stands for."""
    return percent(float(f"{value:.6g}"))


def means(tables: Tables, model: str, selector: str) -> pd.DataFrame:
    """Means over cultures by top fraction, smallest first; empty where the table has no such rows.

    Cultures of which nothing is known do not count; nan where that is all of them.
    """
    table = tables.more.get("stability")
    if table is None:
        return pd.DataFrame(columns=[*PANELS, "jaccard_chance"])
    part = rows(table, model, selector)
    values = [*PANELS, "jaccard_chance"]
    return part.assign(top_fraction=part["top_fraction"].astype(float)).groupby("top_fraction")[values].mean()


def resampled_selectors(tables: Tables, model: str, selectors: Sequence[str]) -> list[str]:
    """Those of `selectors` that were run again on resampled questions."""
    return [s for s in selectors if len(means(tables, model, s))]


def basis(tables: Tables, model: str) -> str:
    """What the means are of: "30 recorded questions of 2 cultures (1 culture of one image left out)"."""
    part = rows(tables.more["stability"], model).groupby("culture")[["n_samples", "n_images"]].first()
    kept = part[part["n_images"] >= FEWEST_UNITS]
    text = f"{plural(int(kept['n_samples'].sum()), 'recorded question')} of {plural(len(kept), 'culture')}"
    left = len(part) - len(kept)
    return f"{text} ({plural(left, 'culture')} of one image left out)" if left else text


def draw_stability(ax: Axes, tables: Tables, model: str, selectors: Sequence[str], column: str) -> None:
    """One measure against the top fraction (log scale) on `ax`: a line per selector, and the largest chance level."""
    shown = {s: means(tables, model, s) for s in resampled_selectors(tables, model, selectors)}
    ax.set_xscale("log")
    ax.set_ylim(-0.03, 1.03)
    if not any(table[column].notna().any() for table in shown.values()):
        style.empty_panel(ax, "no result")
        return
    chance = pd.concat([table["jaccard_chance"] for table in shown.values()], axis=1).max(axis=1).sort_index()
    ax.plot(chance.index, chance, color=style.GREY, linewidth=1.0, linestyle=(0, (3, 2)), zorder=2)
    for i, table in enumerate(shown.values()):
        colour, marker = _look(i)
        ax.plot(table.index, table[column], color=colour, marker=marker, markersize=4.2, linewidth=1.1,
                markeredgecolor="white", markeredgewidth=0.5, zorder=3)  # fmt: skip
    fractions = list(chance.index)
    ax.set_xlim(min(fractions) / 1.25, max(fractions) * 1.25)
    ax.xaxis.set_major_locator(FixedLocator(fractions))
    ax.xaxis.set_major_formatter(FuncFormatter(_rounded))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(FixedLocator(list(np.linspace(0, 1, 6))))
    ax.grid(axis="y")
    ax.set_xlabel("Size of the mask (share of all neurons)")
    style.fixed_ticks(ax)


def _look(i: int) -> tuple[str, str]:
    return style.SERIES[i % len(style.SERIES)], style.MARKERS[i % len(style.MARKERS)]


def caption_stability(tables: Tables, model: str) -> str:
    """What `plot_stability` shows."""
    return (
        f"{named(tables, model)}: what two masks share (Jaccard index), mean over cultures, by selector and size of "
        f"the mask: masks of two random halves of the images of {basis(tables, model)}, and the mask and those of "
        f"bootstrap resamples of these. Dashed: masks of these sizes anywhere in the model, for the selector where "
        f"that is most."
    )


def no_stability(tables: Tables, model: str, selectors: Sequence[str]) -> str:
    """Why there is nothing to draw, "" where there is something."""
    known = any(means(tables, model, s)[list(PANELS)].notna().any(axis=None) for s in selectors)
    return "" if known else "no culture's questions could be resampled"


@style.with_style
def plot_stability(tables: Tables, model: str, selectors: list[str], ax: Axes | None = None) -> Figure:
    """Jaccard index of halves and bootstrap resamples by selector and top fraction. With `ax`, that of halves on it."""
    if ax is not None:
        draw_stability(ax, tables, model, selectors, "jaccard_halves")
        ax.set_ylabel("Jaccard index")
        ax.set_title(title(tables, model), loc="left")
        return ax.figure
    drawn = resampled_selectors(tables, model, selectors)
    left, right, gap, head, height = 0.55, 0.12, 0.28, 0.74, 1.75
    columns = 4
    foot = 0.46 + 0.16 * -(-(len(drawn) + 1) // columns)
    width = (style.DOUBLE - left - right - gap) / 2
    fig = style.figure(style.DOUBLE, head + height + foot)
    style.heading(fig, title(tables, model, 60), [
        "Would other questions have chosen the same neurons? Mean over cultures of what two masks share",
        basis(tables, model) if drawn else plural(0, "recorded question"),
    ])  # fmt: skip
    for i, (column, text) in enumerate(PANELS.items()):
        panel = style.axes(fig, left + i * (width + gap), foot, width, height)
        draw_stability(panel, tables, model, selectors, column)
        panel.set_title(text, loc="left", pad=3)
        panel.tick_params(labelleft=i == 0)
        if i == 0:
            panel.set_ylabel("Jaccard index")
    handles = [
        Line2D([], [], color=_look(i)[0], marker=_look(i)[1], markersize=4.2, linewidth=1.1, markeredgecolor="white",
               markeredgewidth=0.5) for i in range(len(drawn))
    ]  # fmt: skip
    handles.append(Line2D([], [], color=style.GREY, linewidth=1.0, linestyle=(0, (3, 2))))
    names = [*fonts.labels([selector_name(s) for s in drawn], 24), "by chance, at most"]
    fig.legend(handles, names, loc="lower center", ncols=min(columns, len(names)), borderaxespad=0.1,
               bbox_to_anchor=(0.5, 0.01 / fig.get_size_inches()[1]), columnspacing=1.4, handlelength=1.8)  # fmt: skip
    return fig
