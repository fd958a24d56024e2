"""What masks share that were chosen on different data: by culture, and layer by layer, against chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import named, plural, title

#: Pairs of selectors that there is room for; the table has all.
MOST = 4
#: Names of cultures that there is room for below a panel.
NAMES = 14
INDEX, COUNT = "Jaccard index", "Shared neurons per mask"


def pairs(tables: Tables, model: str, top_fraction: float) -> list[tuple[str, str, pd.DataFrame]]:
    """(a, b, their rows) of selectors whose masks share the most, by the mean over cultures; each selector once, and
    at most `MOST` pairs."""
    overlaps = rows(tables.more["data_overlaps"], model, top_fraction=top_fraction)
    mean = overlaps[overlaps["layer"].isna()].groupby(["a", "b"], sort=False)["overlap"].mean().dropna()
    chosen: list[tuple[str, str]] = []
    for a, b in mean.sort_values(ascending=False, kind="stable").index:
        if not {a, b} & {name for pair in chosen for name in pair}:
            chosen.append((a, b))
    return [(a, b, overlaps[(overlaps["a"] == a) & (overlaps["b"] == b)]) for a, b in chosen[:MOST]]


def draw_by_culture(ax: Axes, part: pd.DataFrame) -> None:
    """The Jaccard index of each culture's two masks, and what is expected by chance, on `ax`."""
    by_culture = part[part["layer"].isna()].sort_values("culture")
    at = np.arange(len(by_culture))
    ax.bar(at, by_culture["overlap"].astype(float), 0.7, color=style.BLUE)
    ax.hlines(by_culture["expected"].astype(float), at - 0.42, at + 0.42, color=style.INK, linewidth=1.0)
    ax.set_xlim(-0.6, len(by_culture) - 0.4)
    style.named_axis(ax.xaxis, list(by_culture["culture"]), every=-(-len(by_culture) // NAMES), rotation=40, ha="right",
                     rotation_mode="anchor")  # fmt: skip
    ax.tick_params(axis="x", length=0, pad=1)
    _from_zero(ax)


def draw_by_layer(ax: Axes, part: pd.DataFrame) -> None:
    """Shared neurons in each layer, and how many are expected by chance, means over cultures, on `ax`."""
    of_layers = part[part["layer"].notna()]
    # By chance two masks share n_a n_b / N of a layer's N neurons; `expected` is that as a Jaccard index.
    index = of_layers["expected"].astype(float)
    chance = (index / (1 + index) * (of_layers["n_a"] + of_layers["n_b"])).fillna(0)
    means = of_layers.assign(chance=chance).groupby(of_layers["layer"].astype(int))[["n_shared", "chance"]].mean()
    ax.bar(means.index, means["n_shared"], 0.8, color=style.BLUE)
    ax.step([*(means.index - 0.5), means.index[-1] + 0.5], [*means["chance"], means["chance"].iloc[-1]], where="post",
            color=style.INK, linewidth=1.0)  # fmt: skip
    ax.set_xlim(-0.7, means.index[-1] + 0.7)
    style.ticks(ax.xaxis, 6, integer=True)
    _from_zero(ax)


def _from_zero(ax: Axes) -> None:
    ax.set_ylim(0, max(ax.get_ylim()[1], 1e-6))
    style.ticks(ax.yaxis, 3)
    style.fixed_ticks(ax)


def _names(a: str, b: str, part: pd.DataFrame) -> str:
    on_a, on_b = (part[column].iloc[0] for column in ("chosen_on_a", "chosen_on_b"))
    return f"{selector_name(a)} (on {on_a}) and {selector_name(b)} (on {on_b})"


def caption_data_overlaps(tables: Tables, model: str, top_fraction: float) -> str:
    """What `plot_data_overlaps` shows."""
    shown = pairs(tables, model, top_fraction)
    n = shown[0][2]["culture"].nunique()
    return (
        f"{named(tables, model)}: what two masks of one culture share (top {percent(top_fraction)}) that were chosen "
        f"on different data; the pairs of selectors that share most. Left: Jaccard index, culture by culture; right: "
        f"shared neurons in each layer, mean over {plural(n, 'culture')}. Black lines: what masks with as many neurons "
        f"in each layer share by chance."
    )


def no_data_overlaps(tables: Tables, model: str, top_fraction: float) -> str:
    """Why there is nothing to draw, "" where there is something."""
    return "" if pairs(tables, model, top_fraction) else "no culture has masks that were chosen on different data"


@style.with_style
def plot_data_overlaps(tables: Tables, model: str, top_fraction: float, ax: Axes | None = None) -> Figure:
    """What masks chosen on different data share, by culture and by layer. With `ax`, by layer of the first pair."""
    shown = pairs(tables, model, top_fraction)
    if ax is not None:
        a, b, part = shown[0]
        draw_by_layer(ax, part)
        ax.set(xlabel="Layer", ylabel=COUNT)
        ax.set_title(fonts.label(_names(a, b, part), 60), loc="left")
        return ax.figure
    left, right, gap, head, cell, between = 0.6, 0.1, 0.55, 0.66, 0.85, 0.34
    longest = max(len(label) for *_, part in shown for label in fonts.labels(sorted(set(part["culture"]))))
    foot = 0.42 + max(0.2, min(0.6, 0.045 * longest))
    width = (style.DOUBLE - left - right - gap) / 2
    fig = style.figure(style.DOUBLE, head + len(shown) * cell + (len(shown) - 1) * between + foot)
    height = fig.get_size_inches()[1]
    style.heading(fig, f"{title(tables, model, 50)}: do different questions choose the same neurons?", [
        f"What two masks of one culture share, top {percent(top_fraction)}",
    ])  # fmt: skip
    for i, (a, b, part) in enumerate(shown):
        bottom = height - head - (i + 1) * cell - i * between
        panels = [style.axes(fig, left + k * (width + gap), bottom, width, cell) for k in (0, 1)]
        draw_by_culture(panels[0], part)
        draw_by_layer(panels[1], part)
        panels[0].set_title(fonts.label(_names(a, b, part), 90), loc="left", pad=3)
        for panel in panels:
            panel.tick_params(labelbottom=i == len(shown) - 1)
    panels[1].set_xlabel("Layer", labelpad=2)
    middle = (bottom + height - head) / 2 / height
    for k, label in enumerate((INDEX, COUNT)):
        x = (0.1 + k * (width + gap + 0.05)) / style.DOUBLE
        fig.text(x, middle, label, rotation=90, ha="center", va="center")
    handles = [Line2D([], [], color=style.BLUE, linewidth=5), Line2D([], [], color=style.INK, linewidth=1.0)]
    fig.legend(handles, ["shared", "by chance"], loc="lower center", ncols=2, bbox_to_anchor=(0.5, 0.01 / height),
               handlelength=1.2, columnspacing=1.4, handletextpad=0.4, borderaxespad=0.1)  # fmt: skip
    return fig

