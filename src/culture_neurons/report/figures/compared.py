"""Two runs side by side: which neurons their masks share, in which layers, and whether the masks do the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import fonts, style
from culture_neurons.report.figures.tables import percent, selector_name
from culture_neurons.report.figures.titles import PLANTED, listed, plural
from culture_neurons.report.nouns import CULTURE, reword

#: A figure has a panel for each of so many pairs of models, at most.
MOST_PAIRS = 6
#: Colours and markers of the first run, the other, and what is due to chance.
FIRST, SECOND, CHANCE = (style.VERMILLION, "o"), (style.BLUE, "s"), (style.GREY, "|")
JACCARD = "Jaccard index (%)"
NATS = "Change of the right option's log-probability (nats)"
_HEAD, _FOOT, _GAP, _LEFT, _RIGHT = 0.52, 0.66, 0.4, 1.3, 0.12


@dataclass(frozen=True)
class Compared:
    """What the figures show: the tables of a comparison, the names of the runs, one top fraction (as text), and what
    both runs call a group of questions."""

    tables: Mapping[str, pd.DataFrame]
    first: str
    second: str
    top: str
    noun: str = CULTURE

    @cached_property
    def texts(self) -> set[str]:
        """Every name that a figure may show."""
        names = {self.first, self.second}
        for table in self.tables.values():
            for column in {"model", "other_model", "selector", "culture", "other_culture"} & set(table.columns):
                names.update(map(str, table[column].dropna().unique()))
        return names

    @property
    def names(self) -> set[str]:
        """Those of them that name something of the data: all."""
        return self.texts

    def words(self, text: str) -> str:
        """A text of ours with the runs' noun for a group; names of data in it stay as they are."""
        return reword(text, self.noun, self.names)

    def rows(self, name: str) -> pd.DataFrame:
        """The rows of a table at the top fraction; none where there is no such table."""
        table = self.tables.get(name)
        if table is None:
            return pd.DataFrame(columns=["model", "other_model", "selector"])
        return table[table["top_fraction"].astype(str) == self.top]

    def pairs(self, rows: pd.DataFrame) -> list[tuple[str, str]]:
        """The pairs of models that a figure shows."""
        models = rows[["model", "other_model"]].drop_duplicates().itertuples(index=False, name=None)
        return list(models)[:MOST_PAIRS]

    def pair_name(self, rows: pd.DataFrame, pair: tuple[str, str]) -> str:
        """A pair of models in a title; a planted control says that it is one."""
        planted = rows.loc[(rows["model"] == pair[0]) & (rows["other_model"] == pair[1]), "planted"].eq("yes").any()
        name = pair[0] if pair[0] == pair[1] else f"{pair[0]} and {pair[1]}"
        return f"{fonts.label(name, 60)}{f' ({PLANTED})' if planted else ''}"


def shared(compared: Compared) -> pd.DataFrame:
    """Rows of all layers of cultures that stand for each other, of one model or of models of one shape."""
    rows = compared.rows("shared_neurons")
    if not len(rows):
        return rows
    return rows[rows["layer"].isna() & rows["matched"].fillna("").ne("") & rows["overlap"].notna()]


def layered(compared: Compared) -> pd.DataFrame:
    """Per pair of models, selector and layer: Jaccard index of all cultures together, and that of chance."""
    rows = compared.rows("shared_neurons")
    if not len(rows):
        return rows
    rows = rows[rows["layer"].notna()]
    by = ["model", "other_model", "selector", "layer"]
    # The expected number of shared neurons, from the index that it gives: e = E / (n - E).
    total = rows["n_a"] + rows["n_b"]
    by_chance = (rows["expected"] * total / (1 + rows["expected"])).fillna(0.0)
    counts = ["n_a", "n_b", "n_shared", "by_chance"]
    grouped = rows.assign(by_chance=by_chance).groupby(by, sort=False)[counts].sum().astype(float).reset_index()
    both = grouped["n_a"] + grouped["n_b"]
    grouped["overlap"] = grouped["n_shared"] / (both - grouped["n_shared"]).where(both > 0)
    grouped["expected"] = grouped["by_chance"] / (both - grouped["by_chance"]).where(both > 0)
    return grouped.merge(rows[["model", "other_model", "planted"]].drop_duplicates(), on=["model", "other_model"])


def paired(compared: Compared, name: str = "paired_effects") -> pd.DataFrame:
    """Means over all shared questions of the changes in log-probability."""
    rows = compared.rows(name)
    if not len(rows):
        return rows
    return rows[rows["culture"].isna() & (rows["measure"] == "logprob")]


