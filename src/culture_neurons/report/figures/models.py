"""Figures that put all models side by side: baseline accuracy, and an overview of what masks do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.effects import (
    MEASURES,
    NO_EFFECT,
    _legend,
    compared,
    draw_drops,
    kinds_in_words,
    known_kinds,
    most_own_questions,
    room_for_names,
)
from culture_neurons.report.figures.tables import Tables, percent, questions, rows
from culture_neurons.report.figures.titles import CHANGE, PLANTED, named, plural, title

#: The normal quantile of a 95 % interval.
Z = 1.959964


def wilson(correct: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share (Wilson 1927): lower and upper ends; (0, 1) where n = 0."""
    n = np.asarray(n, dtype=float)
    p = np.where(n > 0, np.asarray(correct, dtype=float) / np.maximum(n, 1), 0.5)
    weight = Z * Z / np.maximum(n, 1e-9)
    centre = (p + weight / 2) / (1 + weight)
    half = Z * np.sqrt(p * (1 - p) / np.maximum(n, 1e-9) + (Z / (2 * np.maximum(n, 1e-9))) ** 2) / (1 + weight)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def _chance(tables: Tables) -> str:
    """What guessing gives, where the baseline table says so and all cultures agree."""
    if "chance" not in tables.baseline.columns:
        return ""
    levels = set((100 * pd.to_numeric(tables.baseline["chance"]).dropna()).round(1))
    return f"; chance: {levels.pop():g}\N{NO-BREAK SPACE}%" if len(levels) == 1 else ""


def caption_baseline(tables: Tables) -> str:
    """What `plot_baseline` shows."""
    who = ", ".join(named(tables, m) for m in tables.models)
    n = max((questions(tables, m) or 0 for m in tables.models), default=0)
    return f"Accuracy without any mask, per culture, with Wilson's 95 % interval: {who}. {plural(n, 'question')} each."


def no_baseline(tables: Tables) -> str:
    """Why there is no accuracy to draw, "" where there is some."""
    n, accuracy = (pd.to_numeric(tables.baseline[column]) for column in ("n", "accuracy"))
    return "" if ((n > 0) & accuracy.notna()).any() else "no question was evaluated"


@style.with_style
def plot_baseline(tables: Tables, models: list[str] | None = None, ax: Axes | None = None) -> Figure:
    """Accuracy without any mask, per culture and model, with Wilson's 95 % interval.

    Accuracies of the table are shares (0 to 1) and shown in %.
    """
    models = list(models or tables.models)
    cultures = sorted(set(tables.baseline.loc[tables.baseline["model"].isin(models), "culture"]))
    alone = ax is None
    if alone:
        spread = 0.095 if len(models) > 1 else 0.16
        cell = max(0.17, spread * len(models))
        head, foot = 0.46, 0.4 + 0.15 * -(-len(models) // 2)
        fig = style.figure(style.SINGLE, head + foot + cell * max(1, len(cultures)))
        n = sum(questions(tables, m) or 0 for m in models[:1])
        several = any(tables.is_planted(m) for m in models)
        style.heading(fig, f"Baseline accuracy{f', with the {PLANTED} control' if several else ''}", [
            f"{plural(n, 'question')} per model, 95\N{NO-BREAK SPACE}% intervals{_chance(tables)}",
        ])  # fmt: skip
        height = fig.get_size_inches()[1]
        ax = style.axes(fig, 1.36, foot, style.SINGLE - 1.36 - 0.12, height - head - foot)
    half = min(0.32, 0.18 * (len(models) - 1))
    offsets = np.linspace(-half, half, len(models))
    at = {culture: i for i, culture in enumerate(cultures)}
    handles = []
    for i in range(0, len(cultures), 2):
        ax.axhspan(i - 0.5, i + 0.5, color="#F4F4F4", linewidth=0)
    lowest = 1.0
    for i, model in enumerate(models):
        part = rows(tables.baseline, model)
        n = pd.to_numeric(part["n"]).to_numpy(dtype=float)
        accuracy = pd.to_numeric(part["accuracy"]).to_numpy(dtype=float)
        seen = np.isfinite(accuracy) & (n > 0)
        part, n, accuracy = part[seen], n[seen], accuracy[seen]
        y = part["culture"].map(at).to_numpy(dtype=float) + offsets[i]
        low, high = wilson(accuracy * n, n)
        colour, marker = style.SERIES[i % 7], style.MARKERS[i % 7]
        ax.hlines(y, 100 * low, 100 * high, color=colour, linewidth=0.8, alpha=0.6)
        ax.scatter(100 * accuracy, y, s=13, color=colour, marker=marker, linewidths=0, zorder=3)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=0.8))
        lowest = min(lowest, float(low.min(initial=1.0)))
    ax.set_ylim(max(1, len(cultures)) - 0.5, -0.5)
    ax.set_xlim(100 * max(0.0, lowest - 0.03), 101)
    style.named_axis(ax.yaxis, cultures)
    ax.set_xlabel("Accuracy (%)")
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)
    if handles:
        texts = [title(tables, m, 30) for m in models]
        h = ax.figure.get_size_inches()[1]
        below = {"loc": "lower center", "ncols": 2 if len(texts) > 1 else 1, "bbox_to_anchor": (0.5, 0.01 / h)}
        where = (ax.figure, below) if alone else (ax, {"loc": "best", "framealpha": 0.8})
        where[0].legend(handles, texts, handlelength=1.2, columnspacing=1.0, borderaxespad=0.1, **where[1])
    return ax.figure


