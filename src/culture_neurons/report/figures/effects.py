"""What masks do: drops by selector, and drops against the size of the mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import (
    Tables,
    drops,
    is_control,
    own_changes,
    percent,
    percent_tick,
    rows,
    selector_name,
)
from culture_neurons.report.figures.titles import CHANGE, counted, listed, named, title

#: The measures: column of `effects`, label of an axis, decimals in a cell.
MEASURES = {
    "accuracy": ("drop", "Accuracy change (points)", 0),
    "logprob": ("logprob_drop", "Log-probability change (nats)", 1),
}
KINDS = {"self": "own culture", "cross": "other cultures", "random": "random mask"}
#: Below this, a change is drawn on a scale of this size, so that noise does not fill the figure.
SMALLEST = {"accuracy": 2.0, "logprob": 0.1}
#: Fractions with a label on the axis of a dose, at most.
LABELLED = 4
#: Columns that the name of a selector may take beside its row, and inches that a column takes there.
NAME, COLUMN = 24, 0.062
#: Why nothing is drawn of a mask's effects.
NO_EFFECT = "no question was asked under a mask"


def count_questions(tables: Tables, model: str, selector: str, top_fraction: float) -> int:
    """Number of evaluated questions: summed over cultures, each counted under one mask."""
    part = rows(tables.effects, model, selector, top_fraction)
    return int(part.groupby("eval_culture")["n"].max().sum()) if len(part) else 0


def count_own_questions(tables: Tables, model: str, selector: str, top_fraction: float) -> int:
    """Number of evaluated questions of cultures that have a mask: those that self and cross are means over."""
    part = rows(tables.effects, model, selector, top_fraction)
    return int(part.loc[part["mask_culture"] == part["eval_culture"], "n"].sum())


def own_questions(
    tables: Tables, models: Iterable[str], selectors: Iterable[str], fractions: Iterable[float], noun: str
) -> str:
    """`count_own_questions` in words, over models, selectors and fractions (none: all that a selector has): "80
    questions", or a range where they differ. Selectors without a question under their masks do not count."""
    selectors, fractions = list(selectors), list(fractions)
    counts = {
        count_own_questions(tables, m, s, r)
        for m in models for s in selectors for r in fractions or _fractions(tables, m, s)
    }  # fmt: skip
    return counted(counts - {0}, noun)


def compared(tables: Tables, models: Iterable[str], selectors: Iterable[str]) -> list[str]:
    """Selectors without those that are random controls in all `models`; all of them where that leaves none."""
    models, selectors = list(models), list(selectors)
    return [s for s in selectors if not all(is_control(tables, m, s) for m in models)] or selectors


def known_kinds(
    tables: Tables, model: str, selectors: Iterable[str], fractions: Iterable[float], measures: Iterable[str] = MEASURES
) -> list[str]:
    """Those of `KINDS` that the tables have a value of, in the order of `KINDS`: what figures draw and captions name.

    A random control is not compared with itself.
    """
    fractions, measures = list(fractions), list(measures)
    measured: set[str] = set()
    for selector in selectors:
        values = [drops(tables, model, selector, r, measure) for r in fractions for measure in measures]
        measured |= {k for k in KINDS if (k != "random" or not is_control(tables, model, selector))
                     and any(np.isfinite(v[k].value) for v in values)}  # fmt: skip
    return [kind for kind in KINDS if kind in measured]


def kinds_in_words(drawn: Iterable[str], words: Mapping[str, str]) -> str:
    """The words of the kinds that were drawn, in the order of `KINDS`."""
    drawn = set(drawn)
    return listed([words[kind] for kind in KINDS if kind in drawn])


def caption_drops(tables: Tables, model: str, selectors: Sequence[str], top_fraction: float) -> str:
    """What `plot_drops` shows."""
    n = own_questions(tables, [model], selectors, [top_fraction], "evaluated question")
    words = {"self": "on its own questions", "cross": "on the other cultures'", "random": "under random masks"}
    places = kinds_in_words(known_kinds(tables, model, selectors, [top_fraction]), words)
    return (
        f"{named(tables, model)}: change of accuracy (points) and of the right option's log-probability (nats) when a "
        f"culture's neurons (top {percent(top_fraction)}) are masked{places and ': '}{places}. "
        f"{n}; small dots are single cultures, large marks are means over cultures with 95 % intervals over questions."
    )


