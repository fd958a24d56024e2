from __future__ import annotations

from typing import Any

import pytest

from culture_neurons.data import label_columns, labels, reasons
from culture_neurons.data.label_columns import Reading
from culture_neurons.errors import ConfigError, DataError

FOUR = ["rice", "bread", "soup", "figs"]
OUTSIDE = 4
PLAIN = Reading()
#: Ways in which files write the same whole number.
WRITTEN = {"int": int, "text": str, "float": float, "text of a float": "{}.0".format}


def read(raw: list[Any], reading: Reading = PLAIN, options: list[Any] | None = None) -> list[Any]:
    indices, warnings = label_columns.resolve(raw, options or [FOUR] * len(raw), reading, "t.csv: column 'l'")
    assert warnings == ()
    return indices


def refused(raw: list[Any], reading: Reading = PLAIN, options: list[Any] | None = None) -> str:
    with pytest.raises(DataError, match=r"^t\.csv: column 'l': ") as caught:
        label_columns.resolve(raw, options or [FOUR] * len(raw), reading, "t.csv: column 'l'")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def places(indices: list[Any]) -> list[Any]:
    """Indices, or the reason why there is none."""
    return [reason or value for value, reason in map(labels.parse_index, indices)]


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_labels_from_one_are_refused_and_read_with_label_base_one(written: Any) -> None:
    raw = [written(1 + i % 4) for i in range(40)]
    for reading in (Reading(), Reading("index"), Reading(base=0), Reading("index", 0)):
        message = refused(raw, reading)
        assert "none of 40 labels is 0 and 10 are the number of options" in message
        assert message.endswith("set label_base: 1")
    assert places(read(raw, Reading(base=1))) == [i % 4 for i in range(40)]


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_labels_from_zero_are_read_and_refused_with_label_base_one(written: Any) -> None:
    raw = [written(i % 4) for i in range(40)]
    for reading in (Reading(), Reading("index"), Reading(base=0)):
        assert places(read(raw, reading)) == [i % 4 for i in range(40)]
    message = refused(raw, Reading(base=1))
    assert "10 of 40 labels are 0 and none is the number of options" in message
    assert message.endswith("remove label_base: 1")


def test_questions_with_different_numbers_of_options_are_each_compared_with_their_own() -> None:
    options = [FOUR[:2], FOUR[:3], FOUR]
    # 2 is an index of the second and the third question, and the number of options of the first.
    assert "none of 3 labels is 0 and 1 are" in refused([2, 2, 2], options=options)
    assert places(read([2, 2, 2], Reading(base=1), options)) == [1, 1, 1]
    assert places(read([0, 2, 2], options=options)) == [0, 2, 2]


def test_a_single_label_outside_is_left_out_with_a_warning() -> None:
    raw = [i % 4 for i in range(40)] + [4, 9, -1, None]
    indices, warnings = label_columns.resolve(raw, [FOUR] * 44, Reading(), "t.csv: column 'l'")
    assert places(indices) == [*(i % 4 for i in range(40)), 4, 9, *[reasons.HIDDEN_LABEL] * 2]
    (warning,) = warnings
    assert warning.startswith("t.csv: column 'l': 1 of 42 labels are the number of options: outside")
    assert warning.endswith("set label_base: 1")
    assert places(read(raw, Reading(base=0))) == places(indices)


def test_zero_may_stand_for_no_answer_where_labels_run_from_one() -> None:
    raw = [0, 0, 1, 2, 3, 4, 4]
    assert "may run from 0 or from 1: 2 of 7 are 0, and 2 the number of options" in refused(raw)
    # As an index of -1 it would pass for hidden; it is outside, and counted as such.
    assert places(read(raw, Reading(base=1))) == [OUTSIDE, OUTSIDE, 0, 1, 2, 3, 3]
    assert places(read(raw, Reading(base=0))) == raw


@pytest.mark.parametrize("raw", [[1, 2, 3, 2] * 30, [1], ["2", None, "-1"]])
def test_labels_that_fit_both_bases_are_refused_until_the_config_says_which(raw: list[Any]) -> None:
    message = refused(raw)
    assert "labels may run from 0 or from 1: none of" in message
    assert message.endswith("set label_base: 0 or label_base: 1")
    seen = [value for value, reason in map(labels.parse_index, raw) if not reason]
    for base in (0, 1):
        indices = places(read(raw, Reading(base=base)))
        assert [value for value in indices if isinstance(value, int)] == [value - base for value in seen]


@pytest.mark.parametrize("base", [None, 0, 1])
def test_hidden_and_odd_labels_stay_what_they_are(base: int | None) -> None:
    raw = [-1, "-1", None, float("nan"), "", True, "x", 1.5]
    assert places(read(raw, Reading(base=base))) == [reasons.HIDDEN_LABEL] * 5 + [reasons.BAD_LABEL] * 3


def test_rows_without_options_say_nothing_of_the_base() -> None:
    options = [None, "rice", ["rice"], FOUR, FOUR]
    assert places(read([4, 4, 1, 0, 1], options=options))[-2:] == [0, 1]


