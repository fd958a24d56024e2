from __future__ import annotations

import pandas as pd

from culture_neurons.data import leakage


def table(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=leakage.COLUMNS)


def test_a_question_that_judges_neurons_is_known_again() -> None:
    first = ("Which?", ["a", "b"], 0, "", "evaluate")
    picture = ("What is this?", ["a", "b"], 1, "image 1", "evaluate")
    choosing = table(
        ("Which?", ["b", "a"], 1, "", "identify"),  # in another order
        ("Which?", ["a", "b"], 1, "", "identify"),  # another answer is right
        ("Which?", ["a", "c"], 0, "", "identify"),
        ("What?", ["a", "b"], 0, "", "identify"),
        ("What is this?", ["a", "b"], 1, "image 1", "identify"),
        ("What is this?", ["a", "b"], 1, "image 2", "identify"),
        ("Which?", ["a", "b"], 0, "", "evaluate"),  # it chooses nothing
    )
    assert leakage.repeats(choosing, [table(first), table(picture)]).tolist() == [1, 0, 0, 0, 1, 0, 0]
    assert not leakage.repeats(choosing, [table((*first[:4], "identify"))]).any()
    assert not leakage.repeats(choosing, []).any()
    assert leakage.repeats(choosing[:0], [table(first)]).shape == (0,)
