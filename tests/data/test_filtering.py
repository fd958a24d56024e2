from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from culture_neurons.data import filtering, labels, reasons
from culture_neurons.data.images import Inspected
from culture_neurons.errors import ConfigError, DataError
from tests.data.conftest import raw


def apply(rows: pd.DataFrame, check: filtering.ImageCheck | None = None, **stanza: Any) -> filtering.Filtered:
    return filtering.apply(rows, filtering.settings(stanza), check)


def changed(column: str, value: Any, row: int = 3, n: int = 8) -> pd.DataFrame:
    """Valid rows with one cell changed."""
    rows = raw(n)
    if column not in rows:
        rows[column] = pd.Series([None] * n, dtype=object)
    rows.at[row, column] = value
    return rows


def test_valid_rows_are_kept_and_sorted() -> None:
    filtered = apply(raw(12).iloc[::-1])
    assert filtered.kept["sample_id"].tolist() == sorted(f"s{i}" for i in range(12))
    assert list(filtered.kept) == [*filtering.REQUIRED, "culture", *filtering.IMAGE_SIZE]
    assert filtered.dropped.empty
    assert list(filtered.dropped) == ["sample_id", "culture", "reason"]


CASES = [
    ("sample_id", "s1", reasons.DUPLICATE_ID),
    ("sample_id", " s1 ", reasons.DUPLICATE_ID),
    ("excluded", reasons.OTHER_LANGUAGE, reasons.OTHER_LANGUAGE),
    ("culture", None, reasons.MISSING_CULTURE),
    ("culture", float("nan"), reasons.MISSING_CULTURE),
    ("culture", "  ", reasons.MISSING_CULTURE),
    ("culture", "A\nB", reasons.BAD_NAME),
    ("culture", "A\x00", reasons.BAD_NAME),
    ("culture", "\u202eA", reasons.BAD_NAME),
    ("category", "a\x1b[31m", reasons.BAD_NAME),
    ("sample_id", "a\tb", reasons.BAD_NAME),
    ("sample_id", "\ud800", reasons.BAD_NAME),
    ("culture", "A" * 201, reasons.LONG_NAME),
    ("question", None, reasons.EMPTY_QUESTION),
    ("question", " \n", reasons.EMPTY_QUESTION),
    ("options", None, reasons.NO_OPTIONS),
    ("options", "abc", reasons.NO_OPTIONS),
    ("options", [], reasons.FEW_OPTIONS),
    ("options", ["a"], reasons.FEW_OPTIONS),
    ("options", [str(i) for i in range(27)], reasons.MANY_OPTIONS),
    ("options", ["a", "", "c"], reasons.EMPTY_OPTION),
    ("options", ["a", None, "c"], reasons.EMPTY_OPTION),
    ("options", ["a", "b\ud83d", "c"], reasons.BAD_TEXT),
    ("option_cultures", ["A", "B"], reasons.OPTION_CULTURES),
    ("option_cultures", ["A", "B", "C", "D"], reasons.OPTION_CULTURES),
    ("option_cultures", ["A", " ", "C"], reasons.OPTION_CULTURES),
    ("option_cultures", ["A", "B\nC", "C"], reasons.OPTION_CULTURES),
    ("option_cultures", ["A", "\ud800", "C"], reasons.OPTION_CULTURES),
    ("option_cultures", ["A", "B" * 201, "C"], reasons.OPTION_CULTURES),
    ("option_cultures", "ABC", reasons.OPTION_CULTURES),
    ("option_cultures", 3, reasons.OPTION_CULTURES),
    ("question", "\udfff", reasons.BAD_TEXT),
    ("question", "x" * 20_001, reasons.LONG_TEXT),
    ("options", ["a", "b" * 20_001, "c"], reasons.LONG_TEXT),
    ("options", ["a", "b ", "b", "c"], reasons.EQUAL_OPTIONS),
    ("options", ["é", "e\u0301", "c"], reasons.EQUAL_OPTIONS),
    ("label", None, reasons.HIDDEN_LABEL),
    ("label", -1, reasons.HIDDEN_LABEL),
    ("label", True, reasons.BAD_LABEL),
    ("label", "B", reasons.BAD_LABEL),
    ("label", 0.5, reasons.BAD_LABEL),
    ("label", labels.AMBIGUOUS, reasons.TWO_WAYS),
    ("label", 3, reasons.LABEL_OUTSIDE),
    ("label", -2, reasons.LABEL_OUTSIDE),
    ("label", 10**400, reasons.LABEL_OUTSIDE),
    ("label", float("inf"), reasons.BAD_LABEL),
    ("question", ["a", "list"], reasons.EMPTY_QUESTION),
    ("image", {"path": "\ud800.png"}, reasons.BAD_IMAGE),
]


