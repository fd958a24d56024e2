"""Accuracy without any mask, all models side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import style
from culture_neurons.report.figures.tables import Tables, questions, rows
from culture_neurons.report.figures.titles import PLANTED, counted, named, title

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
    each = pd.to_numeric(tables.baseline["n"]).dropna().astype(int)
    return (
        f"Accuracy without any mask, per culture, with Wilson's 95 % interval: {who}. "
        f"{counted(_per_model(tables, tables.models), 'question')} per model, {counted(each, 'question')} per culture."
    )


def _per_model(tables: Tables, models: Sequence[str]) -> list[int]:
    """Evaluated questions of each model."""
    return [questions(tables, model) or 0 for model in models]


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
        several = any(tables.is_planted(m) for m in models)
        style.heading(fig, f"Baseline accuracy{f', with the {PLANTED} control' if several else ''}", [
            f"{counted(_per_model(tables, models), 'question')} per model, 95\N{NO-BREAK SPACE}% intervals"
            f"{_chance(tables)}",
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
