"""Which cultures a culture's mask harms, on every data set that has the masks' cultures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.heat_maps import colour_bar, heat_map, name_cells, outline_diagonal
from culture_neurons.report.figures.overlap import clustered
from culture_neurons.report.figures.sets import effects_by_set, factor_in_words, factors
from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import listed, named, plural, title

#: A cell must be so wide and high, in inches, for its rank to be written in it.
ROOM = 0.135
#: The smallest end of a scale of colours, nats: below it they would show noise.
SMALLEST = 0.05


def matrices(parts: Mapping[str, pd.DataFrame], column: str) -> tuple[list[str], dict[str, np.ndarray]]:
    """Cultures by name, and of each set float64 [mask culture, evaluated culture]; nan where nothing was asked."""
    cultures = sorted({name for part in parts.values() for name in part["mask_culture"]})
    wide = {
        name: part.pivot(index="mask_culture", columns="eval_culture", values=column)
        for name, part in parts.items()
    }  # fmt: skip
    return cultures, {name: of.reindex(index=cultures, columns=cultures).to_numpy(float) for name, of in wide.items()}


def order(values: Sequence[np.ndarray]) -> list[int]:
    """Cultures that harm each other more than others side by side, the same for all sets: leaves of a clustering by
    average linkage.

    How much two cultures harm each other is, per set, the mean of the two changes less the means of row and column, in
    standard deviations; and the sum of that over sets.
    """
    n = len(values[0]) if len(values) else 0
    if n < 3:
        return list(range(n))
    total = np.zeros((n, n))
    for matrix in values:
        off = np.where(np.eye(n, dtype=bool), np.nan, matrix)
        known = np.isfinite(off)
        if not known.any():
            continue
        filled = np.where(known, off, 0.0)
        means = [filled.sum(axis=a, keepdims=True) / np.maximum(1, known.sum(axis=a, keepdims=True)) for a in (0, 1)]
        rest = np.where(known, off - means[0] - means[1] + off[known].mean(), 0.0)
        rest = (rest + rest.T) / 2
        total -= rest / (rest.std() or 1.0)
    low, high = total.min(), total.max()
    return leaves_list(clustered((total - low) / (high - low or 1.0))).tolist()


def draw_related(ax: Axes, values: np.ndarray, ranks: np.ndarray, cultures: list[str]):
    """Heat map of the changes [mask culture, evaluated culture] on `ax` with the rank of each loss in its row; returns
    the image. Where there is no room for ranks, a dot marks the three largest losses. A gain is no loss, however small
    beside those of other cultures, and has no mark."""
    n = len(cultures)
    finite = np.abs(values[np.isfinite(values)])
    limit = max(float(finite.max(initial=0.0)), SMALLEST)
    image = heat_map(ax, values, style.mpl.colormaps["PuOr"].with_extremes(bad=style.FAINT), -limit, limit)
    outline_diagonal(ax, n)
    side = min(ax.get_window_extent().size) / ax.figure.dpi / max(1, n)
    for i, j in zip(*np.nonzero((values < 0) & np.isfinite(ranks)), strict=True):
        colour = "white" if abs(values[i, j]) > 0.6 * limit else style.INK
        if side >= ROOM:
            ax.text(
                j + 0.5, i + 0.5, f"{ranks[i, j]:.0f}", ha="center", va="center", fontsize=style.SMALL, color=colour
            )
        elif ranks[i, j] <= 3:
            ax.plot([j + 0.5], [i + 0.5], marker="o", markersize=min(2.5, 30 * side), color=colour, linestyle="none")
    name_cells(ax, cultures)
    return image


def caption_related(tables: Tables, model: str, selector: str) -> str:
    """What `plot_related` shows."""
    part = rows(tables.more["sets_effects"], model, selector)
    return (
        f"{named(tables, model)}: change of the right option's log-probability (nats) under the mask of one culture "
        f"(rows, {selector_name(selector)}, top {percent(float(part['top_fraction'].iloc[0]))}, neurons "
        f"{factor_in_words(min(factors(part)))}) on the questions of each culture (columns), on "
        f"{listed(list(effects_by_set(tables, model, selector)))}. Numbers, or dots for the first three: rank of a "
        f"loss among all cultures of the data set, 1 for the largest; a gain has none. All data sets have the order of "
        f"one clustering: cultures whose masks harm each other more, or help each other less, than they do others "
        f"stand side by side."
    )


def no_related(tables: Tables, model: str, selector: str) -> str:
    """Why there are no changes to draw, "" where there are some."""
    part = rows(tables.more["sets"], model, selector)
    if len(part) and set(part["shared"]) != {"no"}:
        return "one mask for all cultures"
    return "" if effects_by_set(tables, model, selector) else "no culture of the masks was asked"


@style.with_style
def plot_related(tables: Tables, model: str, selector: str) -> Figure:
    """A heat map per data set: mask of a culture down, evaluated culture across, in one order of the cultures.

    Colours are the change of the right option's log-probability, numbers the rank of a loss among all cultures of that
    set under that mask, 1 for the largest.
    """
    parts = effects_by_set(tables, model, selector)
    cultures, changes = matrices(parts, "logprob_drop")
    ranks = matrices(parts, "rank")[1]
    leaves = order(list(changes.values()))
    n, labels = max(1, len(cultures)), fonts.labels(cultures)
    longest = 0.12 + 0.058 * max(map(len, labels), default=0)
    left, right, gap, head, bar = max(0.75, longest + 0.3), 0.1, 0.18, 0.38, 0.64
    n_columns = min(max(1, len(parts)), 3 if n * (ROOM + 0.005) <= 1.7 else 2 if n <= 40 else 1)
    n_rows = -(-len(parts) // n_columns) or 1
    width = (style.DOUBLE - left - right - (n_columns - 1) * gap) / n_columns
    side = min(width, max(1.2, n * 0.24))
    fig = style.figure(style.DOUBLE, head + n_rows * (bar + side) + longest + 0.28)
    height = fig.get_size_inches()[1]
    part = rows(tables.more["sets_effects"], model, selector)
    top = percent(float(part["top_fraction"].iloc[0])) if len(part) else ""
    style.heading(fig, title(tables, model, 60), [
        f"Change of the right option's log-probability (nats) under each culture's mask, {selector_name(selector)}, "
        f"top {top}, neurons {factor_in_words(min(factors(part), default=0.0))}",
        "Numbers: rank of a loss in its row, 1 loses most" if side / n >= ROOM else "Dots: the largest three losses",
    ])  # fmt: skip
    for i, name in enumerate(parts):
        row, column = divmod(i, n_columns)
        x, y = left + column * (min(width, max(side, 1.5)) + gap), height - head - (row + 1) * (bar + side)
        ax = style.axes(fig, x, y, side, side)
        reordered = np.ix_(leaves, leaves)
        image = draw_related(ax, changes[name][reordered], ranks[name][reordered], [cultures[k] for k in leaves])
        scale = style.axes(fig, x, y + side + 0.07, side, 0.07)
        colour_bar(ax, image, scale, "", "horizontal")
        scale.xaxis.set_ticks_position("top")
        n_cultures = part[part["set"] == name].query("n > 0")["eval_culture"].nunique()
        room = max(12, int(side / 0.075) - 16)
        scale.set_title(f"{fonts.label(name, room)} ({plural(n_cultures, 'culture')})", loc="left", pad=2)
        ax.tick_params(labelleft=column == 0, labelbottom=i + n_columns >= len(parts))
        if column == 0:
            ax.set_ylabel("Mask of culture")
            ax.yaxis.set_label_coords(-(left - 0.18) / side, 0.5)
        if i + n_columns >= len(parts):
            ax.set_xlabel("Evaluated culture")
    if not parts:
        style.empty_panel(style.axes(fig, left, longest + 0.28, side, side), "no culture of the masks was asked")
    return fig