@pytest.mark.parametrize(("column", "value", "reason"), CASES)
def test_one_bad_cell_leaves_out_one_row_with_its_reason(column: str, value: Any, reason: str) -> None:
    filtered = apply(changed(column, value))
    assert filtered.dropped["reason"].tolist() == [reason]
    assert len(filtered.kept) == 7
    assert "excluded" not in filtered.kept
    written = "".join(filtered.dropped.iloc[0])
    assert written.isprintable()


def test_every_reason_of_a_row_by_itself_is_tried() -> None:
    by_others = {reasons.SUBSET, reasons.MISSING_ID, reasons.CULTURE_NOT_CHOSEN, reasons.CATEGORY_NOT_CHOSEN,
                 reasons.NOT_IN_SPLIT, reasons.FURTHER_VARIANT, reasons.PROMPT, reasons.IMAGE_OUTSIDE,
                 reasons.LONG_IMAGE, reasons.FEW_SAMPLES, reasons.NOT_LARGEST, reasons.JUDGES}  # fmt: skip
    # Said by the sources of facts, and tried with them (tests/data/facts).
    of_facts = {reasons.LITTLE_KNOWN, reasons.PART_OF_PLACE, reasons.MINOR_REGION, reasons.NOT_REGULAR,
                reasons.NOT_A_NAME, reasons.NAMES_COUNTRY, reasons.SHARED, reasons.OTHER_FORM,
                reasons.GIVEN_AWAY, reasons.OF_CULTURE, reasons.SEVERAL_QUANTITIES, reasons.NAMES_ANSWER,
                reasons.NO_ABBREVIATION, reasons.SHARED_ABBREVIATION, reasons.UNUSUAL}  # fmt: skip
    assert {reason for _, _, reason in CASES} == set(reasons.ALL) - by_others - of_facts


def test_missing_ids_are_not_duplicates() -> None:
    filtered = apply(raw(6, sample_id=["a", None, "", "b", " ", "c"]))
    assert filtered.dropped["reason"].tolist() == [reasons.MISSING_ID] * 3
    assert filtered.dropped["sample_id"].tolist() == [""] * 3


def test_the_first_of_equal_ids_is_kept_or_none() -> None:
    rows = raw(8, sample_id=["a", "b", "a", "c", "d", "e", "a", "f"], label=[2, 0, 1, 0, 0, 0, 0, 0])
    filtered = apply(rows)
    assert filtered.kept.set_index("sample_id").loc["a", "label"] == 2
    assert filtered.dropped["reason"].tolist() == [reasons.DUPLICATE_ID] * 2
    rows.at[0, "label"] = 9
    filtered = apply(rows)
    assert "a" not in filtered.kept["sample_id"].tolist()
    assert sorted(filtered.dropped["reason"]) == [reasons.DUPLICATE_ID] * 2 + [reasons.LABEL_OUTSIDE]


@pytest.mark.parametrize("name", ["a/b", "..", "Côte d'Ivoire", 'the "x"', "日本", "../../etc", "NA", "-rf", "C:\\x"])
def test_names_of_any_kind_are_legal(name: str) -> None:
    filtered = apply(raw(culture=[name, "B"] * 4), cultures=[name, "B"])
    assert filtered.dropped.empty
    assert set(filtered.kept["culture"]) == {name, "B"}


