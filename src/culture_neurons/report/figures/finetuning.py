"""What training a few modules on another task does to the answers to each data set."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.analysis.significance import HIGHER, LEVEL, LOWER, direction
from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import Tables, rows
from culture_neurons.report.figures.titles import MINUS, listed, named, plural, title

#: Which modules were updated: colour and marker; in this order from top to bottom.
CHOICES = {"richest": (style.VERMILLION, "o"), "poorest": (style.BLUE, "s"), "random": (style.GREY, "D")}
#: What a set's name carries where its accuracy ends lower with the richest modules than with the poorest, or higher.
MARKS = {LOWER: " *", HIGHER: " \N{DAGGER}"}


def rows_of_all_cultures(tables: Tables, model: str) -> pd.DataFrame:
    """Rows of a model for all cultures together and the mean over seeds; none where it was not fine-tuned."""
    part = rows(tables.more["finetuning"], model) if "finetuning" in tables.more else pd.DataFrame()
    return part[part["culture"].isna() & part["seed"].isna()] if len(part) else part


def seeds(tables: Tables, model: str) -> int:
    """How many seeds were run."""
    return int(rows(tables.more["finetuning"], model)["seed"].nunique())


def differing(part: pd.DataFrame) -> dict[str, str]:
    """Set -> `significance.direction` of the richest modules' change of accuracy against the poorest's, of one task."""
    rich = part[part["choice"] == "richest"]
    columns = (rich[name] for name in ("set", "change_vs_poorest", "change_vs_poorest_p_adjusted"))
    return {str(name): direction(change, p) for name, change, p in zip(*columns, strict=True)}


def caption_finetuning(tables: Tables, model: str) -> str:
    """What `plot_finetuning` shows."""
    part = rows_of_all_cultures(tables, model)
    tasks, n = list(dict.fromkeys(map(str, part["task"]))), plural(int(part["n"].max()), "question")
    return (
        f"{named(tables, model)}: change of accuracy on each data set (at most {n}) after training on "
        f"{listed(tasks)}, with the modules updated that are richest or poorest in chosen neurons, or random "
        f"ones; mean over {plural(seeds(tables, model), 'seed')}. Where richest and poorest differ (paired sign flips, "
        f"two-sided, adjusted p < {LEVEL:g}), a star: the richest end lower; a dagger: they end higher. "
        f"Right: accuracy on held-out questions of the task, from before (bar) to after (mark)."
    )


def no_finetuning(tables: Tables, model: str) -> str:
    """Why there is nothing to draw, "" where there is something."""
    return "" if len(rows_of_all_cultures(tables, model)) else "not fine-tuned"


@style.with_style
def plot_finetuning(tables: Tables, model: str) -> Figure:
    """Left, change of accuracy per set, a mark with its 95 % interval for each choice of modules; right, accuracy on
    held-out questions of the task before and after. A block per task."""
    part = rows_of_all_cultures(tables, model)
    tasks = {str(task): of for task, of in part.groupby("task", sort=False)} if len(part) else {}
    sets = list(dict.fromkeys(part["set"])) if len(part) else []
    left, middle, right, gap, head, foot, row = 1.1, 1.25, 0.62, 0.24, 0.4, 0.62, 0.3
    tall = max(1, len(sets)) * row
    blocks = max(1, len(tasks))
    fig = style.figure(style.SINGLE, head + blocks * (tall + gap) + foot)
    many = f", {plural(seeds(tables, model), 'seed')}" if tasks else ""
    style.heading(fig, title(tables, model), [
        f"Fine-tuned {MINUS} before{many}, 95\N{NO-BREAK SPACE}% intervals"
    ])  # fmt: skip
    limits = _limits(part)
    for i, (task, of) in enumerate(tasks.items()):
        bottom = foot + (blocks - 1 - i) * (tall + gap)
        change = style.axes(fig, left, bottom, middle, tall)
        gain = style.axes(fig, left + middle + 0.2, bottom, right, tall)
        _changes(change, of, sets, limits)
        _gains(gain, of)
        h = fig.get_size_inches()[1]
        name = fonts.label(task, 30)
        fig.text(0.06 / style.SINGLE, (bottom + tall + 0.05) / h, f"on {name}", fontsize=style.SMALL, va="bottom")
        if i + 1 == blocks:
            change.set_xlabel("Accuracy (points)")
            gain.set_xlabel("Task (%)")
        else:
            change.tick_params(labelbottom=False)
            gain.tick_params(labelbottom=False)
    if not tasks:
        style.empty_panel(style.axes(fig, left, foot, middle, tall), "not fine-tuned")
        return fig
    shown = [choice for choice in CHOICES if choice in set(part["choice"])]
    handles = [Line2D([], [], marker=CHOICES[c][1], color=CHOICES[c][0], markersize=4, linewidth=1) for c in shown]
    height = fig.get_size_inches()[1]
    names = [f"{choice} modules" if choice == shown[0] else choice for choice in shown]
    fig.legend(handles, names, ncols=len(shown), loc="lower center", bbox_to_anchor=(0.5, 0.02 / height),
               handlelength=1.4, borderaxespad=0.1)  # fmt: skip
    return fig


def _limits(part: pd.DataFrame) -> tuple[float, float]:
    """One range of changes for all tasks, 0 in it."""
    if not len(part):
        return -1.0, 1.0
    low, high = float(part["change_low"].min()), float(part["change_high"].max())
    room = 0.06 * max(1.0, high - low)
    return min(0.0, low) - room, max(0.0, high) + room


def _changes(ax: Axes, part: pd.DataFrame, sets: list[str], limits: tuple[float, float]) -> None:
    ax.axvline(0, color=style.INK, linewidth=0.6)
    for i, name in enumerate(sets):
        for choice, record in part[part["set"] == name].set_index("choice").iterrows():
            colour, marker = CHOICES[str(choice)]
            y = i + 0.26 * (list(CHOICES).index(str(choice)) - 1)
            ax.plot([record["change_low"], record["change_high"]], [y, y], color=colour, linewidth=1.1, zorder=3)
            ax.plot([record["change"]], [y], color=colour, marker=marker, markersize=4.2, markeredgecolor="white",
                    markeredgewidth=0.5, linestyle="none", zorder=4)  # fmt: skip
        if i:
            ax.axhline(i - 0.5, color="#EEEEEE", linewidth=0.6)
    directions = differing(part)
    labels = fonts.labels(sets, 15)
    names = [label + MARKS.get(directions.get(name, ""), "") for name, label in zip(sets, labels, strict=True)]
    ax.set_yticks(range(len(sets)), names)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(sets) - 0.5, -0.5)
    ax.set_xlim(*limits)
    style.ticks(ax.xaxis, 4)
    style.fixed_ticks(ax)


def _gains(ax: Axes, part: pd.DataFrame) -> None:
    """From the accuracy before (a short bar) to the one after, a row per choice."""
    once = part.drop_duplicates("choice").set_index("choice")
    for choice, record in once.iterrows():
        colour, marker = CHOICES[str(choice)]
        y = list(CHOICES).index(str(choice))
        before, after = 100 * record["task_accuracy_before"], 100 * record["task_accuracy_after"]
        ax.plot([before, after], [y, y], color=colour, linewidth=1.1, zorder=3)
        ax.plot([before], [y], color=colour, marker="|", markersize=6, linestyle="none", zorder=3)
        ax.plot([after], [y], color=colour, marker=marker, markersize=4.2, markeredgecolor="white",
                markeredgewidth=0.5, linestyle="none", zorder=4)  # fmt: skip
    ax.set_ylim(len(CHOICES) - 0.4, -0.6)
    ax.set_yticks([])
    values = 100 * once[["task_accuracy_before", "task_accuracy_after"]].to_numpy(float)
    ax.set_xlim(max(0.0, 10 * np.floor(float(np.nanmin(values)) / 10 - 0.5)), 102)
    style.ticks(ax.xaxis, 2)
    style.fixed_ticks(ax)