def _panels(compared: Compared, rows: pd.DataFrame, title: str, line: str, label: str, cell: Callable[[int], float],
            draw: Callable[[Axes, pd.DataFrame, list[str]], None], handles: Sequence[Line2D]) -> Figure:  # fmt: skip
    """A panel per pair of models below each other, with one legend."""
    pairs = compared.pairs(rows)
    of = [rows[(rows["model"] == a) & (rows["other_model"] == b)] for a, b in pairs]
    selectors = [list(dict.fromkeys(part["selector"])) for part in of]
    heights = [cell(len(names)) for names in selectors]
    fig = style.figure(style.DOUBLE, _HEAD + sum(heights) + _GAP * len(pairs) + _FOOT)
    height = fig.get_size_inches()[1]
    style.heading(fig, title, [line])
    bottom = height - _HEAD + _GAP / 2
    for pair, part, names, size in zip(pairs, of, selectors, heights, strict=True):
        bottom -= size + _GAP
        ax = style.axes(fig, _LEFT, bottom, style.DOUBLE - _LEFT - _RIGHT, size)
        draw(ax, part, names)
        ax.set_title(compared.pair_name(rows, pair), loc="left", pad=3)
    # One scale for all, so that panels can be compared.
    ends = [ax.get_xlim() for ax in fig.axes]
    for ax in fig.axes:
        ax.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))
    fig.text(0.5, 0.3 / height, label, ha="center")
    fig.legend(handles, [str(h.get_label()) for h in handles], loc="lower center", ncols=len(handles),
               bbox_to_anchor=(0.5, 0.0), handletextpad=0.4, columnspacing=1.4)  # fmt: skip
    return fig


def _handle(mark: tuple[str, str], label: str, line: str = "none") -> Line2D:
    return Line2D([], [], color=mark[0], marker=mark[1], markersize=4.2, linestyle=line, label=fonts.label(label, 30))


def _selector_axis(ax: Axes, names: Sequence[str]) -> None:
    ax.set_ylim(max(1, len(names)) - 0.5, -0.5)
    ax.set_yticks(range(len(names)), fonts.labels([selector_name(name) for name in names], 24))
    ax.tick_params(axis="y", length=0)
    style.ticks(ax.xaxis, 6)
    style.fixed_ticks(ax)


@style.with_style
def plot_shared(compared: Compared) -> Figure:
    """The Jaccard index of each culture's two masks, and that of chance, by selector."""

    def draw(ax: Axes, part: pd.DataFrame, names: list[str]) -> None:
        for y, name in enumerate(names):
            of = part[part["selector"] == name]
            spread = np.linspace(-0.22, 0.22, len(of)) if len(of) > 1 else np.zeros(len(of))
            ax.plot(100 * of["expected"].astype(float), y + spread, linestyle="none", marker="|", color=style.GREY)
            colour = style.GREY if of["control"].eq("yes").all() else FIRST[0]
            ax.plot(100 * of["overlap"].astype(float), y + spread, linestyle="none", marker="o", markersize=3.6,
                    color=colour, markeredgecolor="white", markeredgewidth=0.4)  # fmt: skip
        ax.set_xlim(left=-0.5)
        _selector_axis(ax, names)

    line = f"Neurons that both masks of a culture have, top {percent(float(compared.top))}; a dot per culture"
    handles = [_handle(FIRST, "two masks of one culture"), _handle(CHANCE, "by chance")]
    return _panels(compared, shared(compared), _title(compared, "the same neurons?"), line, JACCARD,
                   lambda n: max(0.6, 0.3 * n), draw, handles)  # fmt: skip


@style.with_style
def plot_depth(compared: Compared) -> Figure:
    """The Jaccard index by layer, all cultures together, and that of chance."""

    def draw(ax: Axes, part: pd.DataFrame, names: list[str]) -> None:
        for i, name in enumerate(names):
            of = part[part["selector"] == name]
            colour = style.SERIES[i % len(style.SERIES)]
            ax.plot(of["layer"].astype(int), 100 * of["overlap"], color=colour, linewidth=1.2, marker="o",
                    markersize=2.6, label=selector_name(name))  # fmt: skip
            ax.plot(of["layer"].astype(int), 100 * of["expected"], color=colour, linewidth=0.8, linestyle=":")
        style.ticks(ax.xaxis, 8, integer=True)
        style.ticks(ax.yaxis, 4)
        ax.set_ylim(bottom=0)
        ax.set_ylabel(JACCARD)
        ax.legend(loc="upper left", bbox_to_anchor=(0.0, 1.0), ncols=max(1, len(names)), fontsize=style.SMALL)
        style.fixed_ticks(ax)

    line = f"Of neurons in each layer, top {percent(float(compared.top))}; all cultures together"
    handles = [
        _handle((style.INK, "o"), "the masks", "-"),
        Line2D([], [], color=style.INK, linewidth=0.8, linestyle=":", label="by chance"),
    ]
    rows = layered(compared)
    return _panels(compared, rows, _title(compared, "in which layers?"), line, "Layer", lambda n: 1.5, draw, handles)


