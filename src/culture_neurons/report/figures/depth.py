"""Where neurons lie, with models on top of each other: layers by their relative depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.effects import compared
from culture_neurons.report.figures.layers import NO_NEURON
from culture_neurons.report.figures.tables import Tables, layer_counts, percent, selector_name
from culture_neurons.report.figures.titles import named, title

#: Panels in a row, at most.
COLUMNS = 4


def relative_depth(tables: Tables, model: str, selector: str, top_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth of each layer, 0 the first and 1 the last, and how many times as many neurons lie there as if they were
    spread evenly, all cultures together: float64 [layer] each; no layers where nothing was chosen."""
    counts = layer_counts(tables, model, selector, top_fraction)[1].sum(axis=0)
    n_layers = len(counts)
    if not counts.sum():
        return np.empty(0), np.empty(0)
    return np.arange(n_layers) / max(1, n_layers - 1), counts * n_layers / counts.sum()


def draw_depth(ax: Axes, tables: Tables, models: Sequence[str], selector: str, top_fraction: float) -> None:
    """A line per model on `ax`; dashed: an even spread."""
    ax.axhline(1, color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)))
    drawn = False
    for i, model in enumerate(models):
        depth, density = relative_depth(tables, model, selector, top_fraction)
        ax.plot(depth, density, color=style.SERIES[i % 7], marker=style.MARKERS[i % 7], markersize=2.2, linewidth=1.0,
                markeredgewidth=0)  # fmt: skip
        drawn |= bool(len(depth))
    ax.set_xlim(-0.03, 1.03)
    ax.set_xticks([0, 0.5, 1], ["first", "middle", "last"])
    ax.set_ylim(bottom=0)
    style.ticks(ax.yaxis, 4)
    style.fixed_ticks(ax)
    if not drawn:
        style.empty_panel(ax, NO_NEURON)


def _shown(tables: Tables, models: Sequence[str], selectors: Sequence[str], top_fraction: float) -> list[str]:
    return [
        s for s in compared(tables, models, selectors)
        if any(len(relative_depth(tables, m, s, top_fraction)[0]) for m in models)
    ]  # fmt: skip


def caption_depth(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """What `plot_depth` shows."""
    return (
        f"Where a selector's neurons lie (top {percent(top_fraction)}), by relative depth of the decoder's layers: how "
        f"many times as many lie in a layer as if they were spread evenly (dashed), all cultures together: "
        f"{', '.join(named(tables, m) for m in tables.models)}."
    )


def no_depth(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """Why there are no neurons to draw, "" where there are some."""
    return "" if _shown(tables, tables.models, selectors, top_fraction) else NO_NEURON


@style.with_style
def plot_depth(
    tables: Tables, models: list[str], selectors: list[str], top_fraction: float, ax: Axes | None = None
) -> Figure:
    """Neurons by relative depth, a panel per selector, models on top of each other. With `ax`, the first selector."""
    shown = _shown(tables, models, selectors, top_fraction)
    density = "Times an even spread"
    if ax is not None:
        draw_depth(ax, tables, models, shown[0] if shown else "", top_fraction)
        ax.set_title(f"{selector_name(shown[0]) if shown else ''}, top {percent(top_fraction)}", loc="left")
        ax.set_xlabel("Decoder layer, by relative depth")
        ax.set_ylabel(density)
        return ax.figure
    n_columns = min(COLUMNS, max(1, len(shown)))
    n_rows = -(-len(shown) // n_columns) or 1
    left, right, gap, head, cell, between, foot = 0.55, 0.14, 0.32, 0.66, 1.0, 0.42, 0.66
    width = min(2.6, (style.DOUBLE - left - right - (n_columns - 1) * gap) / n_columns)
    fig = style.figure(style.DOUBLE, head + n_rows * cell + (n_rows - 1) * between + foot)
    height = fig.get_size_inches()[1]
    style.heading(fig, "Where the chosen neurons lie", [
        f"Neurons per layer as a multiple of an even spread (dashed), top {percent(top_fraction)}, all cultures "
        "together; each panel has a scale of its own",
    ])  # fmt: skip
    for i, selector in enumerate(shown):
        row, column = divmod(i, n_columns)
        bottom = height - head - (row + 1) * cell - row * between
        panel = style.axes(fig, left + column * (width + gap), bottom, width, cell)
        draw_depth(panel, tables, models, selector, top_fraction)
        panel.set_title(fonts.label(selector_name(selector), 22), pad=3)
        if column == 0:
            panel.set_ylabel(density)
    fig.text(0.5, 0.27 / height, "Decoder layer, by relative depth", ha="center")
    handles = [Line2D([], [], color=style.SERIES[i % 7], marker=style.MARKERS[i % 7], markersize=3, linewidth=1.0)
               for i in range(len(models))]  # fmt: skip
    fig.legend(handles, [title(tables, m, 30) for m in models], loc="lower center", ncols=min(4, max(1, len(models))),
               handlelength=1.4, bbox_to_anchor=(0.5, 0.01 / height), columnspacing=1.2, borderaxespad=0.1)  # fmt: skip
    return fig
