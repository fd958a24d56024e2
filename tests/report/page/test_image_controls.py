"""The sentence on the image controls."""

from __future__ import annotations

import dataclasses

from culture_neurons.report import figures
from culture_neurons.report.page import grids
from culture_neurons.report.page.image_controls import sentence
from tests.figures_tables import build, swap_images
from tests.report.test_page import Page, page

MODELS = ("demo-qwen2.5-vl", "planted-qwen2.5-vl")


def test_the_sentence_has_the_means_of_the_table_and_says_planted(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,), n=60)
    made = figures.read(tmp_path / "tables", ["images"])
    table = made.more["images"]
    for control, accuracy in (("shown", 0.9), ("blank", 0.3), ("none", 0.25)):
        mine = (table["control"] == control) & table["culture"].isna()
        table.loc[mine, ["accuracy", "accuracy_low", "accuracy_high"]] = accuracy, accuracy - 0.05, accuracy + 0.05
    said = sentence(made, MODELS[1])
    assert said == (
        "planted-qwen2.5-vl (planted), does it need the image: accuracy is 90.0 % as asked, 30.0 % with a grey image "
        "[25.0, 35.0], 25.0 % as text alone [20.0, 30.0]; guessing gives 25.0 % (means over cultures; 120 questions "
        "with an image)."
    )
    shown = page(tmp_path, made).replace("\N{NO-BREAK SPACE}", " ")
    assert any(said in paragraph for paragraph in Page(shown).parts["p"])
    assert "With and without the image" in shown


def test_answers_that_follow_the_image_and_further_data_sets_are_said(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,), n=60)
    made = figures.read(tmp_path / "tables", ["images"])
    table = swap_images(made.more["images"])
    table["set"] = "quiz"
    table[["accuracy", "accuracy_low", "accuracy_high"]] = 0.5, 0.25, 0.75
    swapped = dataclasses.replace(made, more={"images": table})
    follows = (
        "guessing gives 25.0 % (means over cultures; 120 questions with an image). Of 40 answers that were right with "
        "their own image, "
        "25.0 % [12.5, 50.0] (mean over cultures) became the option of the culture whose image was shown instead."
    )
    assert sentence(swapped, MODELS[0]) == (
        "demo-qwen2.5-vl, does it need the image: accuracy is 50.0 % as asked, 50.0 % with a grey image [25.0, 75.0], "
        "50.0 % as text alone [25.0, 75.0], 50.0 % with the image of another culture [25.0, 75.0]; " + follows
    )
    assert follows in page(tmp_path, swapped).replace("\N{NO-BREAK SPACE}", " ")

    more = dataclasses.replace(made, more={"images": swap_images(made.more["images"], "quiz")})
    own, further = sentence(more, MODELS[0]).split(" demo-qwen2.5-vl, ")
    assert own.startswith("demo-qwen2.5-vl, does it need the image on demo: ")
    assert further.startswith("does it need the image on quiz: ")
    assert further.endswith(follows)
    assert "became" not in own
    # Whose options are was not known.
    unknown = table.assign(followed_n=0, followed=None, followed_low=None, followed_high=None)
    assert "became" not in sentence(dataclasses.replace(made, more={"images": unknown}), MODELS[0])


def test_columns_that_only_swapped_images_have_are_shown_with_them(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,))
    made = figures.read(tmp_path / "tables", ["images"])
    for tables, shown in (
        (made, False),
        (dataclasses.replace(made, more={"images": swap_images(made.more["images"])}), True),
    ):
        (section,) = [part for part in grids.sections(tables) if part["name"] == "images"]
        names = [name for name, *_ in section["columns"]]
        assert ("followed" in names) == shown
        assert {"set", "accuracy"} <= set(names)
        assert not {"followed n", "n without other image", "followed low"} & set(names)
        assert any("0.25 [0.125, 0.5]" in str(row["cells"]) for row in section["rows"]) == shown


def test_without_controls_nothing_is_said(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,))
    assert sentence(figures.read(tmp_path / "tables"), MODELS[0]) == ""
    made = figures.read(tmp_path / "tables", ["images"])
    made.more["images"]["n"] = 0  # no question has an image
    assert sentence(made, MODELS[0]) == ""
    assert "does it need the image" not in page(tmp_path, made)
