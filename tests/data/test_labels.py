from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from culture_neurons.data import labels, reasons
from culture_neurons.errors import ConfigError, DataError

OPTIONS = ["rice", "bread ", "maize"]


@pytest.mark.parametrize(
    ("label", "index"),
    [(0, 0), (2, 2), (1.0, 1), ("2", 2), (" 1 ", 1), ("1.0", 1), (np.int64(2), 2), (np.float32(2), 2), (-3, -3)],
)
def test_whole_numbers(label: Any, index: int) -> None:
    assert labels.parse_index(label) == (index, "")
    assert type(labels.parse_index(label)[0]) is int


@pytest.mark.parametrize("label", [None, float("nan"), "", " ", -1, -1.0, "-1"])
def test_hidden_labels(label: Any) -> None:
    assert labels.parse_index(label)[1] == reasons.HIDDEN_LABEL


@pytest.mark.parametrize("label", [True, False, np.True_, 1.5, "1.5", "A", "one", "1e3", float("inf"), [1], "٣"])
def test_labels_that_are_no_whole_number(label: Any) -> None:
    assert labels.parse_index(label)[1] == reasons.BAD_LABEL


@pytest.mark.parametrize(("label", "index"), [("A", 0), ("c", 2), ("(B)", 1), ("B.", 1), ("Z", 25)])
def test_letters(label: str, index: int) -> None:
    assert labels.resolve(label, "letter", OPTIONS) == index


@pytest.mark.parametrize("label", ["1", 1, "AB", "Ä", True])
def test_what_is_no_letter_is_never_taken_for_an_index(label: Any) -> None:
    assert labels.parse_index(labels.resolve(label, "letter", OPTIONS))[1] == reasons.BAD_LABEL


@pytest.mark.parametrize(("label", "index"), [("rice", 0), ("bread", 1), (" maize\n", 2), ("tea", 3)])
def test_texts(label: str, index: int) -> None:
    assert labels.resolve(label, "text", OPTIONS) == index


def test_a_text_that_looks_like_an_index_is_a_text() -> None:
    assert labels.resolve("1", "text", ["3", "2", "1"]) == 2
    assert labels.resolve(1, "text", ["3", "2", "1"]) == 2
    assert labels.resolve("-1", "text", ["1", "-1"]) == 1


@pytest.mark.parametrize("kind", labels.KINDS)
@pytest.mark.parametrize("label", [None, "", -1, "-1"])
def test_hidden_in_every_kind(kind: str, label: Any) -> None:
    assert labels.resolve(label, kind, OPTIONS) is None


def test_lookup_compares_ids_as_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"ID": [7, 8, 9], "Label": [0, 1, 2]}).to_parquet(path)
    settings = {"path": str(path), "id": "ID", "label": "Label"}
    assert labels.lookup(settings, ["9", "7", "6"], "source.labels") == [2, 0, None]


def test_lookup_of_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("ID,Label\n007_0,3\n008_0,\n", encoding="utf-8")
    settings = {"path": str(path), "id": "ID", "label": "Label"}
    assert labels.lookup(settings, ["007_0", "008_0"], "source.labels") == ["3", None]


def test_no_common_id_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("ID,Label\nx,3\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"none of its 1 ids .*\n.*'x'.*'a'"):
        labels.lookup({"path": str(path), "id": "ID", "label": "Label"}, ["a", "b"], "source.labels")


def test_two_labels_of_one_id_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("ID,Label\nx,3\ny,1\nx,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="id 'x' has two labels, '3' and '2'"):
        labels.lookup({"path": str(path), "id": "ID", "label": "Label"}, ["x"], "source.labels")


def test_wrong_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source.labels: unknown key 'lable' \(did you mean 'label'\?\)"):
        labels.lookup({"path": "x.csv", "id": "ID", "lable": "Label"}, ["x"], "source.labels")
    with pytest.raises(ConfigError, match=r"source.labels.id: expected a text, found None"):
        labels.lookup({"path": "x.csv", "label": "Label"}, ["x"], "source.labels")
    with pytest.raises(ConfigError, match="expected one of index, letter, text"):
        labels.check_kind({"label_kind": "number"}, "source")


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (7.0, "7"), (" 007 ", "007"), (None, ""), (2**60, str(2**60))])
def test_identifiers(value: Any, text: str) -> None:
    assert labels.identifier(value) == text


@pytest.mark.parametrize(("label", "value"), [
    (1, 5), (0, 6), ("A", 7), (" A ", 7), (True, 8), (None, None), (float("nan"), None), ("", None), (-1, None),
    ("1", labels.NOT_UNDERSTOOD), (1.0, labels.NOT_UNDERSTOOD), (False, labels.NOT_UNDERSTOOD),
    ("a", labels.NOT_UNDERSTOOD), ([1], labels.NOT_UNDERSTOOD), ("-1", labels.NOT_UNDERSTOOD),
])  # fmt: skip
def test_codes_agree_in_type(label: object, value: object) -> None:
    assert labels.decode(label, [(1, 5), (0, 6), ("A", 7), (True, 8)]) == value


def test_a_code_that_stands_for_two_options_is_refused() -> None:
    codes = [("A", 0), ("B", 1), ("A", 2)]
    assert labels.decode("A", codes) == labels.AMBIGUOUS
    assert labels.decode("B", codes) == 1
    assert labels.parse_index(labels.AMBIGUOUS) == (-1, reasons.TWO_WAYS)
