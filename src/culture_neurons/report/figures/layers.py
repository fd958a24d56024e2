"""Where a selector's neurons lie: in which decoder layers, and of those by attribution in which modules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import Tables, layer_counts, percent, rows, selector_name
from culture_neurons.report.figures.titles import basis, listed, named, plural, title

#: Panels in a row of small multiples, at most.
COLUMNS = 5

#: Sites of neurons: name in figures, and colour; from below in a stack.
SITES = {
    "act_fn": ("MLP", style.BLUE),
    "gate_proj": ("MLP gate", style.BLUE),
    "up_proj": ("MLP up", style.SKY),
    "q_proj": ("attention q", style.VERMILLION),
    "k_proj": ("attention k", style.ORANGE),
    "v_proj": ("attention v", style.GREEN),
}
ATTENTION = ("q_proj", "k_proj", "v_proj")
NO_NEURON = "no neuron selected"


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


def per_mask(tables: Tables, model: str, selector: str, top_fraction: float) -> tuple[list[str], np.ndarray]:
    """Sites in the order of `SITES`, and how many neurons a culture's mask has there, mean over cultures: float64
    [site, layer]."""
    part = rows(tables.layers, model, selector, top_fraction)
    sites = [site for site in SITES if site in set(part["site"])]
    n_layers = int(part["layer"].max()) + 1 if len(part) else 1
    counts = np.zeros((len(sites), n_layers))  # (site, layer)
    known = part[part["site"].isin(sites)]
    np.add.at(counts, (known["site"].map(sites.index).to_numpy(int), known["layer"].to_numpy(int)), known["count"])
    return sites, counts / max(1, part["culture"].nunique())


def _sizes_in_words(tables: Tables, model: str, selector: str, top_fraction: float) -> str:
    """How many neurons the masks of the cultures have: "461", or "45 to 93"."""
    by_culture = rows(tables.layers, model, selector, top_fraction).groupby("culture")["count"].sum().astype(int)
    least, most = (0, 0) if by_culture.empty else (by_culture.min(), by_culture.max())
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def share_of_attention(sites: list[str], counts: np.ndarray) -> float:
    """Share of a mask's neurons that lie in the attention; nan for a mask of none."""
    total = counts.sum()
    mine = counts[[site in ATTENTION for site in sites]].sum()
    return float(mine / total) if total else float("nan")


