"""Whether what masks do to their own culture is seen on other questions too: a panel per data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.sets import evaluated_selectors, factor_in_words, factors, names
from culture_neurons.report.figures.tables import Tables, is_control, percent, rows, selector_name
from culture_neurons.report.figures.titles import CHANGE, listed, named, plural, title

#: Kind of mark -> columns of sets.csv, the first that has a value: a set without the masks' cultures has no own ones.
COLUMNS = {
    "cross": ("other_logprob_change", "logprob_change"),
    "random": ("random_logprob_change",),
    "self": ("own_logprob_change",),
}
CHANGE_IN_NATS = "Log-probability change (nats)"
#: Ground of the rows of masks that were chosen on the data set of their panel, where others chose on another one.
HERE = "#EFEFEF"
LABELS = {"self": "own culture's mask", "cross": "other cultures' masks", "random": "random mask"}


def draw_transfer(ax: Axes, tables: Tables, model: str, name: str, selectors: Sequence[str]) -> list[float]:
    """Changes of one data set on `ax`, a row per selector, under the smallest factor; all values and ends of intervals
    that were drawn."""
    part = rows(tables.more["sets"], model)
    part = part[(part["set"] == name) & (part["factor"] == min(factors(part), default=0.0))].set_index("selector")
    values, elsewhere = [0.0], chosen_elsewhere(tables, model)
    own = next(iter(names(tables, model)), "")
    ax.axvline(0, color=style.INK, linewidth=0.7, zorder=1)
    for y, selector in enumerate(selectors):
        if selector not in part.index:
            continue
        if elsewhere and elsewhere.get(selector, own) == name and not is_control(tables, model, selector):
            ax.axhspan(y - 0.5, y + 0.5, color=HERE, linewidth=0, zorder=0)  # there no effect has been carried over
        row = part.loc[selector]
        for kind, columns in COLUMNS.items():
            column = next((c for c in columns if np.isfinite(float(row[c]))), None)
            if column is None:
                continue
            value, low, high = (float(row[f"{column}{end}"]) for end in ("", "_low", "_high"))
            line = y + {"self": -0.22, "cross": 0.0, "random": 0.22}[kind]
            ax.plot([low, high], [line, line], color=style.KINDS[kind][0], linewidth=1.2, zorder=2)
            ax.plot([value], [line], linestyle="none", zorder=3, **style.mark(kind, 4.2))
            values += [value, low, high]
    ax.set_ylim(max(1, len(selectors)) - 0.5, -0.5)
    ax.set_yticks(range(len(selectors)), fonts.labels([selector_name(s) for s in selectors], 22))
    ax.tick_params(axis="y", length=0)
    style.fixed_ticks(ax)
    if not len(part):
        style.empty_panel(ax, "no result")
    return [v for v in values if np.isfinite(v)]


def caption_transfer(tables: Tables, model: str) -> str:
    """What `plot_transfer` shows."""
    part = rows(tables.more["sets"], model)
    counts = part.groupby("set", sort=False)["n"].max().items()
    of = listed([f"{name} ({plural(int(n), 'question')})" for name, n in counts])
    factor = factor_in_words(min(factors(part), default=0.0))
    elsewhere = chosen_elsewhere(tables, model)
    shaded = "; shaded: masks chosen on other questions of this data set" if elsewhere else ""
    return (
        f"{named(tables, model)}: change of the right option's log-probability on {of}, neurons (top "
        f"{percent(float(part['top_fraction'].iloc[0]))}) {factor}, mean over questions, with 95 % intervals. Circles: "
        f"questions under the own culture's mask; squares: under the other cultures' masks, or all questions of a data "
        f"set without these cultures; diamonds: all questions under random masks of the same size{shaded}. Masks were "
        f"chosen on other questions of the first data set{_in_words(elsewhere) or ' alone'}."
    )


def chosen_elsewhere(tables: Tables, model: str) -> dict[str, str]:
    """Selector -> the data set that it chose on, of those that did not choose on the run's own questions."""
    overlaps = tables.more.get("data_overlaps")
    if overlaps is None:
        return {}
    part, own = rows(overlaps, model), next(iter(rows(tables.more["sets"], model)["set"]))
    pairs = [*zip(part["a"], part["chosen_on_a"], strict=True), *zip(part["b"], part["chosen_on_b"], strict=True)]
    return {selector: data_set for selector, data_set in pairs if data_set != own}


