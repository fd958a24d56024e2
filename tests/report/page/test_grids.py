"""Tables of the page: what is shown, how it can be sorted and chosen by, and further tables of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.report import figures
from culture_neurons.report.figures import tables as known
from culture_neurons.report.page import grids
from culture_neurons.tables import TABLES, Table
from tests.figures_tables import build
from tests.report.test_page import Page, page


def test_numbers_that_were_rounded_keep_what_they_are_sorted_by():
    frame = pd.DataFrame({"x": ["a"], "drop": [-1.23456], "n": [1200], "p_value": [np.nan], "layer": [-3.0]})
    (row,) = grids.table(frame, "t")["rows"]
    assert row["cells"] == [
        ("a", False, ""), ("\N{MINUS SIGN}1.23", True, "-1.23456"), ("1,200", True, ""),
        ("\N{EN DASH}", True, ""), ("\N{MINUS SIGN}3", True, ""),
    ]  # fmt: skip


def test_intervals_stand_behind_their_value():
    frame = pd.DataFrame({
        "drop": [1.0, 2.0], "drop_low": [0.5, np.nan], "drop_high": [1.5, 3.0],
        "difference": [0.25, 0.5], "ci_low": [0.0, 0.0], "ci_high": [1.0, 1.0], "other_low": [1, 2],
    })  # fmt: skip
    made = grids.table(frame, "t", {"difference": 3})
    assert [name for name, *_ in made["columns"]] == ["change", "difference", "other low"]
    assert [cells[0][0] for cells in (row["cells"] for row in made["rows"])] == ["1.00 [0.50, 1.50]", "2.00"]
    assert made["rows"][0]["cells"][1][:2] == ("0.250 [0.000, 1.000]", True)


def test_a_difference_may_have_ends_of_its_own_name():
    frame = pd.DataFrame({"difference": [0.25], "difference_low": [0.0], "difference_high": [1.0]})
    assert grids.table(frame, "t")["rows"][0]["cells"][0][0] == "0.25 [0.00, 1.00]"


@pytest.mark.parametrize(
    ("column", "decimals"),
    [
        ("mcnemar_p_adjusted", 4),
        ("p_value", 4),
        ("self_logprob_drop", 3),
        ("accuracy", 3),
        ("self_drop", 2),
        ("n", None),
    ],
)
def test_decimals_go_by_the_name_of_a_column(column, decimals):
    assert grids.decimals_of(column) == decimals


@pytest.fixture
def further(tmp_path, monkeypatch):
    """A run with one more table, that the page is to show."""
    doses = Table("doses", "tabulate", ("model", "strength"), "Doses", "How strong.", left_out=r"^odd$")
    for module in (grids, known):
        monkeypatch.setattr(module, "TABLES", {**TABLES, "doses": doses})
    build(tmp_path / "tables", models=("demo-qwen2.5-vl",), selectors=["cas"], fractions=(0.01,))
    path = tmp_path / "tables/doses.csv"
    path.write_text("model,strength,odd\ndemo-qwen2.5-vl,0.5,1\n", encoding="utf-8")
    return path


def test_a_further_table_is_shown_where_the_run_has_it(tmp_path, further):
    shown = page(tmp_path, figures.read(tmp_path / "tables", ["doses"]))
    assert "<h3>Doses</h3>" in shown
    assert '<p class="note">How strong.</p>' in shown
    assert "<caption>tables/doses.csv</caption>" in shown
    (header,) = [row for row in Page(shown).parts["tr"] if "strength" in row]
    assert "odd" not in header
    assert "Doses" not in page(tmp_path, figures.read(tmp_path / "tables"))  # left from another run
    further.write_text("model,strength\n", encoding="utf-8")
    assert "Doses" not in page(tmp_path, figures.read(tmp_path / "tables", ["doses"]))  # empty


def test_a_further_table_has_its_columns(tmp_path, further):
    further.write_text("model\nx\n", encoding="utf-8")
    with pytest.raises(FileError, match="column 'strength' is missing"):
        figures.read(tmp_path / "tables", ["doses"])
    with pytest.raises(ConfigError, match=r"unknown table 'dose' \(did you mean 'doses'\?\)"):
        figures.read(tmp_path / "tables", ["dose"])


def test_rows_of_single_cultures_and_seeds_are_left_to_the_file(tmp_path):
    tables = figures.read(build(tmp_path), ["finetuning", "finetuning_modules"])
    shown = {t["name"]: t for t in grids.sections(tables)}["finetuning"]
    every = tables.more["finetuning"]
    assert shown["total"] == (every["culture"].isna() & every["seed"].isna()).sum() == 36
    columns = [name for name, *_ in shown["columns"]]
    assert {"task", "set", "choice", "change", "change vs poorest p adjusted"} <= set(columns)
    assert not {"culture", "seed", "task n"} & set(columns)


def test_all_of_one_question_is_not_yet_all(tmp_path):
    made = figures.read(build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,)))
    made.baseline[["n", "accuracy"]] = [1, 1.0]
    (shown,) = [section for section in grids.sections(made) if section["name"] == "baseline"]
    cells = [text for text, *_ in shown["rows"][0]["cells"]]
    assert "1.000 [0.207, 1.000]" in cells


def test_the_summary_says_what_random_rows_are_for_and_what_range_is_chance(tmp_path):
    names = ["cas", "random-matched", "random-2"]
    made = figures.read(build(tmp_path, selectors=names, fractions=(0.01,), models=("m", "planted-m")))
    made.summary["logprob_specificity"] = 0.5
    for name, value in (("random-matched", -2.5), ("random-2", 1.25)):
        part = (made.summary["selector"] == name) & (made.summary["model"] == "m")
        made.summary.loc[part, ["specificity", "logprob_specificity"]] = value, value / 10
    (note,) = [section["note"] for section in grids.sections(made) if section["name"] == "summary"]
    minus = "\N{MINUS SIGN}"
    assert "Rows of random masks are controls, not findings" in note
    assert f"m, {minus}2.5 to 1.2 points and {minus}0.250 to 0.125 nats; planted-m (planted), " in note
    bare = figures.read(build(tmp_path / "bare", selectors=["cas"], fractions=(0.01,), models=("m",)))
    (note,) = [section["note"] for section in grids.sections(bare) if section["name"] == "summary"]
    assert "controls" not in note


def test_tables_and_texts_say_how_means_are_weighted():
    """Two numbers of one thing differ by their weights: sets.csv weighs questions, evidence.csv cultures."""
    assert TABLES["sets"].note.startswith("Means over questions: those of the verdicts are over cultures")
    assert "by means over cultures" in TABLES["evidence"].note
