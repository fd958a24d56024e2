"""Every place that puts a direction into a word, a mark or a count, with the sign of all changes turned round.

A new place gets a line in `PLACES`. What no line speaks of must not depend on the direction: see the last tests.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from culture_neurons.analysis import overlaps, planted_benchmark, verdicts
from culture_neurons.report import figures, latex, latex_sets
from culture_neurons.report.figures import drawing, related, style
from culture_neurons.report.figures import tables as contents
from culture_neurons.report.page import culture_table, evaluation_sets, finetuning, grids, shuffled_labels, summary
from culture_neurons.report.registry import FIGURES, FigureFile
from culture_neurons.tables import KEYS, TABLES
from tests.figures_tables import build
from tests.report.test_page import Page, page

MODEL = "planted-qwen2.5-vl"
SURE = 0.001
#: Columns of changes, and of ends of their intervals; those of p-values are none.
CHANGE = re.compile(r"^(?!.*_p(_|$))(.*(drop|change|specificity|difference|vs_poorest)|self|cross|observed|null|ci"
                    r"|correlation)(_low|_high)?$")  # fmt: skip
Tables = figures.Tables


def each(tables: Tables, change: Callable[[str, pd.DataFrame], pd.DataFrame]) -> Tables:
    """The tables with `change` (name, table -> table) applied to all of them."""
    own = {name: change(name, getattr(tables, name)) for name in contents.NEEDED}
    return Tables(**own, more={name: change(name, table) for name, table in tables.more.items()})


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of sets_effects.csv with the ranks of their changes, as `analysis.transfer.effects` has them."""
    groups = table.groupby(["model", "set", "selector", "factor", "mask_culture"])["logprob_drop"]
    return table.assign(rank=groups.rank(method="first").astype("Int64"))