def _in_words(elsewhere: Mapping[str, str]) -> str:
    """Whose masks were chosen on further data sets, as the end of a sentence; "" where there are none."""
    by_set: dict[str, list[str]] = {}
    for selector, data_set in elsewhere.items():
        by_set.setdefault(data_set, []).append(selector_name(selector))
    return "".join(f", those of {listed(names)} on {data_set}" for data_set, names in by_set.items())


def no_transfer(tables: Tables, model: str, selectors: Sequence[str]) -> str:
    """Why there are no changes to draw, "" where there are some."""
    return "" if evaluated_selectors(tables, model, selectors) else "no mask was judged on further data sets"


@style.with_style
def plot_transfer(tables: Tables, model: str, selectors: list[str], ax: Axes | None = None) -> Figure:
    """Own, other and random changes of the log-probability on each data set, by selector.

    With `ax`, the first data set alone on it.
    """
    chosen, sets = evaluated_selectors(tables, model, selectors), names(tables, model)
    if ax is not None:
        draw_transfer(ax, tables, model, sets[0] if sets else "", chosen)
        ax.set_title(f"{title(tables, model)}: {sets[0] if sets else ''}", loc="left")
        ax.set_xlabel(CHANGE_IN_NATS)
        return ax.figure
    part = rows(tables.more["sets"], model)
    n_columns = min(3, max(1, len(sets)))
    n_rows = -(-len(sets) // n_columns) or 1
    left, right, gap, head, foot, between = 1.2, 0.1, 0.16, 0.72, 0.62, 0.46
    cell = max(0.8, 0.26 * len(chosen))
    width = min(2.6, (style.DOUBLE - left - right - (n_columns - 1) * gap) / n_columns)
    fig = style.figure(style.DOUBLE, head + n_rows * cell + (n_rows - 1) * between + foot)
    height = fig.get_size_inches()[1]
    top = percent(float(part["top_fraction"].iloc[0])) if len(part) else ""
    style.heading(fig, f"{title(tables, model, 50)}: do effects hold on other questions?", [
        f"Change of the right option's log-probability ({CHANGE}), mean over questions, top {top}",
    ])  # fmt: skip
    values, panels = [], []
    for i, name in enumerate(sets):
        row, column = divmod(i, n_columns)
        bottom = height - head - (row + 1) * cell - row * between
        panel = style.axes(fig, left + column * (width + gap), bottom, width, cell)
        values += draw_transfer(panel, tables, model, name, chosen)
        of_set = part[part["set"] == name]
        questions = plural(int(of_set["n"].max()), "question")
        accuracy = f"{100 * float(of_set['baseline_accuracy'].iloc[0]):.0f}\N{NO-BREAK SPACE}% right"
        panel.set_title(f"{fonts.label(name, int(width / 0.066))}\n{questions}, {accuracy}", pad=3, linespacing=1.1)
        panel.tick_params(labelleft=column == 0, labelbottom=i + n_columns >= len(sets))
        panels.append(panel)
    low, high = min(values, default=-1.0), max(values, default=0.0)
    room = 0.04 * max(high - low, 0.1)
    for panel in panels:
        panel.set_xlim(low - room, high + room)
        style.ticks(panel.xaxis, 5)
    middle = left + (n_columns * width + (n_columns - 1) * gap) / 2
    fig.text(middle / style.DOUBLE, 0.27 / height, CHANGE_IN_NATS, ha="center")
    handles = [Line2D([], [], linestyle="none", **style.mark(kind, 4.2)) for kind in LABELS]
    texts = list(LABELS.values())
    if chosen_elsewhere(tables, model):
        handles.append(Patch(color=HERE))
        texts.append("chosen here")
    fig.legend(handles, texts, loc="lower center", ncols=len(texts), bbox_to_anchor=(0.5, 0.01 / height),
               handlelength=1.0, columnspacing=1.4, handletextpad=0.4, borderaxespad=0.1)  # fmt: skip
    return fig

