from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from culture_neurons.data import text


@pytest.mark.parametrize("value", [None, float("nan"), np.nan, pd.NA, pd.NaT])
def test_missing_cells(value: object) -> None:
    assert text.missing(value)
    assert text.clean(value) == ""


@pytest.mark.parametrize("value", ["", "NA", 0, False, [], ["a"], {"bytes": None}])
def test_cells_that_are_there(value: object) -> None:
    assert not text.missing(value)


def test_clean_composes_and_strips() -> None:
    assert text.clean("  Cote\u0301 \n") == "Coté"
    assert text.clean_line(" two \n lines\t") == "two lines"
    assert text.clean("two\nlines") == "two\nlines"


@pytest.mark.parametrize("value", [b"bytes", ["a"], ("a",), {"a": 1}, np.array(["a"])])
def test_what_is_no_single_value_is_no_text(value: object) -> None:
    assert text.clean(value) == text.clean_line(value) == ""


def test_long_text_is_not_composed() -> None:
    stacked = "e" + "\u0301" * 300_000 + "\u0316" * 300_000  # to compose it would take an hour
    assert text.clean(stacked) == text.clean_line(stacked) == stacked
    assert text.clean_line("e\u0301" + " " * 100_000 + "b") == "é b"


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert not text.encodable("a\ud83d")
    assert text.encodable("a😀")
