"""Figures of a comparison: what is in them is what the tables have, or a line of words says why there is nothing."""

import numpy as np
import pandas as pd
import pytest

from culture_neurons.analysis import compare_runs
from culture_neurons.analysis.finished_run import FinishedRun
from culture_neurons.report.figures import compared, style
from culture_neurons.report.figures.compared import FIGURES, Compared
from tests import finished_runs
from tests.analysis.test_compare_runs import transferred


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    folders = [finished_runs.write(base / name, seed, models={"m": "r1"}) for seed, name in enumerate(("甲", "two"))]
    path = transferred(*folders, base / "t.parquet")
    tables = compare_runs.compare(*map(FinishedRun, folders), replicates=50, transfers=[path])
    return Compared(tables, "甲", "two", "0.1")


def points(ax, colour):
    """x of all marks of a colour, in the order in which they were drawn."""
    lines = [line for line in ax.lines if line.get_color() == colour and line.get_linestyle() == "None"]
    return [float(x) for line in lines for x in line.get_xdata()]


def test_a_dot_per_culture_and_a_bar_by_chance(both):
    (ax,) = compared.plot_shared(both).axes
    rows = compared.shared(both)
    of = rows[rows["selector"] == "cas"]
    assert len(of) == 3
    assert points(ax, style.VERMILLION) == pytest.approx((100 * of["overlap"].astype(float)).tolist())
    random = rows[rows["selector"] == "random-matched"]
    grey = points(ax, style.GREY)
    assert (100 * of["expected"].astype(float)).tolist() == pytest.approx(grey[:3])
    assert (100 * random["overlap"].astype(float)).tolist() == pytest.approx(grey[-3:])


def test_layers_add_up_all_cultures(both):
    rows = both.tables["shared_neurons"]
    part = rows[(rows["selector"] == "cas") & (rows["layer"] == 1)]
    sums = part[["n_a", "n_b", "n_shared"]].sum()
    found = compared.layered(both)
    row = found[(found["selector"] == "cas") & (found["layer"] == 1)].iloc[0]
    assert row["overlap"] == pytest.approx(sums["n_shared"] / (sums["n_a"] + sums["n_b"] - sums["n_shared"]))
    by_chance = (part["n_a"] * part["n_b"] / 30).sum()
    assert row["expected"] == pytest.approx(by_chance / (sums["n_a"] + sums["n_b"] - by_chance))


def test_means_of_both_runs_and_their_intervals_are_drawn(both):
    (ax,) = compared.plot_differences(both).axes
    rows = compared.paired(both)
    own = rows[rows["what"] == "self"]
    assert points(ax, style.VERMILLION) == pytest.approx(own["value"].tolist())
    assert points(ax, style.BLUE) == pytest.approx(own["other_value"].tolist())
    intervals = [tuple(map(float, line.get_xdata())) for line in ax.lines if line.get_color() == style.BLUE]
    ends = own[["other_value_low", "other_value_high"]].to_numpy().tolist()
    assert [pair for pair in intervals if len(pair) == 2] == [pytest.approx(tuple(pair)) for pair in ends]


def test_moved_masks_have_a_panel_for_each_direction(both):
    rows = both.tables["transferred_masks"]
    back = rows.assign(masks_of=rows["questions_of"], questions_of=rows["masks_of"])
    tables = dict(both.tables) | {"transferred_masks": pd.concat([rows, back], ignore_index=True)}
    figure = compared.plot_moved(Compared(tables, "甲", "two", "0.1"))
    assert figure.axes[1].get_title(loc="left").startswith("masks of two on")
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    own = compared.paired(both, "transferred_masks")
    assert points(figure.axes[0], style.VERMILLION) == pytest.approx(own[own["what"] == "self"]["value"].tolist())


def test_planted_models_say_so(both):
    tables = {name: t.assign(planted="yes") if "planted" in t else t for name, t in both.tables.items()}
    figure = compared.plot_differences(Compared(tables, "one", "two", "0.1"))
    assert figure.axes[0].get_title(loc="left") == "m (planted)"


@pytest.mark.parametrize("name", FIGURES)
def test_without_rows_a_line_says_why(both, name):
    none = {key: table.iloc[:0] for key, table in both.tables.items() if key != "transferred_masks"}
    nothing = Compared(none, "one", "two", "0.1")
    words = compared.empty(nothing)[name]
    assert words
    assert words in [text.get_text() for text in compared.draw(nothing, name).texts]
    assert compared.empty(both)[name] == ""
    # Another top fraction than that of the tables has nothing either.
    assert compared.empty(Compared(both.tables, "one", "two", "0.5"))[name]


def test_captions_count_the_questions(both):
    words = compared.captions(both)
    assert list(words) == list(FIGURES)
    assert "24 questions" in words["differences"]
    assert np.all(["甲 and two" in words[name] for name in ("shared", "depth", "differences")])
