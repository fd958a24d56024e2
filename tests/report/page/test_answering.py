"""What stands first in the report of a model that only looks as if it answered."""

from __future__ import annotations

import pytest

from culture_neurons.analysis import significance
from culture_neurons.report import figures, latex, latex_sets
from culture_neurons.report.page import culture_table
from culture_neurons.report.page.answering import level_in_words, warnings
from culture_neurons.report.page.evaluation_sets import sentences
from tests.figures_tables import build
from tests.report.test_page import Page, page

MODELS = ("demo-qwen2.5-vl", "planted-qwen2.5-vl")
MORE = ["cultures", "sets", "sets_effects", "sets_transfer"]


@pytest.fixture
def tables(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas", "random-matched"], fractions=(0.01,))
    made = figures.read(tmp_path / "tables", MORE)
    columns = ["level", "model_accuracy", "model_accuracy_low", "model_accuracy_high", "model_chance"]
    made.baseline[columns] = "above chance", 0.9, 0.85, 0.94, 0.25
    made.baseline["open_reasoning"] = float("nan")  # as an empty text is read
    made.more["sets"]["level"] = "above chance"
    return made


def guess(tables, model=MODELS[0], word="at chance"):
    mine = tables.baseline["model"] == model
    columns = ["level", "model_accuracy", "model_accuracy_low", "model_accuracy_high"]
    tables.baseline.loc[mine, columns] = word, 0.261, 0.22, 0.304
    tables.evidence.loc[tables.evidence["model"] == model, "verdict"] = significance.NOT_JUDGED
    own = (tables.more["sets"]["model"] == model) & (tables.more["sets"]["set"] == "demo")
    tables.more["sets"].loc[own, "level"] = word


def test_a_model_that_answers_needs_no_warning(tmp_path, tables):
    assert [warnings(tables, model) for model in MODELS] == [[], []]
    assert "Warning." not in page(tmp_path, tables)


def test_tables_of_an_earlier_version_have_no_such_columns(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,))
    made = figures.read(tmp_path / "tables")
    made.baseline.drop(columns="well_formed_rate", inplace=True)
    assert warnings(made, MODELS[0]) == []


def test_a_model_at_chance_is_said_so_first_and_not_judged(tmp_path, tables):
    guess(tables)
    (said,) = warnings(tables, MODELS[0])
    assert said == (
        f"{MODELS[0]} answers at chance: accuracy 26.1 % [22.0, 30.4], mean over cultures, and guessing "
        "gives 25.0 %. There is no knowledge that a mask could take away, so no verdict is given."
    )
    shown = [text.replace("\N{NO-BREAK SPACE}", " ") for text in Page(page(tmp_path, tables)).parts["p"]]
    first, second = (
        next(i for i, text in enumerate(shown) if part in text) for part in (said, "no verdict, as the model")
    )
    assert first + 1 == second
    assert shown[first].startswith("Warning. ")
    assert shown[second] == (
        f"{MODELS[0]}, by accuracy and by log-probability of the right option: no verdict, as the model answers at "
        "chance (CAS)."
    )


def test_nothing_of_a_model_at_chance_is_marked(tables):
    tables.more["cultures"]["p_adjusted"] = 0.0001
    tables.effects[["mcnemar_p_adjusted", "logprob_p_adjusted"]] = 0.0001
    sets = tables.more["sets"]
    sets[["difference_p_adjusted", "change_p_adjusted"]] = 0.0001
    before = culture_table.by_culture(tables, "cas", 0.01)
    assert all(change["fares"] for row in before["rows"] for cell in row["cells"] for change in cell["changes"])

    def marks(text):
        return text.count("textbf{") + text.count(r"\underline{")

    marked = [marks(latex.culture_drops(tables, "cas", 0.01)), marks(latex_sets.accuracies(tables, ["cas"]))]
    guess(tables)
    made = culture_table.by_culture(tables, "cas", 0.01)
    for row in made["rows"]:
        assert [[bool(change["fares"]) for change in cell["changes"]] for cell in row["cells"]] == [
            [False] * 2, [True] * 2,
        ]  # fmt: skip
    assert {counts[0] for counts in made["counts"].values()} == {"not judged"}
    assert marks(latex.culture_drops(tables, "cas", 0.01)) == marked[0] / 2
    guessed = int(((sets["model"] == MODELS[0]) & (sets["set"] == "demo") & (sets["selector"] == "cas")).sum())
    assert marks(latex_sets.accuracies(tables, ["cas"])) == marked[1] - guessed
    assert "at chance" in latex.summary(tables, ["cas"], 0.01).split("\\midrule")[1].splitlines()[1]
    (said,) = sentences(tables, MODELS[0])
    assert "at chance without masks, and not judged, on demo (" in said
    assert "lower on demo" not in said


