"""Where a selector's neurons lie: how many in each decoder layer."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import Tables, layer_counts, percent, selector_name
from culture_neurons.report.figures.titles import found, source, title

#: Panels in a row of small multiples, at most.
COLUMNS = 5


def layer_ticks(n_layers: int, room: float) -> list[int]:
    """Layers to label when `room` inches hold them all: every one, or every 2nd, 4th, 5th, 7th, 10th ..."""
    for step in (1, 2, 4, 5, 7, 10, 14, 20, 50):
        if n_layers / step * 0.17 <= room:
            break
    return list(range(0, n_layers, step))


def draw_bars(ax: Axes, counts: np.ndarray, colour: str) -> None:
    """Bars of counts [layer], as one filled outline: many times faster than a patch per bar, and the same picture."""
    n = len(counts)
    x = np.repeat(np.arange(n), 4) + np.tile([-0.4, -0.4, 0.4, 0.4], n)
    y = (counts[:, None] * np.array([0, 1, 1, 0])).ravel()
    ax.fill(x, y, color=colour, linewidth=0)
    ax.set_xlim(-0.6, n - 0.4)


@style.with_style
def plot_layers(tables: Tables, model: str, selector: str, top_fraction: float, ax: Axes | None = None) -> Figure:
    """Histogram over layers of the neurons of all cultures together: count (left) and share (right).

    A neuron that a selector gives to two cultures counts twice. The dashed line is the count of
    an even spread. Draws on `ax` if given; returns the figure.
    """
    _, counts = layer_counts(tables, model, selector, top_fraction)
    total = counts.sum(axis=0)  # (layer,)
    everything = int(total.sum())
    if ax is None:
        fig = style.figure(style.SINGLE, 2.3)
        style.heading(fig, title(tables, model), [
            f"Neurons per layer, {selector_name(selector)}, top {percent(top_fraction)}",
            f"{found(counts)}{source(tables, model, selector)}",
        ])  # fmt: skip
        ax = style.axes(fig, 0.52, 0.38, style.SINGLE - 0.52 - 0.5, 1.32)
    else:
        ax.set_title(f"{title(tables, model)}: {selector_name(selector)}, top {percent(top_fraction)}", loc="left")
    draw_bars(ax, total, style.BLUE)
    top = max(1.0, float(total.max()) * 1.08)
    ax.set_ylim(0, top)
    ax.set_xticks(layer_ticks(len(total), 2.2))
    ax.set_xlabel("Decoder layer")
    ax.set_ylabel("Neurons (count)")
    style.ticks(ax.yaxis, 5, integer=True)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    style.fixed_ticks(ax)
    if everything:
        ax.axhline(everything / len(total), color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)))
        share = ax.twinx()
        share.set_ylim(0, 100 * top / everything)
        style.ticks(share.yaxis, 5)
        share.spines["right"].set_visible(True)
        share.set_ylabel("Share of all (%)")
        style.fixed_ticks(share)
    else:
        nothing(ax)
    return ax.figure


def nothing(ax: Axes, text: str = "no neuron selected") -> None:
    """Say in an empty panel why it is empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=style.GREY, fontsize=style.SMALL)


