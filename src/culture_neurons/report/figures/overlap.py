"""Which cultures share neurons: overlaps of their masks, in the order of a hierarchical clustering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from culture_neurons.analysis.overlaps import overlap_matrix
from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.heat_maps import colour_bar, heat_map, name_cells
from culture_neurons.report.figures.tables import Tables, percent, percent_tick, rows, selector_name
from culture_neurons.report.figures.titles import named, title


def shared(tables: Tables, model: str, selector: str, top_fraction: float) -> tuple[list[str], np.ndarray, float]:
    """Cultures by name, overlaps float64 [culture, culture], and the mean overlap by chance.

    nan on the diagonal, and for cultures whose masks are both empty, which have no overlap.
    """
    table = tables.more["overlaps"]
    part = rows(table[table["kind"] == "cultures"], model, selector, top_fraction)
    cultures, values = overlap_matrix(part)
    np.fill_diagonal(values, np.nan)
    return cultures, values, float(part["expected"].mean()) if len(part) else float("nan")


def most_structured(tables: Tables, model: str, selectors: Sequence[str], top_fraction: float) -> str | None:
    """The selector whose overlaps differ most from pair to pair, of equals the one with the larger ones, then the
    first; None without selectors or a table.

    The masks of a selector such as CAS share no neuron at all, and there would be nothing to see.
    """
    table = tables.more.get("overlaps")
    if table is None:
        return None
    table = table[table["kind"] == "cultures"]
    spread = {}
    for selector in selectors:
        known = rows(table, model, selector, top_fraction)["overlap"].dropna()
        spread[selector] = (float(known.std(ddof=0)), float(known.mean())) if len(known) else (-1.0, -1.0)
    return max(spread, key=spread.__getitem__, default=None)


def clustered(values: np.ndarray) -> np.ndarray:
    """The tree of a clustering by average linkage on 1 - overlap, as SciPy has it; empty for fewer than two cultures.

    Two empty masks, which have no overlap, count as apart. Cultures come in the order of their names, so that the same
    table always gives the same tree.
    """
    if len(values) < 2:
        return np.empty((0, 4))
    distance = 1 - np.nan_to_num(values)
    np.fill_diagonal(distance, 0)
    return linkage(squareform(distance, checks=False), method="average")


def draw_tree(ax: Axes, tree: np.ndarray) -> list[int]:
    """Draw the tree on `ax`, leaves to the right and cells apart, its root on the left; returns the leaves' order."""
    if not len(tree):
        return []
    coordinates = dendrogram(tree, no_plot=True)
    # SciPy puts leaf k at 10 k + 5; a heat map has the centre of row k at k + 0.5.
    lines = [
        np.column_stack([x, np.array(y) / 10])
        for x, y in zip(coordinates["dcoord"], coordinates["icoord"], strict=True)
    ]
    ax.add_collection(LineCollection(lines, colors=style.GREY, linewidths=0.8, capstyle="projecting"))
    ax.set_ylim(len(coordinates["leaves"]), 0)
    return coordinates["leaves"]


def draw_overlap(
    ax: Axes, tables: Tables, model: str, selector: str, top_fraction: float, order: list[int] | None = None
):
    """Heat map of overlaps on `ax`, in the clustering's order; returns the image. Numbers where there is room."""
    cultures, values, _ = shared(tables, model, selector, top_fraction)
    n = len(cultures)
    if order is None:
        order = dendrogram(clustered(values), no_plot=True)["leaves"] if n > 1 else list(range(n))
    values, cultures = values[np.ix_(order, order)], [cultures[i] for i in order]
    known = values[np.isfinite(values)]
    # Colours of a scale that ends below a twentieth would show noise.
    top = max(0.05, float(known.max()) if len(known) else 0.0)
    image = heat_map(ax, values, style.mpl.colormaps["Blues"].with_extremes(bad="#F2F2F2"), 0.0, top)
    width, height = ax.get_window_extent().size / ax.figure.dpi
    if n and width / n >= 0.27 and height / n >= 0.15:
        for i, j in zip(*np.nonzero(np.isfinite(values)), strict=True):
            text = f"{100 * values[i, j]:.0f}"
            ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=style.SMALL,
                    color="white" if values[i, j] > 0.6 * top else style.INK)  # fmt: skip
    name_cells(ax, cultures)
    if not n:
        style.empty_panel(ax, "fewer than two masks")
    return image


def caption_overlap(tables: Tables, model: str, selectors: Sequence[str], top_fraction: float) -> str:
    """What `plot_overlap` shows."""
    selector = most_structured(tables, model, selectors, top_fraction)
    return (
        f"{named(tables, model)}: neurons that the masks of two cultures share (Jaccard index in %, "
        f"{selector_name(selector)}, top {percent(top_fraction)}), in the order of a clustering by average linkage on "
        f"1 - Jaccard index; of all selectors shown this is the one whose overlaps differ most."
    )


def no_overlap(tables: Tables, model: str, selectors: Sequence[str], top_fraction: float) -> str:
    """Why there are no overlaps to draw, "" where there are some."""
    selector = most_structured(tables, model, selectors, top_fraction)
    some = selector is not None and (shared(tables, model, selector, top_fraction)[1] > 0).any()
    return "" if some else f"no two cultures' masks share a neuron, by any selector shown (top {percent(top_fraction)})"


@style.with_style
def plot_overlap(
    tables: Tables, model: str, selectors: Sequence[str], top_fraction: float, ax: Axes | None = None
) -> Figure:
    """Overlaps of the cultures' masks (Jaccard index) with the tree of their clustering, of the selector whose overlaps
    differ most. With `ax`, the cells alone."""
    selector = most_structured(tables, model, selectors, top_fraction)
    name = selector_name(selector)
    if ax is not None:
        draw_overlap(ax, tables, model, selector, top_fraction)
        ax.set_title(f"{title(tables, model)}: {name}, top {percent(top_fraction)}", loc="left")
        return ax.figure
    cultures, values, chance = shared(tables, model, selector, top_fraction)
    n, longest = max(1, len(cultures)), max((len(text) for text in fonts.labels(cultures)), default=0)
    names, head, bar, room = 0.1 + 0.058 * longest, 0.5, 0.72, 0.7
    side = min(style.DOUBLE - room - names - bar, max(1.3, n * 0.29))
    foot = 0.06 + names
    # What the cells leave of the width is the tree's.
    trunk = style.DOUBLE - side - names - bar
    fig = style.figure(style.DOUBLE, head + side + foot)
    by_chance = f"; {100 * chance:.2g}\N{NO-BREAK SPACE}% by chance" if np.isfinite(chance) else ""
    style.heading(fig, title(tables, model, 60), [
        f"Neurons shared by two masks, {name}, top {percent(top_fraction)}{by_chance}",
    ])  # fmt: skip
    branches = style.axes(fig, 0.1, foot, trunk - 0.14, side)
    branches.axis("off")
    order = draw_tree(branches, clustered(values))
    known = 1 - values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    branches.set_xlim(high + 0.05 * (high - low) + 0.01, low - 0.05 * (high - low) - 0.01)
    panel = style.axes(fig, trunk, foot, side, side)
    image = draw_overlap(panel, tables, model, selector, top_fraction, order if cultures else [])
    panel.yaxis.tick_right()
    scale = style.axes(fig, trunk + side + names + 0.12, foot, 0.09, side)
    colour_bar(panel, image, scale, "Jaccard index (%)")
    scale.yaxis.set_major_formatter(percent_tick)
    return fig
