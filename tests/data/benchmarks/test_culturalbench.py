from __future__ import annotations

from pathlib import Path

from culture_neurons.data import registry
from tests.data.benchmarks.conftest import csv, easy, hard, jsonl


def test_easy(tmp_path: Path) -> None:
    table = registry.read({"type": "culturalbench", "path": jsonl(easy(4)[0], tmp_path / "e.jsonl")}).rows
    assert table["sample_id"].tolist() == ["0", "1", "2", "3"]
    assert table["culture"].tolist() == ["South Korea", "Peru"] * 2
    assert table["question"].tolist()[1] == "Which one, 1?"


def test_hard_asks_for_each_option(tmp_path: Path) -> None:
    spec = {"type": "culturalbench", "config": "CulturalBench-Hard"}
    rows, _ = hard(8)
    table = registry.read(spec | {"path": jsonl(rows, tmp_path / "h.jsonl")}).rows
    assert table["sample_id"].tolist() == [f"{q}-{k}" for q in (0, 1) for k in (1, 2, 3, 4)]
    assert table["question_id"].tolist() == ["0"] * 4 + ["1"] * 4
    assert all(row["prompt_option"] in text for row, text in zip(rows, table["question"], strict=True))
    assert {tuple(options) for options in table["options"]} == {("True", "False")}
    numbers = [row | {"answer": int(row["answer"])} for row in rows]
    for path in (jsonl(numbers, tmp_path / "n.jsonl"), csv(numbers, tmp_path / "n.csv"), csv(rows, tmp_path / "t.csv")):
        assert registry.read(spec | {"path": path}).rows["label"].tolist() == table["label"].tolist()
