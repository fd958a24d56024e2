"""The chain repeated: own changes against those under shuffled labels, and against the strength of ablation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.effects import KINDS, MEASURES, SMALLEST
from culture_neurons.report.figures.layers import nothing
from culture_neurons.report.figures.tables import Tables, drops, percent, rows, selector_name
from culture_neurons.report.figures.titles import CHANGE, MINUS, plural, title

MEAN = "mean over cultures"


def repeated(tables: Tables, model: str, selectors: Sequence[str], name: str) -> list[str]:
    """Those of `selectors` that a further table (`permutations`, `strengths`) has rows of, for this model."""
    table = tables.more.get(name)
    return [] if table is None else [s for s in selectors if len(rows(table, model, s))]


def shuffled(tables: Tables, model: str, selector: str, measure: str) -> pd.DataFrame:
    """Rows of `permutations`, first the mean over cultures, then cultures by name; with self_low and self_high."""
    part = rows(tables.more["permutations"], model, selector)
    part = part[part["measure"] == measure].assign(culture=lambda t: t["culture"].fillna(""))
    cultures = tables.more.get("cultures")
    ends = ["self_low", "self_high"]
    if cultures is None or not len(part):
        return part.assign(self_low=np.nan, self_high=np.nan)
    fraction = float(part["top_fraction"].iloc[0])
    own = rows(cultures, model, selector, fraction)
    own = own.loc[own["measure"] == measure, ["culture", *ends]]
    mean = drops(tables, model, selector, fraction, measure)["self"]
    own = pd.concat([own, pd.DataFrame([("", mean.low, mean.high)], columns=own.columns)], ignore_index=True)
    return part.merge(own, on="culture", how="left").sort_values("culture", kind="stable", ignore_index=True)


def draw_permutations(ax: Axes, tables: Tables, model: str, selector: str, measure: str = "accuracy") -> None:
    """Per culture, the own change (dot, 95 % interval) and where 95 % of the shuffles lie (grey bar), on `ax`."""
    part = shuffled(tables, model, selector, measure)
    ax.axvline(0, color="#999999", linewidth=0.7)
    if not len(part):
        nothing(ax, "no result")
        return
    low = high = 0.0
    for y, row in enumerate(part.itertuples()):
        ax.plot(
            [row.null_low, row.null_high], [y, y], color=style.FAINT, linewidth=5.5, solid_capstyle="butt", zorder=1
        )
        ax.plot([row.null], [y], marker="|", markersize=6, color=style.GREY, zorder=2)
        ax.plot([row.self_low, row.self_high], [y, y], color=style.VERMILLION, linewidth=1.2, zorder=3)
        ax.plot([row.observed], [y], linestyle="none", zorder=4, **style.mark("self", 5))
        ends = [v for v in (row.null_low, row.null_high, row.observed, row.self_low, row.self_high) if np.isfinite(v)]
        low, high = min(low, *ends), max(high, *ends)
    if len(part) > 1:
        ax.axhline(0.5, color="#BBBBBB", linewidth=0.6)
    ax.set_ylim(len(part) - 0.5, -0.5)
    ax.set_yticks(range(len(part)), fonts.labels([name or MEAN for name in part["culture"]]))
    ax.set_xlim(_limits(low, high, measure))
    style.ticks(ax.xaxis, 5)
    ax.set_xlabel(MEASURES[measure][1])
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)


@style.with_style
def plot_permutations(
    tables: Tables, model: str, selector: str, ax: Axes | None = None, measure: str = "accuracy"
) -> Figure:
    """Own changes against shuffled labels, both measures beside each other. With `ax`, one `measure` on it."""
    name = selector_name(selector)
    if ax is not None:
        draw_permutations(ax, tables, model, selector, measure)
        ax.set_title(f"{title(tables, model)}: {name}", loc="left")
        return ax.figure
    part = shuffled(tables, model, selector, "logprob")
    left, right, gap, head, foot = 1.5, 0.12, 0.25, 0.5, 0.62
    height = max(2, len(part)) * 0.19
    width = (style.DOUBLE - left - right - gap) / 2
    fig = style.figure(style.DOUBLE, head + height + foot)
    times = int(part["permutations"].max()) if len(part) else 0
    style.heading(fig, title(tables, model, 60), [
        f"Own culture's change ({CHANGE}), {name}{_top(part)}, against masks of shuffled labels ({times:,} times)",
    ])  # fmt: skip
    for i, measure in enumerate(MEASURES):
        ax = style.axes(fig, left + i * (width + gap), foot, width, height)
        draw_permutations(ax, tables, model, selector, measure)
        ax.tick_params(labelleft=i == 0)
    handles = [
        Line2D([], [], linestyle="none", **style.mark("self", 5)),
        Line2D([], [], color=style.FAINT, linewidth=5.5),
        Line2D([], [], linestyle="none", marker="|", markersize=6, color=style.GREY),
    ]
    fig.legend(handles, ["own culture", "95\N{NO-BREAK SPACE}% of the shuffles", "their mean"], loc="lower center",
               ncols=3, bbox_to_anchor=(0.5, 0.01 / fig.get_size_inches()[1]), columnspacing=1.2,
               borderaxespad=0.1)  # fmt: skip
    return fig


def draw_strengths(ax: Axes, tables: Tables, model: str, selector: str, measure: str = "accuracy") -> None:
    """Own and other cultures' change against the strength of the intervention, with 95 % intervals, on `ax`."""
    part = rows(tables.more["strengths"], model, selector)
    part = part[part["measure"] == measure].sort_values("strength")
    ax.axhline(0, color="#999999", linewidth=0.7)
    if not len(part):
        nothing(ax, "no result")
        return
    ax.axvline(1, color="#BBBBBB", linewidth=0.6, linestyle=(0, (2, 2)))
    # Strength 0 is the model as it is: no change, by definition.
    strength = np.append(0.0, part["strength"].to_numpy(float))
    order = np.argsort(strength, kind="stable")
    low, high = 0.0, 0.0
    for kind in ("cross", "self"):
        value, lower, upper = (
            np.append(0.0, part[column].to_numpy(float))[order] for column in (kind, f"{kind}_low", f"{kind}_high")
        )
        ax.fill_between(strength[order], lower, upper, color=style.KINDS[kind][0], alpha=0.18, linewidth=0)
        ax.plot(strength[order], value, linewidth=1.1, **style.mark(kind, 4.2))
        low, high = np.nanmin([low, *lower, *value]), np.nanmax([high, *upper, *value])
    ax.set_ylim(_limits(low, high, measure))
    style.ticks(ax.xaxis, 6)
    style.ticks(ax.yaxis, 5)
    ax.set_xlabel(f"Strength s,  g \N{LEFTWARDS ARROW} (1 {MINUS} s) g")
    ax.set_ylabel(MEASURES[measure][1])
    style.fixed_ticks(ax)


