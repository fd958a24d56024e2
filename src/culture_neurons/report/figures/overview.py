"""What the verdicts rest on: how much more a culture's own mask does than random ones, and than other cultures'."""

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
    SMALLEST,
    compared,
    own_questions,
    room_for_names,
    selector_labels,
)
from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import MINUS, PLANTED, listed, named, title

#: Comparison of evidence.csv -> the kind of mark of what it is held against, and its words.
AGAINST = {
    "self-vs-random": ("random", f"own {MINUS} random masks"),
    "self-vs-cross": ("cross", f"own {MINUS} other cultures' masks"),
}
#: Labels of the axes.
LABELS = {"accuracy": "Difference in accuracy (points)", "logprob": "Difference in log-probability (nats)"}


def contrasts(tables: Tables, model: str, selector: str, top_fraction: float, measure: str) -> pd.DataFrame:
    """Rows of evidence.csv with a difference, float64, indexed by comparison: `difference`; `low` and `high`, its
    interval over questions; `both_low` and `both_high`, over questions and masks (nan where there is none)."""
    part = rows(tables.evidence, model, selector, top_fraction)
    part = part[(part["measure"] == measure) & part["comparison"].isin(list(AGAINST))].set_index("comparison")
    part = part.rename(columns={"ci_low": "low", "ci_high": "high"})
    columns = ["difference", "low", "high", "both_low", "both_high"]
    part = part.reindex(columns=columns).astype(float)
    return part[np.isfinite(part["difference"])]


def _with_masks(tables: Tables, models: Sequence[str], selectors: Sequence[str], top_fraction: float) -> bool:
    """Whether any difference has an interval over questions and masks."""
    return any(
        np.isfinite(contrasts(tables, m, s, top_fraction, of)["both_low"]).any()
        for m in models for s in selectors for of in MEASURES
    )  # fmt: skip


def draw_overview(
    ax: Axes, tables: Tables, model: str, selectors: Sequence[str], top_fraction: float, measure: str
) -> None:
    """Differences on `ax`, a row per selector, first on top: thick intervals over questions, thin ones over questions
    and masks."""
    ax.axvline(0, color="#999999", linewidth=0.7)
    ends = [0.0]
    for y, selector in enumerate(selectors):
        if y:
            ax.axhline(y - 0.5, color="#EEEEEE", linewidth=0.6)
        differences = contrasts(tables, model, selector, top_fraction, measure)
        for comparison, (kind, _) in AGAINST.items():
            if comparison not in differences.index:
                continue
            at, line = differences.loc[comparison], y + {"random": -0.17, "cross": 0.17}[kind]
            colour = style.KINDS[kind][0]
            for low, high, width in (("both_low", "both_high", 0.8), ("low", "high", 2.2)):
                ax.plot([at[low], at[high]], [line, line], color=colour, linewidth=width, zorder=3,
                        solid_capstyle="butt")  # fmt: skip
            ax.plot([at["difference"]], [line], linestyle="none", zorder=4, **style.mark(kind, 5))
            ends += [v for v in at if np.isfinite(v)]
    ax.set_ylim(max(1, len(selectors)) - 0.5, -0.5)
    ax.set_yticks(range(len(selectors)), selector_labels(selectors))
    smallest = SMALLEST[measure]
    if max(-min(ends), max(ends)) < smallest:  # do not blow noise up to the width of the panel
        ax.set_xlim(min(-1.1 * smallest, 1.1 * min(ends)), max(0.35 * smallest, 1.1 * max(ends)))
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)