def test_a_model_below_chance_is_judged_and_its_labels_are_doubted(tables):
    guess(tables, word="below chance")
    (said,) = warnings(tables, MODELS[0])
    assert f"{MODELS[0]} answers below chance: accuracy 26.1 %" in said
    assert "a fault of the labels" in said
    del tables.more["cultures"]
    assert latex.culture_drops(tables, "cas", 0.01).count("textbf") == 0  # no p-values here, and no fault


def test_few_well_formed_answers_and_open_reasoning_are_said(tmp_path, tables):
    mine = tables.baseline["model"] == MODELS[1]
    tables.baseline["well_formed_rate"] = tables.baseline["well_formed_rate"].astype(float)
    tables.baseline.loc[mine, "well_formed_rate"] = [0.2, 0.6]
    tables.baseline.loc[mine, "n"] = [30, 10]
    tables.baseline["open_reasoning"] = tables.baseline["open_reasoning"].astype(object)
    tables.baseline.loc[mine, "open_reasoning"] = "<think>"
    tables.more["sets"].loc[tables.more["sets"]["set"] == "reasoning", "baseline_well_formed_rate"] = 0.1
    assert warnings(tables, MODELS[0]) == [
        f"{MODELS[0]}: less than half of its answers are well formed on reasoning (10.0 %)."
    ]
    formed, reasoning, _ = warnings(tables, MODELS[1])
    assert formed.startswith(f"{MODELS[1]} (planted): only 30.0 % of its answers are well formed.")
    assert "its prompts end inside an open <think>, so" in reasoning
    assert "inside an open &lt;think&gt;" in page(tmp_path, tables)
    tables.baseline.loc[mine, "well_formed_rate"] = 0.5
    assert [text for text in warnings(tables, MODELS[1]) if "only" in text] == []


def test_a_model_that_answers_is_said_to_with_its_numbers(tables):
    tables.baseline["level"] = "above chance"
    tables.baseline[["model_accuracy", "model_accuracy_low", "model_accuracy_high", "model_chance"]] = [
        0.61,
        0.5,
        0.7,
        0.25,
    ]
    said = level_in_words(tables, MODELS[0])
    n = int(tables.baseline.loc[tables.baseline["model"] == MODELS[0], "n"].sum())
    assert said == (
        f"{MODELS[0]} answers above chance without masks: accuracy 61.0 % [50.0, 70.0], mean over cultures, and "
        "guessing gives 25.0 % "
        f"({n} questions)."
    )
    guess(tables)
    assert level_in_words(tables, MODELS[0]) == ""  # the warning says it


def test_a_preferred_place_is_said(tables):
    tables.baseline[["place", "place_n", "place_of", "place_expected", "place_p"]] = ["A", 30, 40, 10.0, 1e-9]
    (said,) = warnings(tables, MODELS[0])
    assert "prefers a place: 30 of 40 answers are option A of the prompt, where 10 would be even (p < 0.001)" in said
    tables.baseline["place_p"] = 0.02
    assert warnings(tables, MODELS[0]) == []


def test_cultures_without_a_mask_are_named_with_the_reason(tables):
    mine = (tables.effects["model"] == MODELS[0]) & (tables.effects["mask_culture"] == "B")
    tables.effects.drop(tables.effects.index[mine], inplace=True)
    tables.baseline.loc[tables.baseline["culture"] == "B", ["n_identify", "n_identify_correct"]] = [7, 1]
    (said,) = warnings(tables, MODELS[0])
    assert f"{MODELS[0]} has no mask for B (1 of 7): in brackets how many questions" in said
    assert warnings(tables, MODELS[1]) == []


def test_groups_that_are_too_few_for_a_verdict_are_said_first(tables):
    tables.evidence[["n_cultures", "n_controls"]] = [3, 2]
    (said,) = warnings(tables, MODELS[0])
    assert (
        "no verdict is possible on CAS: with 2 random controls, p < 0.05 needs at least 4 groups, and there are 3"
        in said
    )
    tables.evidence[["n_cultures", "n_controls"]] = [6, 2]
    assert warnings(tables, MODELS[0]) == []