def test_texts_are_cleaned() -> None:
    rows = raw(culture=["Cote\u0301 ", "Coté", "B", "B"] * 2, question=[" e\u0301\n\nx "] * 8)
    rows["options"] = pd.Series([np.array(["a\nB. b", " c "], dtype=object), ("a", 1)] * 4, dtype=object)
    rows["label"] = pd.Series(["1", 1.0] * 4, dtype=object)
    kept = apply(rows, cultures=["Cote\u0301", "B"]).kept
    assert set(kept["culture"]) == {"Coté", "B"}
    assert set(kept["question"]) == {"é\n\nx"}
    assert kept["options"].tolist()[:2] == [["a B. b", "c"], ["a", "1"]]
    assert {(label, type(label)) for label in kept["label"]} == {(1, int)}


def test_cultures_and_categories() -> None:
    rows = raw(12, culture=list("ABCABCABCABC"))
    filtered = apply(rows, cultures=["A", "C"], categories=["food"])
    assert set(filtered.kept["culture"]) == {"A", "C"}
    assert set(filtered.kept["category"]) == {"food"}
    counts = filtered.dropped["reason"].value_counts()
    assert counts[reasons.CULTURE_NOT_CHOSEN] == 4
    assert counts[reasons.CATEGORY_NOT_CHOSEN] == len(rows) - 4 - len(filtered.kept)


def test_a_culture_that_no_row_has() -> None:
    with pytest.raises(DataError, match=r"filter\.cultures: no row has 'Jpan' \(did you mean 'Japan'\?\)\n  the 2"):
        apply(raw(culture=["Japan", "India"] * 4), cultures=["Jpan", "India"])
    with pytest.raises(DataError, match=r"filter\.categories: no row has 'foods'"):
        apply(raw(), categories=["foods"])


def test_a_culture_whose_rows_are_all_bad_is_known() -> None:
    rows = raw(9, culture=list("ABC") * 3, label=[0, 0, 9] * 3)
    assert set(apply(rows, cultures=["A", "B", "C"]).kept["culture"]) == {"A", "B"}


def test_grouping_by_another_column() -> None:
    rows = raw().assign(country=["x", "y"] * 4)
    kept = apply(rows, group_by="country").kept
    assert set(kept["culture"]) == {"x", "y"}
    assert kept["country"].tolist() == kept["culture"].tolist()
    kept = apply(rows, group_by="category").kept
    assert kept["culture"].tolist() == kept["category"].tolist()
    for wrong in ("contry", "label", "sample_id"):
        with pytest.raises(ConfigError, match=rf"filter\.group_by: no column '{wrong}'.*known: category, country"):
            apply(rows, group_by=wrong)


OWNERS = ["A", "B", "C"]


def test_whose_options_are_is_kept_as_a_list_in_the_order_of_options() -> None:
    owners = [OWNERS, (" A", "e\u0301", "C "), np.array(OWNERS, dtype=object), None, float("nan"), [], ["C", "C", "A"]]
    rows = raw(8, option_cultures=[*owners, OWNERS])
    filtered = apply(rows.iloc[::-1])
    assert filtered.dropped.empty
    kept = filtered.kept["option_cultures"].tolist()
    assert kept == [OWNERS, ["A", "\u00e9", "C"], OWNERS, [], [], [], ["C", "C", "A"], OWNERS]
    assert filtered.kept["options"].tolist() == [["a", "b", "c"]] * 8


def test_whose_options_are_is_renamed_as_cultures_are() -> None:
    rows = raw(8, option_cultures=[OWNERS] * 8)
    kept = apply(rows, rename={"A": "Z", "B": "C"}).kept
    assert kept["option_cultures"].tolist() == [["Z", "C", "C"]] * 8
    assert set(kept["culture"]) == {"Z", "C"}


def test_whose_options_are_is_of_no_use_where_rows_are_grouped_by_something_else() -> None:
    rows = raw(8, option_cultures=[OWNERS] * 8).assign(land=["x", "y"] * 4)
    assert "option_cultures" in apply(rows).kept
    assert "option_cultures" in apply(rows, cultures=["B", "A"]).kept
    assert "option_cultures" not in apply(rows, group_by="land").kept
    assert "option_cultures" not in apply(raw(8, option_cultures=[None] * 8)).kept
    with pytest.raises(ConfigError, match=r"group_by: no column 'option_cultures'.*known: category, culture, land"):
        apply(rows, group_by="option_cultures")


