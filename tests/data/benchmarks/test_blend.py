from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from culture_neurons.data import labels, reasons, registry
from culture_neurons.data.benchmarks import blend
from culture_neurons.errors import ConfigError, DataError
from tests.data.benchmarks.conftest import FOODS, PROMPT, jsonl
from tests.data.benchmarks.conftest import blend as made

CHOICES = {"A": "17", "B": "bread (white)", "C": "rice", "D": "soup"}
OPTIONS = "\n".join(f"{letter}. {text}" for letter, text in CHOICES.items())
INSTRUCTION = "Without any explanation, choose only one from the given alphabet choices(e.g., A, B, C)."
FORMAT = 'Provide as JSON format: {"answer_choice":""}'
ASK = "At what age do kids start school in the UK? (Provide Arabic numerals (e.g., 12) only.)"


@pytest.mark.parametrize("prompt", [
    PROMPT.format(question=ASK, options=OPTIONS),
    f"{INSTRUCTION} {FORMAT}\n\n{ASK}\n\n{OPTIONS}\n\nAnswer:",
    f"{ASK}\n\n{OPTIONS}\n\n{INSTRUCTION} {FORMAT}\n\nAnswer:",
    f"{ASK} {INSTRUCTION}\r\n\r\n{OPTIONS}\r\n\r\nAnswer:",
    f"{ASK}\n{OPTIONS}", ASK, f"  {ASK} {INSTRUCTION.upper()}",
])  # fmt: skip
def test_the_question_is_taken_out_of_the_prompt(prompt: str) -> None:
    assert blend.parse_prompt(prompt, CHOICES) == ASK


@pytest.mark.parametrize("prompt", [
    "", None, 7, f"{INSTRUCTION} {FORMAT}\n\n{OPTIONS}\n\nAnswer:", f"{ASK}\n\nAnd then?\n\n{OPTIONS}",
    f'{ASK} Reply as {{"choice": ""}}\n\n{OPTIONS}', f"{ASK}\n\nA. another\n\n{OPTIONS}", "x" * 30_000,
])  # fmt: skip
def test_a_prompt_that_is_not_understood(prompt: Any) -> None:
    assert blend.parse_prompt(prompt, CHOICES) == ""


@pytest.mark.parametrize(("cell", "choices"), [
    ('{"B": "b", "A": "a"}', {"A": "a", "B": "b"}), ({"A": "a", "B": None}, {"A": "a"}), ("{", None), ("[1]", None),
    ("[" * 5000, None), (None, None), ('{"1": "a"}', None), ("{}", None), ({"AA": "x"}, None),
])  # fmt: skip
def test_choices(cell: Any, choices: Any) -> None:
    assert blend.parse_choices(cell) == choices


def spec(rows: list[dict[str, Any]], folder: Path, **more: Any) -> dict[str, Any]:
    return {"type": "blend", "path": jsonl(rows, folder / "mc.jsonl"), **more}


def test_questions_and_places(tmp_path: Path) -> None:
    rows, _ = made(6)
    rows[1]["choices"] = json.dumps({"C": "rice", "B": "noodles"})  # neither all letters nor in order
    rows[1]["answer_idx"] = "C"
    table = registry.read(spec(rows, tmp_path)).rows
    assert table["question"][0] == "What do people eat in South_Korea, 0?"
    assert table["culture"].tolist() == table["country"].tolist() == ["South Korea"] * 3 + ["UK"] * 3
    assert table["question_id"].tolist() == ["Al-en-00"] * 6
    assert table["options"].tolist()[:2] == [FOODS, ["noodles", "rice"]]
    assert table["label"].tolist()[:2] == [0, 1]


def test_only_the_first_variants_of_a_question_in_a_country(tmp_path: Path) -> None:
    rows, _ = made(12)  # two countries and two ids, three variants each
    table = registry.read(spec(rows, tmp_path, per_question=2)).rows
    assert table["excluded"].tolist() == [None, None, reasons.FURTHER_VARIANT] * 4
    assert set(registry.read(spec(rows, tmp_path)).rows["excluded"]) == {None}


def test_what_is_not_understood_has_a_reason(tmp_path: Path) -> None:
    rows, _ = made(6)
    rows[0]["prompt"], rows[1]["choices"], rows[2]["answer_idx"] = "Answer:", "no JSON", None
    table = registry.read(spec(rows, tmp_path)).rows
    assert table["excluded"].tolist() == [reasons.PROMPT, reasons.PROMPT, None, None, None, None]
    assert table["options"][1] is None
    assert labels.parse_index(table["label"][2])[1] == reasons.HIDDEN_LABEL


def test_topics(tmp_path: Path) -> None:
    rows, _ = made(12)
    path = tmp_path / "US_questions.csv"
    path.write_text(",ID,Topic\n0,Al-en-00,Work life\n1,other,Food\n", encoding="utf-8")
    table = {"path": str(path), "id": "ID", "topic": "Topic"}
    questions = registry.read(spec(rows, tmp_path, topics=table)).rows
    assert questions["category"].tolist() == ["Work life"] * 6 + [None] * 6
    with pytest.raises(ConfigError, match=r"source\.topics\.topic: expected a text, found None"):
        registry.read(spec(rows, tmp_path, topics={"path": str(path), "id": "ID"}))
    with pytest.raises(ConfigError, match=r"source\.topics: expected path, id and topic, found 'x'"):
        registry.read(spec(rows, tmp_path, topics="x"))
    with pytest.raises(DataError, match=r"source\.topics\.path: no such file"):
        registry.read(spec(rows, tmp_path, topics=table | {"path": "nowhere.csv"}))
    path.write_text("ID,Topic\nother,Food\nother,Sport\n", encoding="utf-8")
    with pytest.raises(DataError, match="id 'other' has two topics, 'Food' and 'Sport'"):
        registry.read(spec(rows, tmp_path, topics=table))


@pytest.mark.parametrize("value", [0, True, "5", 1.5])
def test_a_wrong_number_of_variants(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source\.per_question: .*; expected a whole number from 1"):
        registry.read(spec(made(3)[0], tmp_path, per_question=value))