def draw_layers(ax: Axes, tables: Tables, model: str, selector: str, top_fraction: float) -> list[str]:
    """Share of a selector's neurons in each layer (%) on `ax`, stacked by site, each culture's own
    as a thin line, and dashed an even spread; returns the sites."""
    sites, counts = per_mask(tables, model, selector, top_fraction)
    total = counts.sum()
    n_layers = counts.shape[1]
    if not total:
        style.empty_panel(ax, NO_NEURON)
    for below in range(len(sites) if total else 0, 0, -1):  # from the top of the stack: what lies below covers it
        draw_bars(ax, 100 * counts[:below].sum(axis=0) / total, SITES[sites[below - 1]][1])
    ax.axhline(100 / n_layers, color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for row in layer_counts(tables, model, selector, top_fraction)[1]:  # each culture's own share, faintly
        if row.sum():
            ax.plot(np.arange(len(row)), 100 * row / row.sum(), color=style.INK, linewidth=0.4, alpha=0.35, zorder=3)
    ax.set_xlim(-0.6, n_layers - 0.4)
    style.fixed_ticks(ax)
    return [site for site, of in zip(sites, counts, strict=True) if of.any()]


def caption_layers(tables: Tables, model: str, selectors: Sequence[str], top_fraction: float) -> str:
    """What `plot_layers` shows."""
    parts = []
    for selector in selectors:
        sites, counts = per_mask(tables, model, selector, top_fraction)
        share = share_of_attention(sites, counts)
        if sites and sites != ["act_fn"] and np.isfinite(share):
            parts.append(f"{100 * share:.2g} % of those of {selector_name(selector)} lie in the attention")
    bases = {basis(tables, model, s) for s in selectors} - {None}
    chosen = listed([plural(n, kind) for n, kind in sorted(bases)])
    return (
        f"{named(tables, model)}: share of a selector's neurons (top {percent(top_fraction)}) in each decoder layer, "
        f"mean over cultures (bars) and each culture (thin lines); n: neurons per mask. Dashed: an even spread"
        f"{f'; chosen on {chosen}' if chosen else ''}{'; ' if parts else ''}{listed(parts)}."
    )


def no_layers(tables: Tables, model: str, selectors: Sequence[str], top_fraction: float) -> str:
    """Why there are no neurons to draw, "" where there are some."""
    return "" if any(per_mask(tables, model, s, top_fraction)[1].sum() for s in selectors) else NO_NEURON


@style.with_style
def plot_layers(
    tables: Tables, model: str, selectors: Sequence[str], top_fraction: float, ax: Axes | None = None
) -> Figure:
    """Share of each selector's neurons by layer, a panel per selector on common axes; of selectors by attribution
    stacked by module. With `ax`, the first selector on it."""
    if ax is not None:
        draw_layers(ax, tables, model, selectors[0], top_fraction)
        ax.set_title(f"{title(tables, model)}: {selector_name(selectors[0])}, top {percent(top_fraction)}", loc="left")
        ax.set_xlabel("Decoder layer")
        ax.set_ylabel("Share of its neurons (%)")
        return ax.figure
    n_rows = max(1, -(-len(selectors) // COLUMNS))
    n_columns = max(1, -(-len(selectors) // n_rows))
    left, right, gap_x, gap_y, head, cell, foot = 0.5, 0.08, 0.14, 0.5, 0.74, 0.85, 0.62
    width = min(2.2, (style.DOUBLE - left - right - (n_columns - 1) * gap_x) / n_columns)
    fig = style.figure(style.DOUBLE, head + n_rows * cell + (n_rows - 1) * gap_y + foot)
    height = fig.get_size_inches()[1]
    style.heading(fig, title(tables, model, 60), [
        f"Where neurons lie: share of a selector's neurons in each layer, top {percent(top_fraction)}; bars: mean "
        f"over cultures, thin lines: each; n: neurons per mask",
    ])  # fmt: skip
    panels, drawn = [], set()
    for i, selector in enumerate(selectors):
        row, column = divmod(i, n_columns)
        bottom = height - head - (row + 1) * cell - row * gap_y
        panel = style.axes(fig, left + column * (width + gap_x), bottom, width, cell)
        drawn |= set(draw_layers(panel, tables, model, selector, top_fraction))
        n = _sizes_in_words(tables, model, selector, top_fraction)
        panel.set_title(f"{fonts.label(selector_name(selector), 20)}\nn = {n}", pad=3, linespacing=1.15)
        panels.append((panel, column, i + n_columns >= len(selectors)))
    top = max((ax.dataLim.y1 for ax, *_ in panels), default=1.0)
    for ax, column, lowest in panels:
        ax.set_ylim(0, 1.08 * top)
        style.ticks(ax.yaxis, 4)
        ticks = layer_ticks(round(ax.get_xlim()[1] + 0.4), width)
        ax.set_xticks(ticks, [str(t) for t in ticks] if lowest else [])
        ax.tick_params(labelleft=column == 0)
        if column == 0:
            ax.set_ylabel("Share (%)")
            ax.yaxis.set_label_coords(-0.36 / width, 0.5)
    middle = left + (n_columns * width + (n_columns - 1) * gap_x) / 2
    fig.text(middle / style.DOUBLE, 0.25 / height, "Decoder layer", ha="center")
    handles = {SITES[site][0]: Patch(color=SITES[site][1]) for site in SITES if site in drawn}
    if {"MLP", "MLP gate"} <= handles.keys():  # one colour, one name
        handles = {"MLP (by attribution: its gate)": handles.pop("MLP"), **handles}
        handles.pop("MLP gate")
    handles["even spread"] = Line2D([], [], color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)))
    fig.legend(handles.values(), handles.keys(), loc="lower center", ncols=len(handles), handlelength=1.2,
               bbox_to_anchor=(0.5, 0.01 / height), columnspacing=1.2, borderaxespad=0.1)  # fmt: skip
    return fig
