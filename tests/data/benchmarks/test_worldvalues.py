from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from culture_neurons.data import filtering, labels, reasons, registry
from culture_neurons.errors import ConfigError, DataError

ABOUT = {
    "Q1": {"question": "On a scale of 1 to 4, how important is family?", "category": "Social Values",
           "use_case": "value", "answer_scale_min": 1, "answer_scale_max": 4, "answer_data_type": "ordinal"},
    "Q122": {"question": "On a scale of 0 to 2, do you agree?", "category": "Migration",
             "use_case": "value", "answer_scale_min": 0, "answer_scale_max": 2, "answer_data_type": "ordinal"},
    "B_COUNTRY": {"question": "In what country?", "category": "Technical Variables", "use_case": "demographic",
                  "answer_scale_min": "", "answer_scale_max": "", "answer_data_type": "non_ordinal"},
}  # fmt: skip
COLUMNS = ("Question", "Question Category", "Continent", "Urban / Rural", "Education", "D_INTERVIEW")


def spec(folder: Path, answers: list[tuple[Any, Any, Any]], more: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """The authors' four files: a participant's id, and what they answered to Q1 and Q122."""
    people = [(person, ("Peru", "South Korea")[i % 2]) for i, (person, *_) in enumerate(answers)]
    pairs = [(q, str(person)) for person, *_ in answers for q in ("Q1", "Q122")] + list(more)
    samples = [(q, "Some", "Asia", "Urban", "Tertiary", person) for q, person in pairs]
    for name, heading, rows in (
        ("answers", ("D_INTERVIEW", "Q1", "Q2", "Q122"), [(p, a, "", b) for p, a, b in answers]),
        ("people", ("D_INTERVIEW", "A_YEAR", "B_COUNTRY"), [(p, 2018, place) for p, place in people]),
        ("samples", COLUMNS, samples),
    ):
        text = "".join("\t".join(map(str, row)) + "\n" for row in (heading, *rows))
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    (folder / "questions.json").write_text(json.dumps(ABOUT), encoding="utf-8")
    paths = {key: {"path": str(folder / name)} for key, name in
             (("people", "people.tsv"), ("questions", "questions.json"), ("samples", "samples.tsv"))}  # fmt: skip
    return {"type": "worldvaluesbench", "path": str(folder / "answers.tsv"), **paths}


def test_a_perfect_predictor_and_a_constant_one(tmp_path: Path) -> None:
    answers = [(604070000 + i, i % 3 + 1, i % 3) for i in range(12)]
    rows = registry.read(spec(tmp_path, answers)).rows
    right = [
        options[labels.parse_index(label)[0]] for label, options in zip(rows["label"], rows["options"], strict=True)
    ]
    assert right == [str(value) for _, *given in answers for value in given]
    for answer, number in Counter(right).items():
        constant = [answer if answer in options else None for options in rows["options"]]
        assert sum(a == b for a, b in zip(constant, right, strict=True)) == number
    assert rows["sample_id"].tolist()[:3] == ["Q1-604070000", "Q122-604070000", "Q1-604070001"]
    assert rows["culture"].tolist()[:4] == ["Peru", "Peru", "South Korea", "South Korea"]
    assert rows["options"].tolist()[:2] == [["1", "2", "3", "4"], ["0", "1", "2"]]
    assert rows["category"].tolist()[:2] == ["Social Values", "Migration"]
    assert ABOUT["Q1"]["question"] in rows["question"][0]
    assert "Peru" in rows["question"][0]
    assert {"continent", "settlement", "education", "participant", "question_id"} <= set(rows.columns)
    assert len(filtering.apply(rows, filtering.Settings()).kept) == 24


def test_what_can_not_be_asked_has_a_reason(tmp_path: Path) -> None:
    answers = [(1, 9, ""), (2, "2.0", "x"), (3, 1, 0), (4, 1, 0)]
    more = (("Q1", "99"), ("Q9", "3"), ("B_COUNTRY", "3"))
    about = spec(tmp_path, answers, more)
    (tmp_path / "answers.tsv").write_text(
        (tmp_path / "answers.tsv").read_text().replace("\tQ122\n", "\tQ122\tB_COUNTRY\n"), encoding="utf-8"
    )
    dropped = filtering.apply(registry.read(about).rows, filtering.Settings()).dropped
    assert dict(zip(dropped["sample_id"], dropped["reason"], strict=True)) == {
        "Q1-1": reasons.BAD_LABEL, "Q122-1": reasons.HIDDEN_LABEL, "Q1-2": reasons.BAD_LABEL,
        "Q122-2": reasons.BAD_LABEL, "Q1-99": reasons.MISSING_CULTURE, "Q9-3": reasons.EMPTY_QUESTION,
        "B_COUNTRY-3": reasons.NO_OPTIONS,
    }  # fmt: skip


def test_wrong_settings(tmp_path: Path) -> None:
    good = spec(tmp_path, [(1, 1, 1)])
    for change, message in (
        ({"people": "people.tsv"}, r"source\.people: expected {path: file}, found 'people\.tsv'"),
        ({"samples": {"path": "a", "id": "b"}}, r"source\.samples: unknown key 'id'"),
        ({"path": None}, r"source\.path: expected a text, found None"),
        ({"split": "test"}, r"source: unknown key 'split'"),
    ):
        with pytest.raises(ConfigError, match=message):
            registry.read(good | change)
    for key in ("people", "questions", "samples"):
        with pytest.raises(DataError, match=rf"source\.{key}\.path: no such file: .*nowhere\.json"):
            registry.read(good | {key: {"path": str(tmp_path / "nowhere.json")}})
    with pytest.raises(DataError, match=r"answers\.tsv: no column 'Question'"):
        registry.read(good | {"samples": {"path": good["path"]}})
    for text, message in (("{", "not readable as json"), ("[]", "expected a JSON object")):
        (tmp_path / "questions.json").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=f"questions.json: {message}"):
            registry.read(good)
