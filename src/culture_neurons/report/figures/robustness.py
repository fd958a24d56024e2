"""How robust an effect is: own changes against those under shuffled labels, and against the strength of ablation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.effects import KINDS, MEASURES, SMALLEST
from culture_neurons.report.figures.tables import Tables, drops, percent, rows, selector_name
from culture_neurons.report.figures.titles import CHANGE, MINUS, named, plural, title

MEAN = "mean over cultures"


def known_changes(tables: Tables, model: str, selector: str) -> dict[str, pd.DataFrame]:
    """Rows of `permutations` and of `strengths`, of each where any change is known."""
    rows_by_table = {
        name: rows(tables.more[name], model, selector) for name in ("permutations", "strengths") if name in tables.more
    }
    changes = {"permutations": "observed", "strengths": "self"}
    return {name: part for name, part in rows_by_table.items() if part[changes[name]].notna().any()}


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
        style.empty_panel(ax, "no result")
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
        low, high = min([low, *ends]), max([high, *ends])
    if len(part) > 1:
        ax.axhline(0.5, color="#BBBBBB", linewidth=0.6)
    ax.set_ylim(len(part) - 0.5, -0.5)
    ax.set_yticks(range(len(part)), fonts.labels([name or MEAN for name in part["culture"]]))
    ax.set_xlim(_limits(low, high, measure))
    style.ticks(ax.xaxis, 5)
    ax.set_xlabel(MEASURES[measure][1])
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)


def draw_strengths(ax: Axes, tables: Tables, model: str, selector: str, measure: str = "accuracy") -> None:
    """Own and other cultures' change against the strength of the intervention, with 95 % intervals, on `ax`."""
    part = rows(tables.more["strengths"], model, selector)
    part = part[part["measure"] == measure].sort_values("strength")
    ax.axhline(0, color="#999999", linewidth=0.7)
    if not len(part):
        style.empty_panel(ax, "no result")
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


def caption_robustness(tables: Tables, model: str, selector: str) -> str:
    """What `plot_robustness` shows."""
    changes = known_changes(tables, model, selector)
    first = next(iter(changes.values()))
    parts = []
    if "permutations" in changes:
        parts.append(
            f"change of each culture's own questions under its own mask (dots with 95 % intervals over questions) "
            f"against what masks of shuffled culture labels do: the chain from statistics over scores to masks and "
            f"answers, repeated {int(changes['permutations']['permutations'].max()):,} times (grey: 95 % of these)"
        )
    if "strengths" in changes:
        parts.append(
            "change against the strength s of the intervention, g becomes (1 - s) g on the masked neurons: s = 1 is "
            "zero ablation, beyond it their sign is turned (means over cultures, with 95 % intervals)"
        )
    return (
        f"{named(tables, model)} ({selector_name(selector)}, top {percent(float(first['top_fraction'].iloc[0]))}): "
        f"{'; and '.join(parts)}. {plural(_count_questions(first), 'evaluated question')}."
    )


def no_robustness(tables: Tables, model: str, selector: str) -> str:
    """Why there is nothing to draw, "" where there is something."""
    return "" if known_changes(tables, model, selector) else "no mask was ablated again"


@style.with_style
def plot_robustness(tables: Tables, model: str, selector: str) -> Figure:
    """Own changes against shuffled labels, culture by culture, and below them changes against the strength of the
    intervention; accuracy on the left, log-probability on the right."""
    changes = known_changes(tables, model, selector)
    left, right, gap, head, above, tall, below, foot = 1.42, 0.12, 0.75, 0.36, 0.3, 1.45, 0.4, 0.3
    cultures = max((changes["permutations"].groupby("measure").size()), default=0) if "permutations" in changes else 0
    heights = {"permutations": max(2, cultures) * 0.17, "strengths": tall}
    fig = style.figure(style.DOUBLE, head + sum(above + heights[name] + below for name in changes) + foot)
    height = fig.get_size_inches()[1]
    first = next(iter(changes.values()), None)
    text = (
        ""
        if first is None
        else (f", top {percent(float(first['top_fraction'].iloc[0]))}; {plural(_count_questions(first), 'question')}")
    )
    style.heading(fig, title(tables, model, 60), [f"Change ({CHANGE}), {selector_name(selector)}{text}"])
    width = (style.DOUBLE - left - right - gap) / 2
    bottom = height - head
    for name, part in changes.items():
        bottom -= above + heights[name]
        for i, measure in enumerate(MEASURES):
            ax = style.axes(fig, left + i * (width + gap), bottom, width, heights[name])
            if name == "permutations":
                draw_permutations(ax, tables, model, selector, measure)
                ax.tick_params(labelleft=i == 0)
                words = f"Against masks of shuffled culture labels ({int(part['permutations'].max()):,} times)"
            else:
                draw_strengths(ax, tables, model, selector, measure)
                words = "Against the strength of the intervention"
            if i == 0:
                ax.set_title(words, loc="left", pad=3, x=-(left - 0.06) / width)
        bottom -= below
    marks = {KINDS["self"]: Line2D([], [], linewidth=1.1, **style.mark("self", 4.6))}
    if "strengths" in changes:
        marks[KINDS["cross"]] = Line2D([], [], linewidth=1.1, **style.mark("cross", 4.2))
        marks["zero ablation"] = Line2D([], [], color="#BBBBBB", linewidth=0.8, linestyle=(0, (2, 2)))
    if "permutations" in changes:
        marks["95\N{NO-BREAK SPACE}% of shuffles"] = Line2D([], [], color=style.FAINT, linewidth=5.5)
        marks["their mean"] = Line2D([], [], linestyle="none", marker="|", markersize=6, color=style.GREY)
    fig.legend(marks.values(), marks.keys(), loc="lower center", ncols=len(marks), columnspacing=1.2,
               bbox_to_anchor=(0.5, 0.01 / height), borderaxespad=0.1)  # fmt: skip
    return fig


def _count_questions(part: pd.DataFrame) -> int:
    """Evaluated questions, where the table says so: rows of the mean over cultures have those of all."""
    return int(part["n"].max()) if "n" in part else 0


def _limits(low: float, high: float, measure: str) -> tuple[float, float]:
    """Ends of an axis, with some room; changes of next to nothing are not blown up."""
    smallest = SMALLEST[measure]
    if max(-low, high) < smallest:
        low, high = min(-smallest, low), max(0.35 * smallest, high)
    room = 0.05 * (high - low)
    return low - room, high + room
