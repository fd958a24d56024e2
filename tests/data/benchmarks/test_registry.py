"""What holds for every text benchmark: labels, wording, controls, settings."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.data import filtering, hub_rows, labels, reasons, registry, source
from culture_neurons.data.benchmarks import common
from culture_neurons.data.benchmarks.registry import BENCHMARKS
from culture_neurons.data.samples import read_samples
from culture_neurons.errors import ConfigError, DataError
from culture_neurons.steps import prepare
from culture_neurons.types import TEXT_BENCHMARKS
from culture_neurons.workflow.config_checks import read_schema
from tests.data.benchmarks.conftest import KINDS, blend, commonsenseqa, csv, jsonl, normad, parquet, qnli, saved

SCHEMA = read_schema(Path(__file__).parents[3] / "workflow/schemas/config.schema.yaml")
WRITERS = {"rows.parquet": parquet, "saved": saved, "rows.jsonl": jsonl, "rows.csv": csv}


def chosen(rows: pd.DataFrame) -> list[str]:
    """The text of the right option of every row, as the pipeline understands its label."""
    places = [labels.parse_index(label) for label in rows["label"]]
    assert {reason for _, reason in places} == {""}
    return [options[place] for (place, _), options in zip(places, rows["options"], strict=True)]


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k in KINDS for n in WRITERS if (k, n) != ("commonsenseqa", "rows.csv")]
)
def test_a_perfect_predictor_is_perfect_and_a_constant_one_gets_the_share_of_its_label(
    kind: str, name: str, tmp_path: Path
) -> None:
    make, spec, _, _ = KINDS[kind]
    rows, answers = make()
    table = registry.read(spec | {"path": WRITERS[name](rows, tmp_path / name), "split": "train"}).rows
    assert chosen(table) == answers
    for answer, number in Counter(answers).items():
        constant = [options.index(answer) for options in table["options"]]
        right = sum(int(a == b) for a, b in zip(constant, table["label"], strict=True))
        assert right == number
    assert table["sample_id"].is_unique
    assert table["question"].str.len().min() > 5
    assert set(source.REQUIRED) | {"culture"} <= set(table.columns)
    assert table["image"].isna().all()
    assert set(table["image_id"]) == {""}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_a_wrong_type_are_dropped(kind: str, tmp_path: Path) -> None:
    make, spec, column, wrong = KINDS[kind]
    rows, answers = make()
    for row, label in zip(rows, wrong, strict=False):
        row[column] = label
    table = registry.read(spec | {"path": jsonl(rows, tmp_path / "rows.jsonl")}).rows
    why = [labels.parse_index(label)[1] for label in table["label"]]
    expected = [reasons.BAD_LABEL] * len(wrong) + [""] * (len(rows) - len(wrong))
    assert why == expected
    assert chosen(table[len(wrong) :]) == answers[len(wrong) :]


@pytest.mark.parametrize("kind", ["hard", "qnli", "mrpc"])
def test_labels_from_one_are_refused_where_they_are_documented_from_zero(kind: str, tmp_path: Path) -> None:
    make, spec, column, _ = KINDS[kind]
    rows, _ = make()
    for row in rows:
        row[column] = 1 + int(row[column])
    for name, write in WRITERS.items():
        path = write(rows, tmp_path / name)
        with pytest.raises(DataError, match=rf"{name}: column '{column}': none of 24 labels is 0 .* expected 0 to 1"):
            registry.read(spec | {"path": path, "split": "train"})


@pytest.mark.parametrize("kind", KINDS)
def test_no_label_is_taken_in_another_way_than_documented(kind: str, tmp_path: Path) -> None:
    """A column in which all labels are of one wrong kind loses every row; none gets another answer."""
    make, spec, column, _ = KINDS[kind]
    rows, answers = make()
    codes = {answer: i for i, answer in enumerate(dict.fromkeys(answers))}
    number = [codes[answer] for answer in answers]
    for wrong in ([str(1 + n) for n in number], [1.0 + n for n in number], ["abc"[n] for n in number], answers):
        if kind == "normad" and wrong is answers:
            continue  # its labels are the answers
        changed = [row | {column: label} for row, label in zip(rows, wrong, strict=True)]
        table = registry.read(spec | {"path": jsonl(changed, tmp_path / "rows.jsonl")}).rows
        assert {labels.parse_index(label)[1] for label in table["label"]} == {reasons.BAD_LABEL}


@pytest.mark.parametrize(("marks", "key", "expected"), [
    (["1", "2", "3", "4", "5"], "2", 1), (["1", "2", "3", "4", "5"], 2, reasons.BAD_LABEL),
    (list("BACDE"), "A", 1), (list("AABCD"), "A", reasons.TWO_WAYS), (list("AABCD"), "B", 2),
    (list("ABCDE"), "2", reasons.BAD_LABEL),
])  # fmt: skip
def test_the_key_of_commonsenseqa_is_looked_up_among_the_marks(marks, key, expected, tmp_path: Path) -> None:
    rows, _ = commonsenseqa(1)
    rows[0]["choices"]["label"], rows[0]["answerKey"] = marks, key
    table = registry.read({"type": "commonsenseqa", "path": jsonl(rows, tmp_path / "rows.jsonl")}).rows
    value, reason = labels.parse_index(table["label"][0])
    assert (reason or value) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_labels(kind: str, tmp_path: Path) -> None:
    make, spec, column, _ = KINDS[kind]
    rows, _ = make()
    for row, label in zip(rows, (None, "", -1), strict=False):
        row[column] = label
    table = registry.read(spec | {"path": jsonl(rows, tmp_path / "rows.jsonl")}).rows
    assert [labels.parse_index(label)[1] for label in table["label"][:3]] == [reasons.HIDDEN_LABEL] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_control_has_options_and_label_but_no_question(kind: str, tmp_path: Path) -> None:
    make, spec, _, _ = KINDS[kind]
    spec = spec | {"path": jsonl(make()[0], tmp_path / "rows.jsonl")}
    rows = registry.read(spec).rows
    control = registry.read(spec | {"control": True}).rows
    assert set(control["question"]) == {common.CONTROL}
    assert control["sample_id"].tolist() == [f"{i}-control" for i in rows["sample_id"]]
    assert not set(control["sample_id"]) & set(rows["sample_id"])
    same = [name for name in rows.columns if name not in ("sample_id", "question")]
    pd.testing.assert_frame_equal(control[same], rows[same])
    own = registry.read(spec | {"control": True, "control_template": "Pick one."}).rows
    assert set(own["question"]) == {"Pick one."}


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_not_there(kind: str, tmp_path: Path) -> None:
    make, spec, column, _ = KINDS[kind]
    rows = [{key: value for key, value in row.items() if key != column} for row in make()[0]]
    for name, write in WRITERS.items():
        path = write(rows, tmp_path / name)
        with pytest.raises(DataError, match=re.escape(f"{path}: no column {column!r}")):
            registry.read(spec | {"path": path, "split": "train"})


def test_a_control_of_an_empty_question_stays_empty(tmp_path: Path) -> None:
    rows, _ = qnli()
    rows[0]["sentence"], rows[1]["idx"] = " ", None
    table = registry.read({"type": "qnli", "path": jsonl(rows, tmp_path / "r.jsonl"), "control": True}).rows
    assert table["question"].tolist()[:2] == ["", common.CONTROL]
    assert table["sample_id"].tolist()[:3] == ["0-control", "", "2-control"]


def test_all_templates_are_used_evenly_and_by_the_seed(tmp_path: Path) -> None:
    rows, _ = qnli(400)
    spec = {"type": "qnli", "path": jsonl(rows, tmp_path / "r.jsonl")}
    spec |= {"templates": [f"{i}: {{question}} {{sentence}}" for i in range(4)]}
    texts = registry.read(spec).rows["question"]
    used = Counter(text[0] for text in texts)
    assert set(used) == set("0123")
    assert min(used.values()) > 70
    assert texts[7].endswith(": Who, 7? It was 7.")
    other = registry.read(spec | {"seed": 2}).rows["question"]
    assert 200 < (texts != other).sum() < 400
    fewer = registry.read(spec | {"path": jsonl(rows[:50], tmp_path / "f.jsonl")}).rows["question"]
    assert (fewer == texts[:50]).all()


def test_our_own_wording_has_four_texts_where_fields_are_joined() -> None:
    for variants in BENCHMARKS.values():
        for benchmark in variants:
            number = 1 if benchmark.templates == ("{question}",) else 4
            assert len(set(benchmark.templates)) == number


@pytest.mark.parametrize(("change", "message"), [
    ({"templates": ["{question} {sentense}"]}, r"source\.templates: text 1: unknown field {sentense} \(did you"),
    ({"templates": ["{question}", "{question!r}"]}, r"text 2: unknown field {question!r} \(did you"),
    ({"templates": ["{question.__class__}"]}, r"unknown field {question\.__class__}"),
    ({"templates": ["{question:>9}"]}, r"unknown field {question:>9}"),
    ({"templates": ["{question"]}, r"text 1: .*; write {{ and }} for braces"),
    ({"templates": ["{}"]}, r"unknown field {}"),
    ({"templates": ["Yes?"]}, r"text 1 names no field; known: {question}, {sentence}"),
    ({"templates": "{question}"}, r"source\.templates: expected a list of texts"),
    ({"templates": []}, r"source\.templates: expected a list of texts"),
    ({"templates": [1]}, r"source\.templates: text 1: expected a text, found 1"),
    ({"control": True, "control_template": " "}, r"source\.control_template: expected a text, found ' '"),
    ({"control": True, "control_template": "{question}"}, r"control_template: unknown field {question}; known: no fi"),
    ({"control": "yes"}, r"source\.control: expected true or false, found 'yes'"),
    ({"seed": True}, r"source\.seed: expected a whole number, found True"),
    ({"path": None}, r"source\.path: expected a text, found None"),
    ({"revision": 3}, r"source\.revision: expected a text or null, found 3"),
    ({"temlates": []}, r"source: unknown key 'temlates' \(did you mean 'templates'\?\); known: type, path"),
    ({"config": "mnli"}, r"source\.config: 'mnli' \(did you mean 'qnli'\?\); expected qnli"),
    ({"config": 1}, r"source\.config: 1; expected qnli"),
])  # fmt: skip
def test_wrong_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.read({"type": "qnli", "path": "rows.jsonl"} | change)


def test_types_and_where_they_lie() -> None:
    assert set(BENCHMARKS) == set(TEXT_BENCHMARKS)
    assert set(SCHEMA["$defs"]["source"]["properties"]["type"]["enum"]) == set(registry.SOURCES)
    assert registry.home({"type": "mrpc", "revision": "abc"}) == {
        "path": "nyu-mll/glue", "split": "test", "revision": "abc", "config": "mrpc",
    }  # fmt: skip
    assert registry.home({"type": "culturalbench", "config": "CulturalBench-Hard"})["config"] == "CulturalBench-Hard"
    assert registry.home({"type": "normad", "path": "x"}) == {"path": "x", "split": "train", "revision": None}
    assert registry.home({"type": "cvqa"}) == {"path": "afaji/cvqa", "split": "test", "revision": None}
    assert registry.home({"type": "country-mention"}) is registry.home({"type": "table"}) is None


def test_the_hub_is_asked_for_the_config_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def read_columns(path: str, names: list[str], **more: Any) -> dict[str, list]:
        calls.append((path, more))
        return {name: [] for name in names}

    monkeypatch.setattr(hub_rows, "read_columns", read_columns)
    rows = registry.read({"type": "qnli", "revision": "abc"}).rows
    assert set(source.REQUIRED) <= set(rows.columns)
    assert len(rows) == 0
    assert calls == [
        ("nyu-mll/glue", {"revision": "abc", "split": "validation", "config": "qnli", "literal": ["label"]})
    ]


def test_from_a_benchmark_to_samples(tmp_path: Path) -> None:
    rows, answers = normad(40)
    rows[0]["Gold Label"], rows[1]["Story"], rows[2]["Country"] = 1, "", None
    spec = {"type": "normad", "path": csv(rows, tmp_path / "normad.csv")}
    words = ["--source", json.dumps(spec)]
    for name in ("samples.parquet", "dropped.csv", "counts.csv"):
        words += [f"--{name.partition('.')[0]}-out", str(tmp_path / name)]
    prepare.main(prepare.arguments().parse_args(words))
    samples, open_image = read_samples(tmp_path / "samples.parquet")
    assert {s.culture for s in samples} == {"Bosnia and Herzegovina", "Egypt"}
    assert {s.sample_id: s.options[s.label] for s in samples} == {str(i): answers[i] for i in range(3, 40)}
    assert {s.category for s in samples} == {"eating", "visiting"}
    assert {open_image(s.image) for s in samples} == {None}
    dropped = files.read_csv(tmp_path / "dropped.csv", ["sample_id", "reason"], ["sample_id"])
    assert dict(zip(dropped["sample_id"], dropped["reason"], strict=True)) == {
        "0": reasons.BAD_LABEL, "1": reasons.EMPTY_QUESTION, "2": reasons.MISSING_CULTURE,
    }  # fmt: skip


def test_halves_of_blend_by_topic(tmp_path: Path) -> None:
    rows, _ = blend(24)
    topics = tmp_path / "US_questions.csv"
    topics.write_text(",ID,Topic\n0,Al-en-00,Food\n1,Al-en-01,Family\n2,Al-en-02,Sport\n", encoding="utf-8")
    spec = {"type": "blend", "path": jsonl(rows, tmp_path / "mc.json"),
            "topics": {"path": str(topics), "id": "ID", "topic": "Topic"}}  # fmt: skip
    table = registry.read(spec)
    kept = filtering.apply(table.rows, filtering.Settings(), None, ["Food", "Family"])
    assert Counter(kept.kept["category"]) == {"Food": 6, "Family": 6}
    assert set(kept.dropped["reason"]) == {reasons.NOT_IN_SPLIT}
