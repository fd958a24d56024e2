"""Heat maps of cultures against cultures, and what all of them share."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Colormap
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from culture_neurons.report.figures import style

#: Inches that a digit takes at the size of labels.
DIGIT = 0.065


def heat_map(ax: Axes, values: np.ndarray, colours: Colormap, low: float, high: float):
    """Draw `values` [row, column] as cells, the first row on top; returns what a colour bar needs.

    Cell (i, j) has its centre at (j + 0.5, i + 0.5). A missing value has the map's colour for bad ones.
    """
    if not values.size:
        return ax.imshow(np.zeros((1, 1)), cmap=colours, vmin=low, vmax=high, alpha=0)
    sns.heatmap(values, ax=ax, cmap=colours, vmin=low, vmax=high, cbar=False, xticklabels=False, yticklabels=False)
    return ax.collections[0]


def outline_diagonal(ax: Axes, n: int) -> None:
    """Outline the cells of the diagonal: each culture under its own mask."""
    ax.add_collection(PatchCollection(
        [Rectangle((i, i), 1, 1) for i in range(n)],
        facecolor="none", edgecolor=style.INK, linewidth=0.8, clip_on=False,
    ))  # fmt: skip


def name_cells(ax: Axes, cultures: list[str]) -> None:
    """Names of the cultures along both axes, as many as there is room for; no frame: the cells are one."""
    side = min(ax.get_window_extent().size) / ax.figure.dpi / max(1, len(cultures))
    every = max(1, int(np.ceil(0.1 / max(1e-9, side))))
    style.named_axis(ax.yaxis, cultures, every, offset=0.5, rotation=0)
    style.named_axis(ax.xaxis, cultures, every, offset=0.5, rotation=90)
    ax.tick_params(length=0, labelsize=style.SMALL, pad=2)
    for spine in ax.spines.values():
        spine.set_visible(False)


def colour_bar(ax: Axes, image, bar: Axes | None, text: str, orientation: str = "vertical") -> None:
    """The scale of a heat map, in its own axes `bar` or beside `ax`."""
    # Beside it: of what is the map's own, room for the numbers and the text too.
    room = min(0.4, 0.65 * ax.figure.dpi / ax.get_window_extent().width)
    where = {"cax": bar} if bar is not None else {"ax": ax, "fraction": room}
    scale = ax.figure.colorbar(image, orientation=orientation, **where)
    scale.set_label(text, fontsize=style.SMALL)
    scale.ax.tick_params(labelsize=style.SMALL, length=2)
    scale.outline.set_visible(False)
    if orientation == "vertical" or bar is None:
        style.ticks(scale.long_axis, 5)
    else:
        scale.set_ticks(places(*scale.ax.get_xlim(), bar.get_window_extent().width / bar.figure.dpi))


def places(low: float, high: float, length: float) -> list[float]:
    """Round numbers from `low` to `high` whose labels fit beside each other along a scale of `length` inches, and stay
    within its ends: as many as fit, at least 0 and one on each side that the scale has."""
    best: list[float] = []
    for bins in range(1, 6):
        values = [round(float(v), 12) for v in MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
        decimals = max(len(f"{value:g}".partition(".")[2]) for value in values)
        width = DIGIT * max(len(f"{value:.{decimals}f}") for value in values)
        margin = width / 2 / length * (high - low)
        inside = [value for value in values if low + margin <= value <= high - margin]
        if (values[1] - values[0]) / (high - low) * length >= width + DIGIT and len(inside) > len(best):
            best = inside
    if len(best) > 1 + (low < 0 < high):
        return best
    end = max(abs(low), abs(high))
    unit = 10.0 ** np.floor(np.log10(end))
    few = max(round(digit * unit, 12) for digit in (0.5, 1, 2, 4, 5, 6, 8) if digit * unit <= 0.8 * end)
    return [value for value in (-few, 0.0, few) if low <= value <= high]
