"""The sentence on the image controls."""

from __future__ import annotations

from culture_neurons.report import figures
from culture_neurons.report.page.image_controls import sentence
from tests.figures_tables import build
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
        "[25.0, 35.0], 25.0 % as text alone [20.0, 30.0]; guessing gives 25.0 % (120 questions with an image)."
    )
    shown = page(tmp_path, made)
    assert any(said in paragraph for paragraph in Page(shown).parts["p"])
    assert "With and without the image" in shown


def test_without_controls_nothing_is_said(tmp_path):
    build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,))
    assert sentence(figures.read(tmp_path / "tables"), MODELS[0]) == ""
    made = figures.read(tmp_path / "tables", ["images"])
    made.more["images"]["n"] = 0  # no question has an image
    assert sentence(made, MODELS[0]) == ""
    assert "does it need the image" not in page(tmp_path, made)
