from __future__ import annotations

import pytest

from culture_neurons.data import option_marks

FOODS = ("rice", "bread", "soup")


def marked(form: str, marks: str) -> list[str]:
    return [form.format(mark, food) for mark, food in zip(marks, FOODS, strict=True)]


@pytest.mark.parametrize("form", ["{}. {}", "({}) {}", "{}) {}", "{}: {}", "{}.{}", "{}、{}", "{}．{}", "{} ) {}"])
@pytest.mark.parametrize(("marks", "kind"), [
    ("ABC", "letter"), ("abc", "letter"), ("123", "number"), ("012", "number"),
])  # fmt: skip
def test_marks_in_order(form: str, marks: str, kind: str) -> None:
    own_marks = option_marks.find_marks(marked(form, marks))
    assert own_marks == (kind, (0, 1, 2))
    assert not own_marks.shuffled


@pytest.mark.parametrize(("marks", "order"), [("BCA", (1, 2, 0)), ("312", (2, 0, 1)), ("201", (2, 0, 1))])
def test_marks_in_another_order(marks: str, order: tuple[int, ...]) -> None:
    own_marks = option_marks.find_marks(marked("{}. {}", marks))
    assert own_marks.order == order
    assert own_marks.shuffled


@pytest.mark.parametrize("options", [
    FOODS, ["A. rice", "B. bread", "soup"], ["A. rice", "A. bread"], ["A. rice", "C. bread"], ["A. rice"], [],
    ["1.5 km", "2.5 km", "3.5 km"], ["1:30", "2:30"], ["2. rice", "3. bread"], ["A", "B"], ["1", "2"], ["A.", "B."],
    ["A rice", "B bread"], ["1. rice", "B. bread"], ["St. Peter", "A. Blue"], ["10. rice", "11. bread"],
])  # fmt: skip
def test_what_is_no_mark(options: list[str]) -> None:
    assert option_marks.find_marks(options) is None


def test_the_warning_counts_questions() -> None:
    rows = [marked("{}. {}", "ABC"), list(FOODS), marked("({}) {}", "ABC")]
    warning = option_marks.describe_marked(rows)
    assert "the options of 2 of 3 questions bring letters or numbers of their own ('A. rice')" in warning
    assert "\n" not in warning
    assert option_marks.describe_marked([list(FOODS)]) == option_marks.describe_marked([]) == ""