def _draw_values(ax: Axes, part: pd.DataFrame, names: Sequence[str], what: str) -> None:
    """Means of the two runs with their intervals, a row per selector."""
    ax.axvline(0, color=style.INK, linewidth=0.7, zorder=1)
    for y, name in enumerate(names):
        of = part[(part["selector"] == name) & (part["what"] == what)]
        for row in of.to_dict("records"):
            for shift, column, (colour, marker) in ((-0.18, "value", FIRST), (0.18, "other_value", SECOND)):
                low, high = row[f"{column}_low"], row[f"{column}_high"]
                ax.plot([low, high], [y + shift] * 2, color=colour, linewidth=1.2)
                ax.plot([row[column]], [y + shift], linestyle="none", marker=marker, markersize=4.2, color=colour,
                        markeredgecolor="white", markeredgewidth=0.5)  # fmt: skip
    _selector_axis(ax, names)


@style.with_style
def plot_differences(compared: Compared) -> Figure:
    """Changes under the own culture's mask in both runs, on the questions that both evaluate."""
    rows = paired(compared)
    rows = rows[rows["what"] == "self"]
    line = f"Under the own culture's mask, top {percent(float(compared.top))}, with 95\N{NO-BREAK SPACE}% intervals"
    handles = [_handle(FIRST, compared.first), _handle(SECOND, compared.second)]
    return _panels(compared, rows, _title(compared, "the same effects?"), line, NATS, lambda n: max(0.6, 0.34 * n),
                   lambda ax, part, names: _draw_values(ax, part, names, "self"), handles)  # fmt: skip


@style.with_style
def plot_moved(compared: Compared) -> Figure:
    """Changes under the masks of the other run, beside those under the own run's masks, on the same questions."""
    rows = paired(compared, "transferred_masks")
    rows = rows[rows["what"] == "self"]
    # A panel per direction: the runs take the place of the two models.
    rows = rows.assign(model="masks of " + rows["masks_of"] + " on " + rows["questions_of"] + ": " + rows["model"])
    rows = rows.assign(other_model=rows["model"])
    line = f"Under the own culture's mask, top {percent(float(compared.top))}, with 95\N{NO-BREAK SPACE}% intervals"
    handles = [_handle(FIRST, "masks of the other run"), _handle(SECOND, "the own run's masks")]
    return _panels(compared, rows, _title(compared, "do masks hold on the other's questions?"), line, NATS,
                   lambda n: max(0.6, 0.34 * n), lambda ax, part, names: _draw_values(ax, part, names, "self"),
                   handles)  # fmt: skip


def _title(compared: Compared, question: str) -> str:
    return f"{fonts.label(compared.first, 26)} and {fonts.label(compared.second, 26)}: {question}"


def captions(compared: Compared) -> dict[str, str]:
    """What each figure shows, by its name in `FIGURES`."""
    top, runs = percent(float(compared.top)), f"{compared.first} and {compared.second}"
    questions = {int(n) for n in paired(compared)["n"]} if len(paired(compared)) else set()
    n = listed([plural(k, "question") for k in sorted(questions)]) or "no question"
    texts = {
        "shared": f"Neurons that the masks of one culture share in {runs} (Jaccard index in %, top {top}): a dot per "
        "culture, grey for random masks; bars: two masks with these numbers of neurons per layer, anywhere in a layer.",
        "depth": f"The same by layer, all cultures of {runs} together (top {top}); dotted: by chance.",
        "differences": f"Mean change of the right option's log-probability (masked - baseline) under the own culture's "
        f"mask in {runs}, on the same questions ({n}), top {top}, with 95 % intervals.",
        "moved": f"The same questions under masks that the other run chose for their culture, and under those of their "
        f"own run (top {top}), with 95 % intervals.",
    }
    return {name: compared.words(text) for name, text in texts.items()}


def empty(compared: Compared) -> dict[str, str]:
    """Why a figure has nothing to draw, by its name; "" where it has something."""
    moved = "transferred_masks" in compared.tables
    rows = {"shared": shared(compared), "depth": layered(compared), "differences": paired(compared),
            "moved": paired(compared, "transferred_masks")}  # fmt: skip
    words = {
        "shared": "no culture has masks in both runs whose neurons can be compared",
        "depth": "no culture has masks in both runs whose neurons can be compared",
        "differences": "no question was asked under masks in both runs",
        "moved": "no mask of one run was asked on the other's questions"
        if moved
        else "masks were not asked on the other run's questions (comparison: transfer)",
    }
    return {name: "" if len(part) else compared.words(words[name]) for name, part in rows.items()}


#: The figures of a comparison, in the order of the page.
FIGURES: dict[str, Callable[[Compared], Figure]] = {
    "shared": plot_shared, "depth": plot_depth, "differences": plot_differences, "moved": plot_moved,
}  # fmt: skip


def draw(compared: Compared, name: str) -> Figure:
    """One of `FIGURES`; where there is nothing to draw, a strip with a line that says so."""
    if words := empty(compared)[name]:
        return _strip(compared, name, words)
    return FIGURES[name](compared)


@style.with_style
def _strip(compared: Compared, name: str, words: str) -> Figure:
    fig = style.figure(style.DOUBLE, 0.45)
    style.heading(fig, _title(compared, name), [words])
    return fig