@pytest.mark.parametrize("written", [int, str])
def test_labels_that_are_texts_of_options_are_not_taken_for_indices(written: Any) -> None:
    options = [["3", "2", "1", "0"], ["2", "1", "0", "3"]] * 4
    raw = [written(i) for i in (0, 1, 2, 3, 1, 0, 3, 2)]
    message = refused(raw, options=options)
    assert "8 labels are texts of their options, and" in message
    assert message.endswith("set label_kind: text, or label_kind: index")
    assert places(read(raw, Reading("index"), options)) == [0, 1, 2, 3, 1, 0, 3, 2]
    assert places(read(raw, Reading("text"), options)) == [3, 1, 1, 3, 2, 2, 0, 0]
    same = [["0", "1", "2", "3"]] * 8
    assert places(read(raw, options=same)) == places(read(raw, Reading("text"), same)) == [0, 1, 2, 3, 1, 0, 3, 2]


def test_a_bad_row_among_labels_that_are_texts_hides_nothing() -> None:
    options = [["1", "3", "5", "7"]] * 9
    assert "8 labels are texts" in refused([1, 3, 5, 7, 1, 3, 5, 7, 9], options=options)


def test_a_few_options_that_are_numbers_leave_indices_indices() -> None:
    options = [["1", "2", "3", "4"]] * 2 + [FOUR] * 6
    assert places(read([1, 2, 3, 0, 1, 2, 3, 0], options=options)) == [1, 2, 3, 0, 1, 2, 3, 0]


def test_texts_without_a_kind_are_told_which() -> None:
    assert "2 labels are texts of their options, and 2 of these (such as 'rice')" in refused(["rice", "figs"])


def test_letters_are_places_whatever_the_options_are() -> None:
    options = [["B", "A", "D", "C"]] * 3
    assert places(read(["A", "b", "(D)"], Reading("letter"), options)) == [0, 1, 3]
    assert places(read(["A", "B", "D"], Reading("text"), options)) == [1, 0, 2]
    assert places(read(["1", 2, 3.0], Reading("letter"), options)) == [reasons.BAD_LABEL] * 3
    assert places(read(["E", "A"], Reading("letter"), options[:2])) == [OUTSIDE, 0]


@pytest.mark.parametrize(("options", "kind", "label"), [
    (["B. bread", "A. rice", "C. soup"], "letter", "A"), (["(b) bread", "(a) rice"], "letter", "a"),
    (["2) bread", "1) rice", "3) soup"], "index", 1), (["1. bread", "0. rice"], "index", "0"),
])  # fmt: skip
def test_options_shuffled_with_their_own_marks_are_left_out(options: list[str], kind: str, label: Any) -> None:
    """The label may mean the mark, as well as the place."""
    good = {"letter": "A", "index": 0}[kind]
    indices = read([label, good, None], Reading(kind), [options, FOUR, options])
    assert places(indices) == [reasons.TWO_WAYS, 0, reasons.HIDDEN_LABEL]
    in_order = sorted(options, key=lambda option: option.strip("("))
    assert places(read([good], Reading(kind), [in_order])) == [0]
    assert places(read([options[0]], Reading("text"), [options])) == [0]


def test_marks_of_another_kind_do_not_matter() -> None:
    assert places(read([0], Reading("index"), [["B. bread", "A. rice"]])) == [0]
    assert places(read(["A"], Reading("letter"), [["2. bread", "1. rice"]])) == [0]


@pytest.mark.parametrize(("spec", "message"), [
    ({"label_base": 2}, r"^source\.label_base: 2; expected 0 or 1"), ({"label_base": True}, "True; expected 0 or 1"),
    ({"label_base": "1"}, "'1'; expected 0 or 1"), ({"label_base": [1]}, r"\[1\]; expected 0 or 1"),
    ({"label_kind": "letter", "label_base": 1}, "goes with label_kind: index, and label_kind is letter"),
    ({"label_kind": "number"}, "expected one of index, letter, text"),
])  # fmt: skip
def test_wrong_settings(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        label_columns.check(spec, "source")


def test_settings() -> None:
    assert label_columns.check({}, "source") == label_columns.check({"label_base": None}, "source") == Reading()
    assert label_columns.check({"label_kind": "index", "label_base": 0}, "source") == Reading("index", 0)
    assert label_columns.check({"label_base": 1}, "source") == Reading("index", 1)  # a base is that of indices


def test_codes_that_run_from_one_are_refused() -> None:
    label_columns.check_codes([0, 1, -1, 2], 2, "x")
    label_columns.check_codes([1, 1], 2, "x")  # documented, so that it is no index from 1
    label_columns.check_codes([True, False, 2], 2, "x")
    label_columns.check_codes(["1", 1.0, "2", None, [2]], 2, "x")  # none of them is a code
    with pytest.raises(DataError, match=r"^x: none of 3 labels is 0 and 1 are 2, so .*; expected 0 to 1, as the data"):
        label_columns.check_codes([1, 2, 1, -1], 2, "x")