@style.with_style
def plot_strengths(
    tables: Tables, model: str, selector: str, ax: Axes | None = None, measure: str = "accuracy"
) -> Figure:
    """Change against the strength of the intervention, both measures beside each other. With `ax`, one `measure`."""
    name = selector_name(selector)
    if ax is not None:
        draw_strengths(ax, tables, model, selector, measure)
        ax.set_title(f"{title(tables, model)}: {name}", loc="left")
        return ax.figure
    part = rows(tables.more["strengths"], model, selector)
    left, right, gap, head, height, foot = 0.62, 0.12, 0.72, 0.5, 1.6, 0.66
    width = (style.DOUBLE - left - right - gap) / 2
    fig = style.figure(style.DOUBLE, head + height + foot)
    n = int(part["n"].max()) if len(part) and "n" in part else 0
    style.heading(fig, title(tables, model, 60), [
        f"Change ({CHANGE}) against the strength of the intervention, {name}{_top(part)}; {plural(n, 'question')}",
    ])  # fmt: skip
    for i, measure in enumerate(MEASURES):
        ax = style.axes(fig, left + i * (width + gap), foot, width, height)
        draw_strengths(ax, tables, model, selector, measure)
    handles = [Line2D([], [], linewidth=1.1, **style.mark(kind, 4.2)) for kind in ("self", "cross")]
    handles.append(Line2D([], [], color="#BBBBBB", linewidth=0.8, linestyle=(0, (2, 2))))
    fig.legend(handles, [KINDS["self"], KINDS["cross"], "zero ablation"], loc="lower center", ncols=3,
               bbox_to_anchor=(0.5, 0.01 / fig.get_size_inches()[1]), columnspacing=1.2, borderaxespad=0.1)  # fmt: skip
    return fig


def _top(part: pd.DataFrame) -> str:
    return f", top {percent(float(part['top_fraction'].iloc[0]))}" if len(part) else ""


def _limits(low: float, high: float, measure: str) -> tuple[float, float]:
    """Ends of an axis, with some room; changes of next to nothing are not blown up."""
    smallest = SMALLEST[measure]
    if max(-low, high) < smallest:
        low, high = min(-smallest, low), max(0.35 * smallest, high)
    room = 0.05 * (high - low)
    return low - room, high + room