def with_verdicts(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Tables that have verdicts, with those that their numbers give."""
    table = table.copy()
    if name == "evidence":
        for _, part in table.groupby([*KEYS, "measure"]):
            of = part.assign(least=SURE, p_questions=1.0, detectable=0.0).set_index("comparison")
            table.loc[part.index, "verdict"] = verdicts.decide_verdict(*(of.loc[c] for c in verdicts.COMPARISONS))
    if name == "related":
        table["verdict"] = [overlaps._verdict(r, p, SURE) for r, p in zip(table["correlation"], table["p_adjusted"],
                                                                          strict=True)]  # fmt: skip
    return ranked(table) if name == "sets_effects" else table


def changed(tables: Tables, how: Callable[[pd.Series], pd.Series], p: float = SURE) -> Tables:
    """`how` applied to all changes and ends of intervals, and `p` as every p-value; verdicts and ranks follow."""

    def one(name: str, table: pd.DataFrame) -> pd.DataFrame:
        new = {c: how(table[c].astype(float)) for c in table if CHANGE.match(c)}
        new |= {c: p for c in table if re.search(r"(^|_)p(_value|_adjusted)?$", c)}
        return with_verdicts(name, pd.DataFrame({c: new.get(c, table[c]) for c in table}, index=table.index))

    return each(tables, one)


def turned(tables: Tables) -> Tables:
    """All changes with the other sign; ends of intervals change places. p-values stay, but for one-sided ones."""

    def one(name: str, table: pd.DataFrame) -> pd.DataFrame:
        end = {"_low": "_high", "_high": "_low"}
        other = {c: re.sub("(_low|_high)$", lambda found: end[found[0]], c) for c in filter(CHANGE.match, table)}
        new = {column: -table[name].astype(float) for column, name in other.items()}
        if name == "permutations":
            new |= {c: 1 - table[c] for c in ("p_value", "p_adjusted")}
        return with_verdicts(name, pd.DataFrame({c: new.get(c, table[c]) for c in table}, index=table.index))

    return each(tables, one)


def harmed(folder, cultures: list[str]) -> Tables:
    """Masks harm everything that was measured, beyond any doubt."""
    build(folder, cultures=cultures, models=(MODEL,), selectors=["cas", "random-matched"], fractions=(0.01,))
    made = figures.read(folder, TABLES)
    tests = ["mcnemar_p_adjusted", "logprob_p_adjusted", "drop_low", "drop_high", "logprob_drop_low",
             "logprob_drop_high"]  # fmt: skip
    made = dataclasses.replace(made, effects=made.effects.assign(**dict.fromkeys(tests, 1.0)))
    made = changed(made, lambda values: -values.abs() - 1)
    null = made.more["permutations"].assign(null=0.0)
    return dataclasses.replace(made, more={**made.more, "permutations": null})


#: What a test has made is kept for the next ones: pages and tables take longer than to look at them.
MADE: dict[tuple, object] = {}


def once(key: tuple, make: Callable[[], object]):
    if key not in MADE:
        MADE[key] = make()
    return MADE[key]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    yield harmed(tmp_path_factory.mktemp("tables"), ["A", "B", "C"])
    MADE.clear()


#: The tables of `harmed` otherwise: name -> what is done to them.
OTHERWISE: dict[str, Callable[[Tables], Tables]] = {
    "as it is": lambda tables: tables,
    "turned": lambda tables: turned(tables),
    "no change": lambda tables: changed(tables, lambda values: values * 0),
    "unknown": lambda tables: changed(tables, lambda values: values * np.nan, np.nan),
    "unknown, with p": lambda tables: changed(tables, lambda values: values * np.nan),
    "not significant": lambda tables: changed(tables, lambda values: values, 0.2),
    "turned, not significant": lambda tables: changed(tables, lambda values: -values, 0.2),
}


def told(tables: Tables, folder, place: str, how: str) -> tuple[int, int]:
    """How often the place says worse, and better, of the tables made otherwise."""
    return PLACES[place](once((id(tables), how), lambda: OTHERWISE[how](tables)), folder)


def only(tables: Tables, *names: str) -> Tables:
    """The tables with these further ones alone."""
    return once((id(tables), *names), lambda: dataclasses.replace(tables, more={n: tables.more[n] for n in names}))


def shown(tables: Tables, folder) -> str:
    """The page."""
    return once((id(tables), "page"), lambda: page(folder, tables))


def count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text))


def grid(tables: Tables) -> str:
    """Texts in the tables of the page."""
    return " ".join(text for t in grids.sections(tables) for row in t["rows"] for text, *_ in row["cells"])


def cells(tables: Tables, folder) -> tuple[int, int]:
    """Marks in the table of cultures on the page."""
    html = shown(tables, folder)
    return html.count('class="change sure"'), html.count("(better)")


def cultures_of(tables: Tables, folder) -> tuple[int, int]:
    """What the foot of that table counts, and how the paragraph above it explains the marks."""
    foot = [row for row in Page(shown(tables, folder)).parts["tr"] if "p < 0.05" in row]
    found = {way: sum(int(n) for row in foot if way in row for n in re.findall(r"(\d+) of", row)) for way in
             ("worse", "better")}  # fmt: skip
    if not any(way in row for row in foot for way in found):  # a count that names no direction is one of losses
        found["worse"] = sum(int(n) for row in foot for n in re.findall(r"(\d+) of", row))
    return found["worse"], found["better"]


def drawn(figure) -> tuple[list[str], int]:
    """Texts within axes and at their ticks, and how many dots are drawn."""
    texts = [t.get_text() for ax in figure.axes for t in (*ax.texts, *ax.get_yticklabels(), *ax.get_xticklabels())]
    dots = sum(line.get_marker() == "o" and len(line.get_xdata()) == 1 for ax in figure.axes for line in ax.lines)
    return texts, dots


def ranks(tables: Tables) -> int:
    """Numbers or dots of the figure of related cultures, all of which are of losses."""
    figure = figures.plot_related(tables, MODEL, "cas")
    return drawn(figure)[1] + sum(len(ax.texts) for ax in figure.axes)


def stars(tables: Tables) -> tuple[int, int]:
    texts, _ = drawn(figures.plot_finetuning(tables, MODEL))
    return sum(t.endswith(" *") for t in texts), sum(t.endswith(" \N{DAGGER}") for t in texts)


def training(tables: Tables) -> tuple[int, int]:
    said = " ".join(finetuning.sentences(tables, MODEL))
    more, less = (sum(map(int, re.findall(p, said))) for p in (r"poorest on (\d)", r"less on (\d)"))
    return more, less


def found(tables: Tables) -> list:
    """What the first part of the page says."""
    return once((id(tables), "findings"), lambda: summary.findings(only(tables), 0.01))


def headlines(tables: Tables) -> str:
    return " ".join(part["words"] for f in found(tables) for h in f["headlines"] for part in h["parts"])


def findings(tables: Tables, what: str) -> str:
    return " ".join(said[what] for f in found(tables) for i in f["items"] for said in i["by_measure"].values())


def shuffles(tables: Tables) -> tuple[int, int]:
    said = " ".join(shuffled_labels.sentences(tables, MODEL))
    assert "one-sided" in said
    return count(r"p < 0\.0|p = 0\.0[0-4]", said), 0


def tex(text: str) -> tuple[int, int]:
    """Cells that are bold, and those that are underlined."""
    return text.count(r"\textbf{"), text.count(r"\underline{")


def effective(tables: Tables) -> int:
    """Planted neurons that count as effective, by what each does when it alone is zeroed."""
    drops = tables.effects["logprob_drop"].to_numpy()[:2]
    planted = pd.DataFrame({"culture": ["A", "A"], "layer": [0, 1], "neuron": [0, 0], "logprob_drop": drops})
    return int(planted_benchmark.target_neurons(planted, ["A"], (2, 1), "planted.csv")["effective"].sum())


#: Place -> (tables, folder) -> how often it says, or marks, that something does worse, and better.
PLACES: dict[str, Callable[[Tables, object], tuple[int, int]]] = {
    "page, culture by culture: marks against other masks and shuffled labels": lambda t, f: cells(
        only(t, "cultures", "permutations"), f
    ),
    "page, culture by culture: marks against other masks": lambda t, f: cells(only(t, "cultures"), f),
    "page, culture by culture: marks against no mask": lambda t, f: cells(only(t), f),
    "page, culture by culture: counts against other masks and shuffled labels": lambda t, f: cultures_of(
        only(t, "cultures", "permutations"), f
    ),
    "page, culture by culture: counts against other masks": lambda t, f: cultures_of(only(t, "cultures"), f),
    "page, culture by culture: counts against no mask": lambda t, f: cultures_of(only(t), f),
    "page: headlines": lambda t, f: (
        count("culture-specific|^damage|, damage", headlines(t)), count("less harm", headlines(t)),
    ),
    "page: sentences behind the headlines": lambda t, f: (
        count("changes its [^;]* by \N{MINUS SIGN}", said := findings(t, "text")),
        count(r"changes its [^;]* by (?!0\.0+ )\d", said),
    ),
    "page: comparisons behind the headlines": lambda t, f: (
        count(": worse", findings(t, "detail")), count(": better", findings(t, "detail")),
    ),
    "page: verdicts behind the headlines": lambda t, f: (
        count("culture-specific|unspecific damage", findings(t, "verdict")), count("less harm", findings(t, "verdict")),
    ),
    "page: badges": lambda t, f: (count("specific|damage", findings(t, "badge")), 0),
    "page: shuffled labels": lambda t, f: shuffles(t),
    "page: further data sets": lambda t, f: (
        count("(is|;) lower on", said := " ".join(evaluation_sets.sentences(t, MODEL))),
        count("(is|;) higher on", said),
    ),
    "page: further data sets, without random masks": lambda t, f: (
        count("(is|;) lower on", said := " ".join(evaluation_sets.sentences(alone(t), MODEL))),
        count("(is|;) higher on", said),
    ),
    "page: training on another task": lambda t, f: training(t),
    "page: tables with verdicts": lambda t, f: (
        count("culture-specific|unspecific damage|hurt more", said := grid(only(t, "related"))),
        count("less harm than|hurt less", said),
    ),
    "LaTeX: verdicts": lambda t, f: (
        count(r"& (specific|damage) \\", said := latex.summary(t, ["cas"], 0.01)), count(r"& less \\", said),
    ),
    "LaTeX: cultures": lambda t, f: tex(latex.culture_drops(t, "cas", 0.01)),
    "LaTeX: data sets": lambda t, f: tex(latex_sets.accuracies(t, ["cas"])),
    "LaTeX: data sets, without random masks": lambda t, f: tex(latex_sets.accuracies(alone(t), ["cas"])),
    "figure: fine-tuning, stars": lambda t, f: stars(t),
    "figure: related cultures, ranks of losses": lambda t, f: (ranks(t), 0),
    "table: evidence, verdicts": lambda t, f: (
        count("culture-specific|damage", said := " ".join(t.evidence["verdict"])), count("less harm", said),
    ),
    "table: related, verdicts; and the log of steps.overlap": lambda t, f: (
        count("hurt more", said := " ".join(t.more["related"]["verdict"])), count("hurt less", said),
    ),
    "table: benchmark of selectors, effective neurons": lambda t, f: (effective(t), 0),
}  # fmt: skip
#: Those of PLACES that have no mark for the better, and say nothing then.
ONE_SIDED = {
    "page, culture by culture: marks against other masks and shuffled labels",
    "page, culture by culture: counts against other masks and shuffled labels",
    "page: badges",
    "page: shuffled labels",
    "figure: related cultures, ranks of losses",
    "table: benchmark of selectors, effective neurons",
}
assert set(PLACES) >= ONE_SIDED


def alone(tables: Tables) -> Tables:
    """Further data sets on which there are no random masks."""
    table = tables.more["sets"].assign(difference=np.nan, difference_p_adjusted=np.nan)
    return dataclasses.replace(tables, more={**tables.more, "sets": table})


def test_turning_twice_gives_the_tables_again(tables):
    once, again = turned(tables), turned(turned(tables))
    for name in TABLES:
        pd.testing.assert_frame_equal(tables.table(name), again.table(name), check_dtype=False)
    for name in ("effects", "summary", "evidence", *("cultures", "sets", "finetuning", "permutations", "related")):
        found = [c for c in once.table(name) if CHANGE.match(c)]
        assert found
        assert (once.table(name)[found].fillna(1) >= 0).all(axis=None), name


@pytest.mark.parametrize("place", PLACES)
def test_a_harm_is_said_where_there_is_one(tmp_path, tables, place):
    worse, better = told(tables, tmp_path, place, "as it is")
    assert worse > 0
    assert better == 0


@pytest.mark.parametrize("place", PLACES)
def test_no_harm_is_said_where_all_are_better_off(tmp_path, tables, place):
    worse, better = told(tables, tmp_path, place, "turned")
    assert worse == 0
    assert (better > 0) == (place not in ONE_SIDED)


#: What is said of a mean, not of a test: sentences with the means themselves; ranks; neurons that cost 0.1 nats.
ESTIMATES = {
    "page: sentences behind the headlines",
    "figure: related cultures, ranks of losses",
    "table: benchmark of selectors, effective neurons",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", ["no change", "unknown", "unknown, with p"])
def test_without_a_sign_no_direction_is_said(tmp_path, tables, place, how):
    if place == "page: shuffled labels" and how != "unknown":  # it has its p-value from the table
        how = "not significant"
    assert told(tables, tmp_path, place, how) == (0, 0)


@pytest.mark.parametrize("place", sorted(set(PLACES) - ESTIMATES))
@pytest.mark.parametrize("how", ["not significant", "turned, not significant"])
def test_without_significance_no_direction_is_said(tmp_path, tables, place, how):
    assert told(tables, tmp_path, place, how) == (0, 0)


@pytest.mark.parametrize(("sign", "dots"), [(-1, 9), (1, 0)])
def test_dots_for_ranks_are_of_losses_too(sign, dots):
    values = sign * np.arange(1.0, 17).reshape(4, 4)
    values[3] = 0.0
    panel = style.axes(style.figure(3, 3), 0, 0, 0.4, 0.4)  # no room for numbers
    related.draw_related(panel, values, values.argsort(axis=1).argsort(axis=1) + 1.0, list("abcd"))
    assert len(panel.lines) == dots
    assert not panel.texts


def test_a_loss_of_more_than_other_masks_and_less_than_shuffled_ones_has_no_direction(tables):
    other = turned(tables).more["permutations"].assign(p_adjusted=SURE)
    mixed = dataclasses.replace(tables, more={**tables.more, "permutations": other})
    rows = culture_table.by_culture(mixed, "cas", 0.01)["rows"]
    assert {change["fares"] for row in rows for cell in row["cells"] for change in cell["changes"]} == {""}


def every_figure() -> list[FigureFile]:
    """One of each kind."""
    of = {"run": (), "model": (MODEL,), "selector": (MODEL, "cas")}
    return [FigureFile(kind, *of[figure.per]) for kind, figure in FIGURES.items()]


def test_captions_explain_and_do_not_judge(tables):
    other = turned(tables)
    for file in every_figure():
        assert drawing.caption(tables, file, ["cas"], 0.01) == drawing.caption(other, file, ["cas"], 0.01)


def test_other_figures_have_no_marks_of_significance(tables):
    marked = {file.kind for file in every_figure() if any(
        re.search(r"[*†‡§]", text) or "<" in text for text in drawn(drawing.draw_figure(tables, file, ["cas"], 0.01))[0]
    )}  # fmt: skip
    assert marked == {"finetuning"}


#: What says a harm in a sentence or a cell of numbers of the page. What the page always says is left out below.
HARM = r"\blowers\b|\bworse\b|\bdamage\b|culture-specific|(is|;) lower on|hurt more|poorest on [1-9]"


def test_the_whole_page_says_no_harm_where_all_are_better_off(tmp_path, tables):
    one, other = (
        Page(shown(t, tmp_path)).parts for t in (tables, once((id(tables), "turned"), lambda: turned(tables)))
    )
    for tag in ("p", "li", "tr", "figcaption"):
        new = [text for text in other[tag] if text not in one[tag] and "An effect is called" not in text]
        said = [text for text in new if re.search(HARM, text)]
        # Cultures that fare worse are counted, and the paragraph above the count explains what is marked.
        assert all(re.search("0 of 3$|^How each culture", text) for text in said), said
    assert any(re.search(HARM, text) for text in one["li"])