def no_drops(tables: Tables, model: str, selectors: Sequence[str], top_fraction: float) -> str:
    """Why there are no drops to draw, "" where there are some."""
    return "" if known_kinds(tables, model, selectors, [top_fraction]) else NO_EFFECT


def _legend(fig: Figure, drawn: Iterable[str], small: bool) -> None:
    """What the marks of the kinds that were drawn mean; `small` adds the small dots."""
    drawn = [kind for kind in KINDS if kind in set(drawn)]
    handles = [Line2D([], [], linestyle="none", **style.mark(k, 5)) for k in drawn]
    texts = [KINDS[k] for k in drawn]
    if small:
        handles.append(Line2D([], [], color=style.VERMILLION, marker="o", linestyle="none", markersize=2.5, alpha=0.45))
        texts.append("own culture, each")
    if not texts:
        return
    h = fig.get_size_inches()[1]
    fig.legend(handles, texts, loc="lower center", ncols=len(texts), bbox_to_anchor=(0.5, 0.01 / h),
               handletextpad=0.2, columnspacing=1.2, borderaxespad=0.1)  # fmt: skip


def selector_labels(selectors: Sequence[str]) -> list[str]:
    """Names of selectors beside their rows."""
    return fonts.labels([selector_name(selector) for selector in selectors], NAME)


def room_for_names(selectors: Sequence[str]) -> float:
    """Inches that these take beside an axis."""
    return 0.16 + COLUMN * max(map(len, selector_labels(selectors)), default=0)


def draw_drops(
    ax: Axes, tables: Tables, model: str, selectors: list[str], top_fraction: float, measure: str = "accuracy",
    each: bool = True,
) -> None:  # fmt: skip
    """Self, cross and random changes on `ax` with 95 % intervals, one row per selector, first on top.

    `each` adds every culture's own change as a small dot.
    """
    column, text, _ = MEASURES[measure]
    offsets = {"self": -0.16, "cross": 0.07, "random": 0.3}
    ax.axvline(0, color="#999999", linewidth=0.7)
    for i in range(1, len(selectors)):
        ax.axhline(i - 0.5, color="#EEEEEE", linewidth=0.6)
    low, high = 0.0, 0.0  # of all that is drawn
    for i, selector in enumerate(selectors):
        own = own_changes(tables, model, selector, top_fraction, column)
        if each and len(own):
            ax.scatter(own, np.full(len(own), i - 0.36), s=5, color=style.VERMILLION, alpha=0.45,
                       linewidths=0, zorder=2)  # fmt: skip
            low, high = min(low, float(own.min())), max(high, float(own.max()))
        values = drops(tables, model, selector, top_fraction, measure)
        for kind in known_kinds(tables, model, [selector], [top_fraction], [measure]):
            at, y = values[kind], i + offsets[kind]
            ax.plot([at.low, at.high], [y, y], color=style.KINDS[kind][0], linewidth=1.2, zorder=3)
            ax.plot([at.value], [y], linestyle="none", zorder=4, **style.mark(kind, 5))
            ends = [v for v in (at.value, at.low, at.high) if np.isfinite(v)]
            low, high = min([low, *ends]), max([high, *ends])
    ax.set_ylim(len(selectors) - 0.5, -0.5)
    ax.set_yticks(range(len(selectors)), selector_labels(selectors))
    smallest = SMALLEST[measure]
    if max(-low, high) < smallest:  # do not blow noise up to the width of the figure, and cut nothing off
        ax.set_xlim(min(-1.1 * smallest, 1.1 * low), max(0.35 * smallest, 1.1 * high))
    style.ticks(ax.xaxis, 6)
    ax.set_xlabel(text)
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)