def test_rows_without_a_category() -> None:
    assert "unspecified" in set(apply(changed("category", None)).kept["category"])
    filtered = apply(changed("category", None), group_by="category")
    assert filtered.dropped["reason"].tolist() == [reasons.MISSING_CULTURE]


def test_group_columns_are_text() -> None:
    rows = raw(4).assign(year=[1999, None, 2001, float("nan")], odd=["a\x00", True, "", "\ud800"])
    kept = apply(rows).kept
    assert kept["year"].tolist() == ["1999.0", None, "2001.0", None]
    assert kept["odd"].tolist() == ["a\\x00", "True", None, "\\ud800"]


def test_images_are_checked_once_where_still_wanted() -> None:
    seen: list[Any] = []

    def check(references: Sequence[Any]) -> list[Inspected]:
        seen.extend(references)
        return [Inspected(reasons.BAD_IMAGE) if r == {"row": 4} else Inspected("", (r["row"], 9)) for r in references]

    rows = raw(9, culture=list("ABC") * 3, image=[{"row": i} for i in range(9)])
    rows.at[0, "label"] = 9
    filtered = apply(rows, check, cultures=["A", "B"])
    assert seen == [{"row": i} for i in (1, 3, 4, 6, 7)]
    assert filtered.dropped.set_index("sample_id").loc["s4", "reason"] == reasons.BAD_IMAGE
    assert filtered.kept.set_index("sample_id").loc["s3", ["width", "height"]].tolist() == [3, 9]
    seen.clear()
    assert "s4" in apply(rows, check, cultures=["A", "B"], check_images=False).kept["sample_id"].tolist()
    assert seen == []


@pytest.mark.parametrize(("limit", "left_out"), [({}, "cd"), ({"max_aspect_ratio": None}, ""),
                                               ({"max_aspect_ratio": 1.5}, "bcde"),
                                               ({"check_images": False}, "")])  # fmt: skip
def test_images_that_are_too_long_and_narrow(limit: dict[str, Any], left_out: str) -> None:
    sizes = {"a": (3, 2), "b": (1000, 5), "c": (1093, 5), "d": (5, 1001), "e": (1, 200), "f": None}
    rows = raw(6, sample_id=list(sizes), image=[{"path": name} for name in sizes])
    filtered = apply(rows, lambda references: [Inspected("", sizes[r["path"]]) for r in references], **limit)
    assert filtered.dropped.values.tolist() == [[c, "A" if c in "bdf" else "B", reasons.LONG_IMAGE] for c in left_out]
    assert filtered.kept["sample_id"].tolist() == [c for c in sizes if c not in left_out]


def test_sizes_count_what_is_left() -> None:
    rows = raw(12, culture=list("AAAAABBBBCCD"))
    rows.at[0, "label"] = 9
    rows.at[1, "label"] = 9
    filtered = apply(rows, min_samples=2, top_cultures=2)
    assert set(filtered.kept["culture"]) == {"B", "A"}
    left_out = dict(zip(filtered.dropped["culture"], filtered.dropped["reason"], strict=True))
    assert left_out == {"A": reasons.LABEL_OUTSIDE, "C": reasons.NOT_LARGEST, "D": reasons.FEW_SAMPLES}
    assert set(apply(rows, top_cultures=9).kept["culture"]) == set("ABCD")


def test_equally_large_cultures_by_name() -> None:
    assert set(apply(raw(12, culture=list("DCBA") * 3), top_cultures=2).kept["culture"]) == {"A", "B"}


def test_hidden_labels() -> None:
    for hidden in (-1, None):
        with pytest.raises(DataError, match=r"all 8 labels are missing or -1.*\n  set source.labels to {path, id"):
            apply(raw(label=[hidden] * 8))