@style.with_style
def plot_layers_by_culture(tables: Tables, model: str, selector: str, top_fraction: float) -> Figure:
    """The histogram over layers as small multiples, one per culture, on common axes."""
    cultures, counts = layer_counts(tables, model, selector, top_fraction)
    n_layers = counts.shape[1]
    n_rows = max(1, -(-len(cultures) // COLUMNS))
    n_columns = max(1, -(-len(cultures) // n_rows))
    left, right, gap_x, gap_y, bottom, head, cell = 0.6, 0.08, 0.12, 0.22, 0.42, 0.62, 0.62
    width = (style.DOUBLE - left - right - (n_columns - 1) * gap_x) / n_columns
    fig = style.figure(style.DOUBLE, head + bottom + n_rows * cell + (n_rows - 1) * gap_y)
    style.heading(fig, title(tables, model), [
        f"Neurons per layer and culture, {selector_name(selector)}, top {percent(top_fraction)}; "
        f"{found(counts)}{source(tables, model, selector)}",
    ])  # fmt: skip
    top = max(1.0, float(counts.max(initial=0)) * 1.08)
    ticks = layer_ticks(n_layers, width)
    for i, (name, row) in enumerate(zip(fonts.labels(cultures, 20), counts, strict=True)):
        at_row, at_column = divmod(i, n_columns)
        ax = style.axes(
            fig,
            left + at_column * (width + gap_x),
            bottom + (n_rows - 1 - at_row) * (cell + gap_y),
            width,
            cell,
        )
        draw_bars(ax, row, style.BLUE)
        ax.set_ylim(0, top)
        ax.set_title(name, fontsize=style.SMALL, loc="left", pad=2.5)
        # The last panel of each column carries the labels of its axis.
        lowest = i + n_columns >= len(cultures)
        ax.set_xticks(ticks, [str(t) for t in ticks] if lowest else [])
        if at_column == 0:
            style.ticks(ax.yaxis, 2, integer=True, min_n_ticks=2)
            ax.yaxis.set_major_formatter("{x:,.0f}")
        else:
            ax.set_yticks([])  # ticks are what takes the time
        style.fixed_ticks(ax)
        if not row.sum():
            nothing(ax, "none")
    _, height = fig.get_size_inches()
    fig.text((left + style.DOUBLE - right) / 2 / style.DOUBLE, 0.06 / height, "Decoder layer", ha="center")
    fig.text(0.06 / style.DOUBLE, (bottom + (height - head - bottom) / 2) / height, "Neurons (count)",
             rotation=90, va="center")  # fmt: skip
    return fig


@style.with_style
def plot_layers_heatmap(
    tables: Tables, model: str, selector: str, top_fraction: float, ax: Axes | None = None
) -> Figure:
    """Culture x layer: the share of each culture's neurons that lies in each layer (%)."""
    cultures, counts = layer_counts(tables, model, selector, top_fraction)
    n_layers = counts.shape[1]
    totals = counts.sum(axis=1, keepdims=True)
    share = np.where(totals > 0, 100 * counts / np.maximum(totals, 1), np.nan)  # (culture, layer)
    bar = None
    if ax is None:
        width = style.SINGLE if n_layers <= 12 else style.DOUBLE
        cell = 0.165 if len(cultures) <= 40 else 0.12
        head, bottom, left = 0.66, 0.4, 1.36
        fig = style.figure(width, head + bottom + max(1.0, cell * len(cultures)))
        lines = [
            f"Where each culture's neurons lie, {selector_name(selector)}, top {percent(top_fraction)}",
            f"{found(counts)}{source(tables, model, selector)}",
        ]
        if width == style.DOUBLE:
            lines = ["; ".join(lines)]
            head -= 0.13
            fig.set_size_inches(width, head + bottom + max(1.0, cell * len(cultures)))
        style.heading(fig, title(tables, model), lines)
        high = fig.get_size_inches()[1] - head - bottom
        ax = style.axes(fig, left, bottom, width - left - 0.72, high)
        bar = style.axes(fig, width - 0.62, bottom, 0.1, high)
    else:
        ax.set_title(f"{title(tables, model)}: {selector_name(selector)}, top {percent(top_fraction)}", loc="left")
    colours = style.mpl.colormaps["viridis"].with_extremes(bad=style.FAINT)
    high = float(np.nanmax(share)) if np.isfinite(share).any() else 1.0
    image = heat_map(ax, share, colours, 0, high)
    named_axis(ax.yaxis, cultures, offset=0.5)
    layers = layer_ticks(n_layers, 1.2 if n_layers <= 12 else 4.5)
    ax.set_xticks([layer + 0.5 for layer in layers], layers, rotation=0)
    ax.set_xlabel("Decoder layer")
    ax.tick_params(length=0, labelsize=style.SMALL)
    frame(ax)
    colour_bar(ax, image, bar, "Share of the culture's neurons (%)")
    return ax.figure


def heat_map(ax: Axes, values: np.ndarray, colours: Colormap, low: float, high: float):
    """Draw `values` [row, column] as cells, the first row on top; returns what a colour bar needs.

    Cell (i, j) has its centre at (j + 0.5, i + 0.5). A missing value has the map's colour for bad ones.
    """
    if not values.size:
        return ax.imshow(np.zeros((1, 1)), cmap=colours, vmin=low, vmax=high, alpha=0)
    sns.heatmap(values, ax=ax, cmap=colours, vmin=low, vmax=high, cbar=False, xticklabels=False, yticklabels=False)
    return ax.collections[0]


def named_axis(axis, cultures: list[str], every: int = 1, offset: float = 0.0, **options) -> None:
    """Label an axis with culture names, one per unit (or every so many, where there is no room)."""
    places = [i + offset for i in range(0, len(cultures), every)]
    axis.set_ticks(places, fonts.labels(cultures)[::every], **options)


def frame(ax: Axes) -> None:
    """A heat map needs no frame: its cells are one."""
    for spine in ax.spines.values():
        spine.set_visible(False)


def colour_bar(ax: Axes, image, bar: Axes | None, text: str, orientation: str = "vertical") -> None:
    """The scale of a heat map, in its own axes `bar` or beside `ax`."""
    where = {"cax": bar} if bar is not None else {"ax": ax}
    scale = ax.figure.colorbar(image, orientation=orientation, **where)
    scale.set_label(text, fontsize=style.SMALL)
    scale.ax.tick_params(labelsize=style.SMALL, length=2)
    scale.outline.set_visible(False)
    style.ticks(scale.long_axis, 5)