def caption_overview(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """What `plot_overview` shows."""
    who = ", ".join(named(tables, m) for m in tables.models)
    shown = compared(tables, tables.models, selectors)
    n = max((most_own_questions(tables, m, shown, [top_fraction]) for m in tables.models), default=0)
    words = {"self": "on the own culture", "cross": "on other cultures", "random": "under random masks"}
    drawn = [kind for m in tables.models for kind in known_kinds(tables, m, shown, [top_fraction])]
    places = kinds_in_words(drawn, words)
    return (
        f"Change {places}{places and ' '}(top {percent(top_fraction)}), by selector and model: {who}. "
        f"{plural(n, 'evaluated question')} per model. Each model has a scale of its own."
    )


def no_overview(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """Why there are no changes to draw, "" where there are some."""
    return "" if any(known_kinds(tables, model, selectors, [top_fraction]) for model in tables.models) else NO_EFFECT


@style.with_style
def plot_overview(tables: Tables, models: list[str], selectors: list[str], top_fraction: float) -> Figure:
    """Self, cross and random changes by selector: a column of panels per model, each with its own scale."""
    shown = compared(tables, models, selectors)
    left, right, gap, foot, between = max(1.1, room_for_names(shown)), 0.1, 0.16, 0.62, 0.5
    head = 0.78 if any(tables.is_planted(m) for m in models) else 0.64
    columns = max(1, len(models))
    width = min(2.6, (style.DOUBLE - left - right - (columns - 1) * gap) / columns)
    total = columns * width + (columns - 1) * gap
    cell = max(0.6, 0.24 * len(shown))
    fig = style.figure(style.DOUBLE, head + 2 * cell + between + foot)
    height = fig.get_size_inches()[1]
    n = max((most_own_questions(tables, m, shown, [top_fraction]) for m in models), default=0)
    planted = any(tables.is_planted(m) for m in models)
    style.heading(fig, f"What masking a culture's neurons does{f', with the {PLANTED} control' if planted else ''}", [
        f"Change of the mean over cultures ({CHANGE}), top {percent(top_fraction)}; {plural(n, 'question')} per model"
        + ("; scales differ" if len(models) > 1 else ""),
    ])  # fmt: skip
    for row, measure in enumerate(MEASURES):
        panels = []
        for i, model in enumerate(models):
            ax = style.axes(fig, left + i * (width + gap), height - head - cell - row * (cell + between), width, cell)
            draw_drops(ax, tables, model, shown, top_fraction, measure, each=False)
            ax.tick_params(labelleft=i == 0)
            ax.set_xlabel("")
            if row == 0:
                name = fonts.label(model, max(10, int(width / 0.062)))
                ax.set_title(name + (f"\n({PLANTED})" if tables.is_planted(model) else ""), pad=3, linespacing=1.1)
            panels.append(ax)
        for ax in panels:  # each has its own scale: beside a planted model, ordinary ones would be a line at 0
            style.ticks(ax.xaxis, max(2, int(width / 0.42)))
        y = height - head - cell - row * (cell + between) - 0.3
        fig.text((left + total / 2) / style.DOUBLE, y / height, MEASURES[measure][1], ha="center", va="center")
    _legend(fig, [k for m in models for k in known_kinds(tables, m, shown, [top_fraction])], small=False)
    return fig
