"""How much of each model's accuracy needs the image."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import Tables, rows
from culture_neurons.report.figures.titles import PLANTED, counted, listed, named

#: How questions were asked: name in figures, colour and marker; in this order from top to bottom.
CONTROLS = {
    "shown": ("with the image", style.BLUE, "o"),
    "blank": ("grey image", style.GREY, "s"),
    "none": ("no image", style.VERMILLION, "D"),
    "swapped": ("another culture's image", style.GREEN, "^"),
}


def count_image_questions(tables: Tables, model: str, name: str | None = None) -> int:
    """Evaluated questions of a model that have an image, of one data set or of all."""
    part = of_set(tables, model, name) if name is not None else rows(tables.more["images"], model)
    return int(part[part["culture"].isna()].groupby("set")["n"].max().sum())


def data_sets(tables: Tables, model: str) -> list[str]:
    """The data sets that a model was asked under image controls, in the order of the table."""
    return list(dict.fromkeys(rows(tables.more["images"], model)["set"]))


def names_sets(tables: Tables) -> bool:
    """Whether a reader must be told which data set a number is of: the run has several."""
    return "sets" in tables.more or tables.more["images"]["set"].nunique() > 1


def of_set(tables: Tables, model: str, name: str) -> pd.DataFrame:
    """The rows of one model and data set."""
    part = rows(tables.more["images"], model)
    return part[part["set"] == name]


def overall(tables: Tables, model: str, name: str) -> pd.DataFrame:
    """Of a data set, per control (index, in the order of `CONTROLS`) the macro averages over cultures, where there are
    any."""
    part = of_set(tables, model, name)
    part = part[part["culture"].isna() & (part["n"] > 0)].set_index("control")
    return part.loc[[control for control in CONTROLS if control in part.index]]


def _panel_rows(tables: Tables, models: list[str]) -> list[tuple[str, str]]:
    """(model, data set) of each row of the figure."""
    return [(model, name) for model in models for name in data_sets(tables, model)]


def caption_images(tables: Tables) -> str:
    """What `plot_images` shows."""
    who = ", ".join(named(tables, m) for m in tables.models)
    words = {"shown": "as they are", "blank": "with a grey image of the same size", "none": "as text alone",
             "swapped": "with the image of another culture"}  # fmt: skip
    known = set(tables.more["images"]["control"])
    how = listed([words[control] for control in CONTROLS if control in known])
    n = counted((count_image_questions(tables, m) for m in tables.models), "question")
    return (
        f"Accuracy on questions that have an image, asked {how}: {who}. Large marks are means over cultures with "
        f"95 % intervals, small dots are single cultures, the dashed line is what guessing gives. "
        f"{n} per model."
    )


def no_images(tables: Tables) -> str:
    """Why there are no accuracies to draw, "" where there are some."""
    pairs = _panel_rows(tables, tables.models)
    return "" if any(len(overall(tables, *pair)) for pair in pairs) else "no question has an image"


@style.with_style
def plot_images(tables: Tables, models: list[str] | None = None, ax: Axes | None = None) -> Figure:
    """Accuracy as asked and under image controls: a row per model and data set, means over cultures, 95 % intervals.

    Small dots are single cultures, the dashed line is what guessing gives. Draws on `ax` if given.
    """
    known = set(tables.more["images"]["model"])
    models = [m for m in (models or tables.models) if m in known]
    pairs = _panel_rows(tables, models)
    # Four marks in a row, and their names below, take more room than three.
    wide = "swapped" in set(tables.more["images"]["control"])
    step, middle = (0.2, 1.5) if wide else (0.27, 1.0)
    if ax is None:
        left, right, head, foot = 1.36, 0.12, 0.42, 0.76 if wide else 0.62
        cell = max(1, len(pairs)) * (0.62 if wide else 0.52)
        fig = style.figure(style.SINGLE, head + cell + foot)
        several = any(tables.is_planted(m) for m in models)
        n = counted((count_image_questions(tables, m) for m in models), "question")
        style.heading(fig, f"Need of the image{f', with the {PLANTED} control' if several else ''}", [
            f"{n} with an image per model",
        ])  # fmt: skip
        ax = style.axes(fig, left, foot, style.SINGLE - left - right, cell)
    drawn: list[str] = []
    for i, pair in enumerate(pairs):
        means, part = overall(tables, *pair), of_set(tables, *pair)
        for control, row in means.iterrows():
            _, colour, marker = CONTROLS[control]
            y = i + step * (list(CONTROLS).index(control) - middle)
            each = part[(part["control"] == control) & part["culture"].notna() & (part["n"] > 0)]["accuracy"]
            # Cultures of one accuracy lie side by side, not on top of each other.
            ax.scatter(100 * each, y + _aside(each), s=5, color=colour, alpha=0.4, linewidths=0, zorder=2)
            ax.plot(
                [100 * row["accuracy_low"], 100 * row["accuracy_high"]], [y, y], color=colour, linewidth=1.2, zorder=3
            )
            ax.plot([100 * row["accuracy"]], [y], color=colour, marker=marker, markersize=5, markeredgecolor="white",
                    markeredgewidth=0.5, linestyle="none", zorder=4)  # fmt: skip
            drawn.append(control)
        if len(means):
            chance = 100 * float(means["chance"].iloc[0])
            ax.plot([chance, chance], [i - 0.45, i + 0.45], color=style.INK, linewidth=0.8, linestyle=(0, (4, 3)))
        if i:
            ax.axhline(i - 0.5, color="#EEEEEE", linewidth=0.6)
    ax.set_ylim(max(1, len(pairs)) - 0.5, -0.5)
    ax.set_xlim(-2, 102)
    names = dict(zip(models, fonts.labels(models, 22), strict=True))
    further = {name: f"\n{fonts.label(name, 22)}" if names_sets(tables) else "" for _, name in pairs}
    ax.set_yticks(range(len(pairs)), [
        f"{names[model]}\n({PLANTED}){further[name]}" if tables.is_planted(model) else names[model] + further[name]
        for model, name in pairs
    ], linespacing=1.1)  # fmt: skip
    ax.set_xlabel("Accuracy (%)")
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)
    if not drawn:
        style.empty_panel(ax, "no question has an image")
        return ax.figure
    shown = [control for control in CONTROLS if control in drawn]
    handles = [Line2D([], [], color=CONTROLS[c][1], marker=CONTROLS[c][2], markersize=4, linewidth=1) for c in shown]
    handles.append(Line2D([], [], color=style.INK, linewidth=0.8, linestyle=(0, (4, 3))))
    height = ax.figure.get_size_inches()[1]
    ax.figure.legend(handles, [*(CONTROLS[c][0] for c in shown), "chance"], loc="lower center",
                     ncols=3 if wide else len(handles),
                     handlelength=1.4, bbox_to_anchor=(0.5, 0.01 / height), columnspacing=0.9,
                     borderaxespad=0.1)  # fmt: skip
    return ax.figure


def _aside(values: pd.Series) -> np.ndarray:
    """Small steps up and down for values that occur more than once, float64 [value]."""
    turn = values.groupby(values).cumcount().to_numpy()
    return np.where(turn % 2, 1, -1) * ((turn + 1) // 2) * 0.035
