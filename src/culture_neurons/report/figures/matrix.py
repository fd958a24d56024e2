"""What every mask does to every culture: the self/cross matrix."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.effects import MEASURES, NO_EFFECT, count_questions
from culture_neurons.report.figures.heat_maps import colour_bar, heat_map, name_cells, outline_diagonal
from culture_neurons.report.figures.tables import Tables, matrix, percent, rows, selector_name
from culture_neurons.report.figures.titles import MINUS, named, plural, signed, title


def draw_matrix(ax: Axes, tables: Tables, model: str, selector: str, top_fraction: float, measure: str = "accuracy"):
    """Heat map on `ax`: mask culture down, evaluated culture across, diagonal outlined; returns the image.

    Values are masked - baseline, on a scale that is symmetric around 0; grey where there is no value.
    """
    column, _, decimals = MEASURES[measure]
    cultures, values = matrix(tables, model, selector, top_fraction, column)
    finite = np.abs(values[np.isfinite(values)])
    limit = max(float(finite.max()), 1e-9) if len(finite) else 1.0
    # Under a point, and under a twentieth of a nat, colours would only show noise.
    limit = max(limit, 1.0 if measure == "accuracy" else 0.05)
    colours = style.mpl.colormaps["PuOr"].with_extremes(bad=style.FAINT)
    image = heat_map(ax, values, colours, -limit, limit)
    n = len(cultures)
    outline_diagonal(ax, n)
    width, height = ax.get_window_extent().size / ax.figure.dpi
    if n and width / n >= 0.27 and height / n >= 0.15:
        decimals += measure == "logprob" and width / n >= 0.32  # there is room
        for i, j in zip(*np.nonzero(np.isfinite(values)), strict=True):
            strong = abs(values[i, j]) > 0.6 * limit
            ax.text(j + 0.5, i + 0.5, signed(values[i, j], decimals), ha="center", va="center", fontsize=style.SMALL,
                    color="white" if strong else style.INK)  # fmt: skip
    name_cells(ax, cultures)
    ax.set_xlabel("Evaluated culture")
    if not n:
        style.empty_panel(ax, "no result")
    return image


def caption_matrix(tables: Tables, model: str, selector: str, top_fraction: float) -> str:
    """What `plot_matrix` shows."""
    n = count_questions(tables, model, selector, top_fraction)
    return (
        f"{named(tables, model)}: change under the mask of one culture (rows, {selector_name(selector)}, top "
        f"{percent(top_fraction)}) on the questions of each culture (columns): accuracy in points and log-probability "
        f"of the right option in nats. {plural(n, 'evaluated question')}; the diagonal, outlined, is each culture "
        f"under its own mask."
    )


def no_matrix(tables: Tables, model: str, selector: str, top_fraction: float) -> str:
    """Why there is no matrix to draw, "" where there is one."""
    return "" if len(rows(tables.effects, model, selector, top_fraction)) else NO_EFFECT


@style.with_style
def plot_matrix(tables: Tables, model: str, selector: str, top_fraction: float, ax: Axes | None = None) -> Figure:
    """The culture x culture matrix: change of accuracy and, beside it, of the right option's log-probability.

    With `ax`, the accuracy alone on it.
    """
    if ax is not None:
        image = draw_matrix(ax, tables, model, selector, top_fraction)
        ax.set_ylabel("Mask of culture")
        ax.set_title(f"{title(tables, model)}: {selector_name(selector)}, top {percent(top_fraction)}", loc="left")
        colour_bar(ax, image, None, MEASURES["accuracy"][1])
        return ax.figure
    cultures, _ = matrix(tables, model, selector, top_fraction, "drop")
    n = max(1, len(cultures))
    left, right, gap, head, bar = 1.38, 0.08, 0.16, 0.5, 0.52
    foot = 0.34 + 0.058 * max((len(name) for name in fonts.labels(cultures)), default=0)
    stacked = n > 26  # one below the other: labels need 0.1 inches each
    width = style.DOUBLE - left - right if stacked else (style.DOUBLE - left - right - gap) / 2
    side = min(width, max(1.3, n * (0.145 if stacked else 0.21)))
    panel = side + bar + (foot if stacked else 0)
    fig = style.figure(style.DOUBLE, head + panel * (2 if stacked else 1) + (0 if stacked else foot))
    style.heading(fig, title(tables, model, 60), [
        f"Change under each culture's mask (masked {MINUS} baseline), {selector_name(selector)}, "
        f"top {percent(top_fraction)}; {plural(count_questions(tables, model, selector, top_fraction), 'question')}",
    ])  # fmt: skip
    total = fig.get_size_inches()[1]
    for i, (measure, (_, text, _)) in enumerate(MEASURES.items()):
        x = left if stacked else left + i * (width + gap)
        top = total - head - bar - (i * panel if stacked else 0)
        ax = style.axes(fig, x, top - side, width, side)
        image = draw_matrix(ax, tables, model, selector, top_fraction, measure)
        scale = style.axes(fig, x, top + 0.07, width, 0.08)
        colour_bar(ax, image, scale, text, "horizontal")
        scale.xaxis.set_ticks_position("top")
        scale.xaxis.set_label_position("top")
        if i == 0 or stacked:
            ax.set_ylabel("Mask of culture")
            ax.yaxis.set_label_coords(-(left - 0.12) / width, 0.5)
        else:
            ax.set_yticks([])
    return fig