@style.with_style
def plot_drops(
    tables: Tables, model: str, selectors: list[str], top_fraction: float, ax: Axes | None = None,
    measure: str = "accuracy",
) -> Figure:  # fmt: skip
    """Change on the own culture, on the others, and under random masks, by selector; both measures.

    With `ax`, one `measure` on it.
    """
    if ax is not None:
        draw_drops(ax, tables, model, selectors, top_fraction, measure)
        ax.set_title(f"{title(tables, model)}: top {percent(top_fraction)}", loc="left")
        return ax.figure
    left, right, gap, head, foot = max(1.3, room_for_names(selectors)), 0.12, 0.25, 0.5, 0.6
    width, height = (style.DOUBLE - left - right - gap) / 2, max(1, len(selectors)) * 0.3
    fig = style.figure(style.DOUBLE, head + height + foot)
    n = own_questions(tables, [model], selectors, [top_fraction], "question")
    style.heading(fig, title(tables, model, 60), [
        f"What masking does, by selector ({CHANGE}), top {percent(top_fraction)}; {n}",
    ])  # fmt: skip
    for i, measure in enumerate(MEASURES):
        ax = style.axes(fig, left + i * (width + gap), foot, width, height)
        draw_drops(ax, tables, model, selectors, top_fraction, measure)
        ax.tick_params(labelleft=i == 0)
    own = any(len(own_changes(tables, model, s, top_fraction, c)) for s in selectors for c, *_ in MEASURES.values())
    _legend(fig, known_kinds(tables, model, selectors, [top_fraction]), small=own)
    return fig