def caption_overview(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """What `plot_overview` shows."""
    models = tables.models
    shown = compared(tables, models, selectors)
    intervals = "95 % intervals over questions"
    if _with_masks(tables, models, shown, top_fraction):
        intervals += " (thick), and over questions and masks (thin), which belong to the verdicts before adjustment"
    n = own_questions(tables, models, shown, [top_fraction], "evaluated question")
    return (
        f"Change of a culture's questions under its own mask (top {percent(top_fraction)}), less that under random "
        f"masks (diamonds) and under the other cultures' masks (squares), mean over cultures: "
        f"{', '.join(named(tables, m) for m in models)}; left of 0 the own mask does more harm, and an effect is "
        f"culture-specific only where both differences are. {intervals}; {n} per model"
        f"{', scales differ' if len(models) > 1 else ''}{_without_random(tables, shown, top_fraction)}."
    )


def _without_random(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """Which selectors have no random masks of their size, by model, as the end of a sentence; "" if there is none."""
    missing: dict[str, list[str]] = {}
    for model in tables.models:
        for selector in selectors:
            if "self-vs-cross" in (of := contrasts(tables, model, selector, top_fraction, "logprob").index):
                missing.setdefault(selector_name(selector), []).extend([model] * ("self-vs-random" not in of))
    texts = [f"{name} ({', '.join(models)})" for name, models in missing.items() if models]
    return f"; no random masks of its size beside {listed(texts)}" if texts else ""


def no_overview(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """Why there are no differences to draw, "" where there are some."""
    known = any(
        len(contrasts(tables, m, s, top_fraction, of)) for m in tables.models for s in selectors for of in MEASURES
    )
    return "" if known else "no mask was held against others"


@style.with_style
def plot_overview(tables: Tables, models: list[str], selectors: list[str], top_fraction: float) -> Figure:
    """Differences by selector: a column of panels per model, each with its own scale; of one model side by side."""
    shown = compared(tables, models, selectors)
    alone = len(models) == 1
    grid = [(m, of, 0, i) if alone else (m, of, i, j) for j, m in enumerate(models) for i, of in enumerate(MEASURES)]
    n_rows, n_columns = (1, len(MEASURES)) if alone else (len(MEASURES), max(1, len(models)))
    left, right, gap, foot, between = max(1.1, room_for_names(shown)), 0.12, 0.2, 0.62, 0.5
    planted = any(tables.is_planted(m) for m in models)
    head = 0.46 if alone else 0.7 if planted else 0.58
    width = (style.DOUBLE - left - right - (n_columns - 1) * gap) / n_columns
    cell = max(0.6, 0.24 * len(shown))
    fig = style.figure(style.DOUBLE, head + n_rows * cell + (n_rows - 1) * between + foot)
    height = fig.get_size_inches()[1]
    n = own_questions(tables, models, shown, [top_fraction], "question")
    name = title(tables, models[0]) if alone else f"All models{f', with the {PLANTED} control' if planted else ''}"
    style.heading(fig, f"{name}: does a culture's own mask do more than other masks?", [
        f"Difference of changes, own {MINUS} other masks, mean over cultures, 95\N{NO-BREAK SPACE}% intervals, top "
        f"{percent(top_fraction)}; {n}" + ("" if alone else " per model; scales differ"),
    ])  # fmt: skip
    for model, measure, row, column in grid:
        bottom = height - head - cell - row * (cell + between)
        ax = style.axes(fig, left + column * (width + gap), bottom, width, cell)
        draw_overview(ax, tables, model, shown, top_fraction, measure)
        ax.tick_params(labelleft=column == 0)
        style.ticks(ax.xaxis, max(2, min(6, int(width / 0.42))))  # beside a planted model, others would be a line at 0
        if alone:
            ax.set_xlabel(LABELS[measure])
        elif row == 0:
            of = fonts.label(model, max(10, int(width / 0.062)))
            ax.set_title(of + (f"\n({PLANTED})" if tables.is_planted(model) else ""), pad=3, linespacing=1.1)
        if not alone and column == 0:
            middle = (left + (n_columns * width + (n_columns - 1) * gap) / 2) / style.DOUBLE
            fig.text(middle, (bottom - 0.3) / height, LABELS[measure], ha="center", va="center")
    _legend(fig, _with_masks(tables, models, shown, top_fraction))
    return fig


def _legend(fig: Figure, thin: bool) -> None:
    handles = [Line2D([], [], linestyle="none", **style.mark(kind, 5)) for kind, _ in AGAINST.values()]
    texts = [words for _, words in AGAINST.values()]
    if thin:
        handles += [Line2D([], [], color=style.INK, linewidth=width) for width in (2.2, 0.8)]
        texts += ["over questions", "over questions and masks"]
    height = fig.get_size_inches()[1]
    fig.legend(handles, texts, loc="lower center", ncols=len(texts), bbox_to_anchor=(0.5, 0.01 / height),
               handlelength=1.4, handletextpad=0.4, columnspacing=1.2, borderaxespad=0.1)  # fmt: skip