@pytest.mark.parametrize(("stanza", "message"), [
    ({"cultures": ["A"]}, r"fewer than two cultures are left of 8 rows: A \(4\)\n.*left out: culture not chosen: 4"),
    ({"min_samples": 5},
     r"of 8 rows: none\n.*too few samples in culture: 8; filter\.min_samples is 5, and there are: A 4, B 4$"),
])  # fmt: skip
def test_too_little_is_left(stanza: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        apply(raw(), **stanza)


def test_a_label_is_blamed_for_what_is_wrong_with_it_alone() -> None:
    rows = raw()
    rows["label"] = [9] + 7 * [0]
    with pytest.raises(DataError, match=r"are: A 4, B 3; for example 's0' \(label outside its options\), label '9'$"):
        apply(rows, min_samples=5)
    rows = raw(question=[" "] + 7 * ["What?"])
    with pytest.raises(DataError, match=r"for example 's0' \(empty question\)$"):
        apply(rows, min_samples=5)


def test_one_culture_is_enough_where_it_is_asked_for() -> None:
    chosen = filtering.settings({"cultures": ["A"]})
    assert set(filtering.apply(raw(), chosen, at_least=1).kept["culture"]) == {"A"}
    with pytest.raises(DataError, match=r"no sample is left of 0 rows: none"):
        filtering.apply(raw(0), filtering.settings({}), at_least=1)


def test_cultures_are_renamed_before_they_are_chosen() -> None:
    rows = raw(9, culture=["UK", "U.K.", "US"] * 3)
    filtered = apply(rows, rename={"U.K.": "UK", "US": "United States "}, cultures=["UK", "United States"])
    assert filtered.kept["culture"].value_counts().to_dict() == {"UK": 6, "United States": 3}
    with pytest.raises(DataError, match=r"filter\.rename: no row has 'U\.S\.'"):
        apply(rows, rename={"U.S.": "US"})


def test_no_rows_at_all() -> None:
    with pytest.raises(DataError, match=r"of 0 rows: none\n.*no row was left out"):
        apply(raw(0))


def test_tally() -> None:
    rows = raw(8, label=[0, 0, 0, 0, 9, 9, 9, 0])
    rows.at[3, "question"] = ""
    assert filtering.count_reasons(apply(rows).dropped).values.tolist() == [
        [reasons.EMPTY_QUESTION, "A", 1],
        [reasons.LABEL_OUTSIDE, "A", 1],
        [reasons.LABEL_OUTSIDE, "B", 2],
    ]
    assert filtering.count_reasons(apply(raw()).dropped).empty


@pytest.mark.parametrize(("stanza", "message"), [
    ({"culture": ["A"]}, r"filter: unknown key 'culture' \(did you mean 'cultures'\?\)"),
    ({"cultures": "Japan"}, "expected a list of names or null, found 'Japan'"),
    ({"cultures": [1]}, "expected a list of names"),
    ({"cultures": []}, "the list is empty"),
    ({"categories": ["a", " a"]}, r"filter\.categories: 'a' is listed twice"),
    ({"min_samples": 0}, r"filter\.min_samples: 0; expected a whole number from 1"),
    ({"min_samples": True}, "expected a whole number"),
    ({"min_samples": None}, "expected a whole number"),
    ({"top_cultures": 1}, r"filter\.top_cultures: 1; expected a whole number from 2"),
    ({"top_cultures": 2.0}, "expected a whole number"),
    ({"check_images": "no"}, "expected true or false"),
    ({"max_aspect_ratio": 0.5}, r"filter\.max_aspect_ratio: 0\.5; expected a number from 1, or null"),
    ({"max_aspect_ratio": float("nan")}, "expected a number from 1"),
    ({"max_aspect_ratio": "200"}, "expected a number from 1"),
    ({"max_aspect_ratio": True}, "expected a number from 1"),
    ({"group_by": None}, r"filter\.group_by: expected the name"),
    ({"rename": ["UK"]}, r"filter\.rename: expected names and their new names, found \['UK'\]"),
    ({"rename": {}}, r"filter\.rename: expected names"),
    ({"rename": {"UK": " "}}, r"filter\.rename: 'UK': ' '; expected a name"),
    ({"rename": {"UK": "a\0b"}}, r"filter\.rename: 'UK': .*; expected a name"),
])  # fmt: skip
def test_wrong_settings(stanza: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        filtering.settings(stanza)


def test_defaults() -> None:
    assert filtering.settings({"cultures": None, "top_cultures": None}) == filtering.Settings()