def draw_dose(ax: Axes, tables: Tables, model: str, selector: str, measure: str = "accuracy") -> None:
    """Self, cross and random changes of one selector against the top fraction (log scale) on `ax`."""
    part = rows(tables.summary, model, selector)
    fractions = sorted(set(part["top_fraction"].astype(float)))
    ax.axhline(0, color="#999999", linewidth=0.7)
    ax.set_xscale("log")
    if not fractions:
        style.empty_panel(ax, "no result")
        return
    # Before anything is drawn: matplotlib can't find limits for a single fraction by itself.
    ax.set_xlim(fractions[0] / 1.6, fractions[-1] * 1.6)
    values = [drops(tables, model, selector, r, measure) for r in fractions]
    drawn = known_kinds(tables, model, [selector], fractions, [measure])
    for kind in sorted(drawn, key=("cross", "self", "random").index):
        ax.vlines(fractions, [v[kind].low for v in values], [v[kind].high for v in values],
                  color=style.KINDS[kind][0], linewidth=1.0, alpha=0.7)  # fmt: skip
        ax.plot(fractions, [v[kind].value for v in values], linewidth=1.1, **style.mark(kind, 4.2))
    ax.xaxis.set_major_locator(FixedLocator(_thin(fractions)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(percent_tick))
    style.ticks(ax.yaxis, 4)
    style.fixed_ticks(ax)


def _thin(fractions: list[float]) -> list[float]:
    """At most `LABELLED` of the fractions, first and last among them: room for their labels."""
    if len(fractions) <= LABELLED:
        return fractions
    return [fractions[round(i)] for i in np.linspace(0, len(fractions) - 1, LABELLED)]


def caption_dose(tables: Tables, model: str, selectors: Sequence[str]) -> str:
    """What `plot_dose` shows."""
    shown = compared(tables, [model], selectors)
    n = own_questions(tables, [model], shown, [], "evaluated question")
    missing = without_random(tables, model, shown)
    return (
        f"{named(tables, model)}: change of accuracy and of the right option's log-probability against the size of the "
        f"mask, as a share of all neurons (log scale), with 95 % intervals over questions. {n}."
        f"{f' {missing}.' if missing else ''}"
    )


def without_random(tables: Tables, model: str, selectors: Iterable[str]) -> str:
    """A note on the masks that have no random masks of their size to compare with, "" where all have."""
    missing = []
    for selector in selectors:
        values = {r: drops(tables, model, selector, r, "logprob") for r in _fractions(tables, model, selector)}
        known = [r for r, of in values.items() if np.isfinite(of["self"].value)]
        lacking = [r for r in known if not np.isfinite(values[r]["random"].value)]
        if lacking and not is_control(tables, model, selector):
            sizes = f" ({', '.join(map(percent, lacking))})" if len(lacking) < len(known) else ""
            missing.append(selector_name(selector) + sizes)
    return f"No random masks of the same size were judged beside {listed(missing)}" if missing else ""


def no_dose(tables: Tables, model: str, selectors: Sequence[str]) -> str:
    """Why there is no dose to draw, "" where there is some."""
    return "" if any(known_kinds(tables, model, [s], _fractions(tables, model, s)) for s in selectors) else NO_EFFECT


@style.with_style
def plot_dose(
    tables: Tables, model: str, selectors: list[str], ax: Axes | None = None, measure: str = "accuracy"
) -> Figure:
    """Change against the top fraction: a column of panels per selector, accuracy above log-probability.

    With `ax`, the first selector and one `measure` on it.
    """
    if ax is not None:
        draw_dose(ax, tables, model, selectors[0], measure)
        ax.set_title(f"{title(tables, model)}: {selector_name(selectors[0])}", loc="left")
        ax.set_xlabel("Top fraction (%)")
        ax.set_ylabel(MEASURES[measure][1])
        return ax.figure
    shown = compared(tables, [model], selectors)
    blocks = -(-len(shown) // 5) or 1
    n_columns = max(1, -(-len(shown) // blocks))
    left, right, gap, head, cell, gap_y, foot = 0.72, 0.1, 0.14, 0.66, 0.9, 0.14, 0.66
    missing = fonts.shorten(without_random(tables, model, shown), 110)
    head += 0.14 * bool(missing)
    between = 0.62  # room for ticks and names between blocks of selectors
    width = min(2.2, (style.DOUBLE - left - right - (n_columns - 1) * gap) / n_columns)
    block = 2 * cell + gap_y
    fig = style.figure(style.DOUBLE, head + blocks * block + (blocks - 1) * between + foot)
    height = fig.get_size_inches()[1]
    n = own_questions(tables, [model], shown, [], "question")
    style.heading(fig, title(tables, model, 60), [
        f"Change ({CHANGE}) against the size of the mask; {n}", *filter(None, [missing]),
    ])  # fmt: skip
    for row, (measure, (_, text, _)) in enumerate(MEASURES.items()):
        panels = []
        for i, selector in enumerate(shown):
            at_block, at_column = divmod(i, n_columns)
            bottom = height - head - at_block * (block + between) - (row + 1) * cell - row * gap_y
            ax = style.axes(fig, left + at_column * (width + gap), bottom, width, cell)
            draw_dose(ax, tables, model, selector, measure)
            ax.tick_params(labelbottom=row == 1, labelleft=at_column == 0)
            if row == 0:
                ax.set_title(fonts.label(selector_name(selector), max(14, int(width / COLUMN))), pad=3)
            if at_column == 0:
                ax.set_ylabel(text.replace(" change", "\nchange"), linespacing=1.05)
                ax.yaxis.set_label_coords(-0.42 / width, 0.5)
            panels.append(ax)
        _common_y(panels, SMALLEST[measure])
    fig.text((left + n_columns * width / 2 + (n_columns - 1) * gap / 2) / style.DOUBLE, 0.27 / height,
             "Top fraction of all neurons, per culture (%)", ha="center")  # fmt: skip
    _legend(fig, [k for s in shown for k in known_kinds(tables, model, [s], _fractions(tables, model, s))], small=False)
    return fig


def _fractions(tables: Tables, model: str, selector: str) -> list[float]:
    return sorted(set(rows(tables.summary, model, selector)["top_fraction"].astype(float)))


def _common_y(panels: list[Axes], smallest: float) -> None:
    """One scale for all panels of a row, at least `smallest` wide on either side when all is close to 0."""
    ends = [value for ax in panels for value in ax.dataLim.intervaly if np.isfinite(value)] or [0.0]
    low, high = min(ends), max(ends)
    if max(abs(low), abs(high)) < smallest:
        low, high = min(-smallest, low), max(0.3 * smallest, high)
    margin = 0.08 * (high - low)
    for ax in panels:
        ax.set_ylim(low - margin, high + margin)
