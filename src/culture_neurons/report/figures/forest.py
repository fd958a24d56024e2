"""What each culture loses under its own mask, of all models and selectors: a forest plot, and own against others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.effects import MEASURES, NO_EFFECT, SMALLEST, compared, own_questions
from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import CHANGE, named, title

#: Panels side by side: with more, the figure shows the log-probability alone, in rows.
COLUMNS = 4
#: Height of all rows of panels at most, in inches: those of many cultures and selectors get lower.
TALLEST = 8.6


def own_and_cross(tables: Tables, model: str, selector: str, top_fraction: float, measure: str) -> pd.DataFrame:
    """Per culture with a mask: `own`, the change of its questions under its own mask, with `low` and `high` where
    effects.csv has them, and `cross`, the mean of those under the other cultures' masks."""
    column = MEASURES[measure][0]
    part = rows(tables.effects, model, selector, top_fraction)
    is_own = part["mask_culture"] == part["eval_culture"]
    own = part[is_own].set_index("eval_culture")
    result = pd.DataFrame({"own": own[column].astype(float)})
    for end in ("low", "high"):
        result[end] = own[f"{column}_{end}"].astype(float) if f"{column}_{end}" in own else np.nan
    result["cross"] = part[~is_own].groupby("eval_culture")[column].mean().reindex(result.index)
    return result[np.isfinite(result["own"])].sort_index()


def _panels(models: Sequence[str]) -> list[tuple[str, str]]:
    """(model, measure) of each panel."""
    measures = list(MEASURES) if 2 * len(models) <= COLUMNS else ["logprob"]
    return [(model, measure) for model in models for measure in measures]


def _shown(tables: Tables, models: Sequence[str], selectors: Sequence[str], top_fraction: float) -> list[str]:
    return [
        s for s in compared(tables, models, selectors)
        if any(len(own_and_cross(tables, m, s, top_fraction, "logprob")) for m in models)
    ]  # fmt: skip


def _look(i: int) -> dict[str, str]:
    return {"color": style.SERIES[i % len(style.SERIES)], "marker": style.MARKERS[i % len(style.MARKERS)]}


def _legend(fig: Figure, selectors: Sequence[str]) -> None:
    handles = [Line2D([], [], linestyle="none", markersize=4, **_look(i)) for i in range(len(selectors))]
    height = fig.get_size_inches()[1]
    fig.legend(handles, fonts.labels([selector_name(s) for s in selectors], 22), loc="lower center",
               ncols=min(5, max(1, len(selectors))), bbox_to_anchor=(0.5, 0.01 / height), handletextpad=0.2,
               columnspacing=1.2, borderaxespad=0.1)  # fmt: skip


def _legend_height(selectors: Sequence[str]) -> float:
    return 0.15 * -(-len(selectors) // 5)


def draw_forest(
    ax: Axes, tables: Tables, model: str, selectors: Sequence[str], top_fraction: float, cultures: Sequence[str],
    measure: str = "logprob",
) -> None:  # fmt: skip
    """Own changes with their 95 % intervals on `ax`: a row per culture, in it a mark per selector, first on top."""
    at = {culture: i for i, culture in enumerate(cultures)}
    offsets = np.linspace(-0.34, 0.34, len(selectors)) if len(selectors) > 1 else np.zeros(1)
    for i in range(0, len(cultures), 2):
        ax.axhspan(i - 0.5, i + 0.5, color="#F4F4F4", linewidth=0)
    ax.axvline(0, color="#999999", linewidth=0.7)
    for i, selector in enumerate(selectors):
        part = own_and_cross(tables, model, selector, top_fraction, measure)
        y = part.index.map(at).to_numpy(dtype=float) + offsets[i]
        wide = np.isfinite(part["low"]) & np.isfinite(part["high"]) & (part["high"] > part["low"])
        ax.hlines(y[wide], part.loc[wide, "low"], part.loc[wide, "high"], color=_look(i)["color"], linewidth=0.8,
                  alpha=0.7)  # fmt: skip
        ax.scatter(part["own"], y, s=9, linewidths=0, zorder=3, **_look(i))
    ax.set_ylim(max(1, len(cultures)) - 0.5, -0.5)
    _at_least(ax, SMALLEST[measure])
    style.ticks(ax.xaxis, 4)
    style.named_axis(ax.yaxis, list(cultures))
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)


