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


@pytest.mark.parametrize("name", ["日本", "Côte d'Ivoire", "a/b", "..", 'the "x"', "نیم\u200cفاصله", "a  b"])
def test_names_that_are_fine(name: str) -> None:
    assert not text.has_control(name)
    assert text.printable(name) == name


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "\x1b[31m", "a\u202eb", "a\u2028b", "\ud800", "a\x7f"])
def test_names_with_control_characters(name: str) -> None:
    assert text.has_control(name)
    assert not text.has_control(text.printable(name))
    assert text.encodable(text.printable(name))


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert not text.encodable("a\ud83d")
    assert text.encodable("a😀")
