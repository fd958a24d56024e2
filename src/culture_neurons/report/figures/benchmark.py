"""Whether selectors find neurons that are known: the benchmark on planted models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import listed, named, title

#: Panels: column of the table, target, and what the axis says.
PANELS = (
    ("average_precision", "planted", "Average precision, all planted"),
    ("average_precision", "effective", "Average precision, effective"),
    ("precision", "planted", "Precision at top {top}, all planted"),
)
#: Statistics that are shown: of all questions with their own cultures, and of the fewest and of the worst.
DESIGNS = {
    "all": (style.BLUE, "o", 5.0),
    "few": (style.ORANGE, "s", 3.8),
    "wrong": (style.VERMILLION, "D", 3.8),
}


def designs(table: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Per key of DESIGNS the `samples_per_culture` and `label_noise` that it shows, where the table has them."""
    numbers = sorted((n for n in table["samples_per_culture"].unique() if n != "all"), key=int)
    shown = {"all": ("all", 0.0)}
    if numbers:
        shown["few"] = (numbers[0], 0.0)
    worst = float(table["label_noise"].max()) if len(table) else 0.0
    if worst:
        shown["wrong"] = ("all", worst)
    return shown


def meaning(design: tuple[str, float]) -> str:
    """What a design is, in words."""
    number, noise = design
    if noise:
        return f"{percent(noise)} of cultures shuffled"
    return "all questions" if number == "all" else f"{number} questions per culture"


def models(tables: Tables) -> list[str]:
    """Models of the benchmark, in the order of the tables."""
    known = set(tables.more["benchmark"]["model"])
    return [model for model in tables.models if model in known]


def draw_benchmark(
    ax: Axes, tables: Tables, model: str, selectors: list[str], top_fraction: float, panel: int = 0
) -> list[str]:
    """One of PANELS of one model on `ax`, a row per selector; the designs that were drawn.

    Marks are means over draws, bars a standard deviation each way, the dashed line is what a random choice gives.
    """
    column, target, _ = PANELS[panel]
    table = tables.more["benchmark"]
    part = rows(table, model, None, top_fraction)
    part = part[part["target"] == target]
    drawn: list[str] = []
    shown = designs(table)
    for i, selector in enumerate(selectors):
        if i:
            ax.axhline(i - 0.5, color="#EEEEEE", linewidth=0.6)
        for k, (key, (number, noise)) in enumerate(shown.items()):
            row = part[(part["selector"] == selector) & (part["samples_per_culture"] == number)
                       & np.isclose(part["label_noise"].astype(float), noise)]  # fmt: skip
            value = float(row[column].iloc[0]) if len(row) else float("nan")
            if not np.isfinite(value):
                continue
            colour, marker, size = DESIGNS[key]
            y = i + 0.24 * (k - (len(shown) - 1) / 2)
            spread = row[f"{column}_sd"].iloc[0]
            if np.isfinite(spread):
                ax.plot([value - spread, value + spread], [y, y], color=colour, linewidth=1.0, zorder=3)
            ax.plot([value], [y], linestyle="none", color=colour, marker=marker, markersize=size,
                    markeredgecolor="white", markeredgewidth=0.5, zorder=4)  # fmt: skip
            drawn.append(key)
    if drawn:
        chance = float(part["chance"].iloc[0])
        ax.axvline(chance, color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    else:
        style.empty_panel(ax, "no such neurons")
    ax.set_ylim(max(1, len(selectors)) - 0.5, -0.5)
    ax.set_xlim(-0.03, 1.03)
    ax.set_yticks(range(len(selectors)), fonts.labels([selector_name(s) for s in selectors], 20))
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)
    return list(dict.fromkeys(drawn))


def caption_benchmark(tables: Tables, top_fraction: float) -> str:
    """What `plot_benchmark` shows."""
    who = ", ".join(named(tables, m) for m in models(tables))
    how = listed([meaning(design) for design in designs(tables.more["benchmark"]).values()])
    return (
        f"How well selectors find the planted neurons of {who}, from {how}: average precision on all planted "
        f"neurons and on the effective ones, which cost their culture at least 0.1 nats when they alone are "
        f"zeroed, and precision of the masks (top {percent(top_fraction)}). Bars are standard deviations over "
        f"draws, dashed lines what a random choice gives."
    )


def no_benchmark(tables: Tables, top_fraction: float) -> str:
    """Why there are no measures to draw, "" where there are some."""
    part = rows(tables.more["benchmark"], None, None, top_fraction)
    known = part[["average_precision", "precision"]].notna().any(axis=None)
    return "" if known else "no model has planted neurons that selectors could find"


@style.with_style
def plot_benchmark(tables: Tables, selectors: list[str], top_fraction: float, ax: Axes | None = None) -> Figure:
    """How well selectors, and the random controls, find planted neurons: a row of panels per planted model.

    With `ax`, the average precision on the first model's planted neurons on it.
    """
    table = tables.more["benchmark"]
    # The controls, as the floor, come last.
    order = [s for s in selectors if s in set(table["selector"])]
    order += [s for s in dict.fromkeys(table["selector"]) if s not in selectors]
    each = models(tables)
    if ax is not None:
        draw_benchmark(ax, tables, each[0] if each else "", order, top_fraction)
        return ax.figure
    left, right, gap, head, foot, above = 1.16, 0.1, 0.16, 0.42, 0.72, 0.24
    width = (style.DOUBLE - left - right - gap * (len(PANELS) - 1)) / len(PANELS)
    height = max(2, len(order)) * 0.2
    n = max(1, len(each))
    fig = style.figure(style.DOUBLE, head + n * (above + height) + foot)
    total = fig.get_size_inches()[1]
    style.heading(fig, "Do selectors find planted neurons?", [
        "Means over draws \N{PLUS-MINUS SIGN} standard deviation; effective: costs its culture at least 0.1 nats when "
        "zeroed alone",
    ])  # fmt: skip
    drawn: list[str] = []
    for m in range(n):
        bottom = total - head - (m + 1) * (above + height)
        model = each[m] if each else ""
        for p, (_, _, text) in enumerate(PANELS):
            ax = style.axes(fig, left + p * (width + gap), bottom, width, height)
            drawn += draw_benchmark(ax, tables, model, order, top_fraction, p)
            ax.tick_params(labelleft=p == 0, labelbottom=m == n - 1)
            if m == n - 1:
                ax.set_xlabel(text.format(top=percent(top_fraction)))
            if p == 0 and model:
                ax.set_title(title(tables, model, 60), loc="left", pad=3, x=-(left - 0.06) / width)
    shown = {key: design for key, design in designs(table).items() if key in drawn}
    handles = [Line2D([], [], linestyle="none", color=DESIGNS[k][0], marker=DESIGNS[k][1], markersize=DESIGNS[k][2])
               for k in shown]  # fmt: skip
    texts = [meaning(design) for design in shown.values()]
    if shown:
        handles.append(Line2D([], [], color=style.INK, linewidth=0.8, linestyle=(0, (4, 3))))
        fig.legend(handles, [*texts, "random choice"], loc="lower center", ncols=len(handles), handlelength=1.4,
                   bbox_to_anchor=(0.5, 0.01 / total), columnspacing=1.2, borderaxespad=0.1)  # fmt: skip
    return fig