def _at_least(ax: Axes, smallest: float) -> None:
    """Do not blow noise up to the width of a panel; each panel has a scale of its own otherwise."""
    low, high = ax.get_xlim()
    if max(-low, high) < smallest:
        ax.set_xlim(min(-1.1 * smallest, low), max(0.35 * smallest, high))


def caption_forest(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """What `plot_forest` shows."""
    models = tables.models
    shown = _shown(tables, models, selectors, top_fraction)
    n = own_questions(tables, models, shown, [top_fraction], "evaluated question")
    return (
        f"Change of each culture's own questions under its own mask (top {percent(top_fraction)}), by selector, with "
        f"95 % intervals over its questions: {', '.join(named(tables, m) for m in models)}. "
        f"{n} per model; left of 0: the culture loses. Each panel has a scale of its own."
    )


def no_forest(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """Why there are no changes to draw, "" where there are some."""
    return "" if _shown(tables, tables.models, selectors, top_fraction) else NO_EFFECT


@style.with_style
def plot_forest(
    tables: Tables, models: list[str], selectors: list[str], top_fraction: float, ax: Axes | None = None
) -> Figure:
    """Own changes per culture of all models and selectors. With `ax`, the first model's log-probability on it."""
    shown = _shown(tables, models, selectors, top_fraction)
    cultures = sorted({
        c for m in models for s in shown for c in own_and_cross(tables, m, s, top_fraction, "logprob").index
    })  # fmt: skip
    if ax is not None:
        draw_forest(ax, tables, models[0], shown, top_fraction, cultures)
        ax.set_title(f"{title(tables, models[0])}: top {percent(top_fraction)}", loc="left")
        ax.set_xlabel(MEASURES["logprob"][1])
        return ax.figure
    panels = _panels(models)
    n_columns = min(COLUMNS, len(panels))
    n_rows = -(-len(panels) // n_columns)
    left, right, gap, head, between = 1.3, 0.1, 0.14, 0.68, 0.62
    foot = 0.42 + _legend_height(shown)
    cell = max(1, len(cultures)) * max(0.14, 0.075 * len(shown) + 0.03)
    cell = min(cell, TALLEST / n_rows)
    width = (style.DOUBLE - left - right - (n_columns - 1) * gap) / n_columns
    fig = style.figure(style.DOUBLE, head + n_rows * cell + (n_rows - 1) * between + foot)
    height = fig.get_size_inches()[1]
    n = own_questions(tables, models, shown, [top_fraction], "question")
    style.heading(fig, "What each culture loses under its own mask", [
        f"{CHANGE[0].upper()}{CHANGE[1:]}, top {percent(top_fraction)}; {n} per model; each panel has a scale of its "
        "own",
    ])  # fmt: skip
    for i, (model, measure) in enumerate(panels):
        row, column = divmod(i, n_columns)
        bottom = height - head - (row + 1) * cell - row * between
        panel = style.axes(fig, left + column * (width + gap), bottom, width, cell)
        draw_forest(panel, tables, model, shown, top_fraction, cultures, measure)
        panel.tick_params(labelleft=column == 0)
        side_by_side = 2 * width + gap if len(panels) == 2 * len(models) else width
        if measure == panels[0][1]:  # a model's name stands above both of its panels
            panel.set_title(title(tables, model, max(12, int(side_by_side / 0.062))), pad=3, loc="left")
        panel.set_xlabel(MEASURES[measure][1].replace("Log-probability change", "Log-prob. change"))
    _legend(fig, shown)
    return fig


def draw_own_against_cross(
    ax: Axes, tables: Tables, model: str, selectors: Sequence[str], top_fraction: float, measure: str = "logprob"
) -> None:
    """Each culture's own change (down) against what the other cultures' masks do to it (across), on `ax`; dashed: no
    difference."""
    values: dict[str, list[float]] = {"cross": [0.0], "own": [0.0]}
    for i, selector in enumerate(selectors):
        part = own_and_cross(tables, model, selector, top_fraction, measure)
        part = part[np.isfinite(part["cross"])]
        ax.scatter(part["cross"], part["own"], s=13, linewidths=0, alpha=0.85, zorder=3, **_look(i))
        for name, seen in values.items():
            seen += [*part[name]]
    ends = {}
    for name, seen in values.items():
        low, high = min(*seen, -SMALLEST[measure]), max(*seen, 0.3 * SMALLEST[measure])
        room = 0.06 * (high - low)
        ends[name] = (low - room, high + room)
    ax.axhline(0, color="#999999", linewidth=0.7)
    ax.axvline(0, color="#999999", linewidth=0.7)
    span = [min(low for low, _ in ends.values()), max(high for _, high in ends.values())]
    ax.plot(span, span, color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    ax.set_xlim(*ends["cross"])
    ax.set_ylim(*ends["own"])
    style.ticks(ax.xaxis, 4)
    style.ticks(ax.yaxis, 4)
    style.fixed_ticks(ax)


def caption_own_against_cross(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """What `plot_own_against_cross` shows."""
    return (
        f"Change of the right option's log-probability (nats) on a culture's questions, a mark per culture and "
        f"selector: under its own mask (down) against the mean over the other cultures' masks (across), top "
        f"{percent(top_fraction)}: {', '.join(named(tables, m) for m in tables.models)}. Below the dashed line the own "
        f"mask does more harm; on it, whose mask it is does not matter. Panels and axes have scales of their own."
    )


def no_own_against_cross(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """Why there are no changes to draw, "" where there are some."""
    shown = _shown(tables, tables.models, selectors, top_fraction)
    known = any(
        np.isfinite(own_and_cross(tables, m, s, top_fraction, "logprob")["cross"]).any()
        for m in tables.models for s in shown
    )  # fmt: skip
    return "" if known else NO_EFFECT if not shown else "no culture has questions and others' masks"


@style.with_style
def plot_own_against_cross(
    tables: Tables, models: list[str], selectors: list[str], top_fraction: float, ax: Axes | None = None
) -> Figure:
    """Own against cross changes, a panel per model. With `ax`, the first model on it."""
    shown = _shown(tables, models, selectors, top_fraction)
    across, down = "Under other cultures' masks (nats)", "Under its own mask (nats)"
    if ax is not None:
        draw_own_against_cross(ax, tables, models[0], shown, top_fraction)
        ax.set_title(f"{title(tables, models[0])}: top {percent(top_fraction)}", loc="left")
        ax.set_xlabel(across)
        ax.set_ylabel(down)
        return ax.figure
    n_columns = min(3, max(1, len(models)))
    n_rows = -(-len(models) // n_columns)
    left, right, gap, head, between = 0.62, 0.1, 0.55, 0.68, 0.42
    foot = 0.52 + _legend_height(shown)
    side = min(2.4, (style.DOUBLE - left - right - (n_columns - 1) * gap) / n_columns)
    fig = style.figure(style.DOUBLE, head + n_rows * side + (n_rows - 1) * between + foot)
    height = fig.get_size_inches()[1]
    style.heading(fig, "Own against other cultures' masks", [
        f"Change of the right option's log-probability, each culture, top {percent(top_fraction)}; below the dashed "
        "line the own mask does more harm",
    ])  # fmt: skip
    for i, model in enumerate(models):
        row, column = divmod(i, n_columns)
        bottom = height - head - (row + 1) * side - row * between
        panel = style.axes(fig, left + column * (side + gap), bottom, side, side)
        draw_own_against_cross(panel, tables, model, shown, top_fraction)
        panel.set_title(title(tables, model, max(12, int(side / 0.062))), pad=3, loc="left")
        if column == 0:
            panel.set_ylabel(down)
        if i + n_columns >= len(models):
            panel.set_xlabel(across)
    _legend(fig, shown)
    return fig
