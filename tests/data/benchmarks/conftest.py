"""Small data sets in the schemas of the text benchmarks, with the right answers as texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

Rows = list[dict[str, Any]]

PROMPT = (
    "{question} Without any explanation, choose only one from the given alphabet choices(e.g., A, B, C). "
    'Provide as JSON format: {{"answer_choice":""}}\n\n{options}\n\nAnswer:'
)
FOODS = ["bread", "noodles", "rice", "soup"]


def blend(n: int = 24) -> tuple[Rows, list[str]]:
    """Three variants of each question, in two countries."""
    rows = []
    for i in range(n):
        choices = dict(zip("ABCD", FOODS, strict=True))
        options = "\n".join(f"{letter}. {text}" for letter, text in choices.items())
        place = ("South_Korea", "UK")[i // 3 % 2]
        rows.append({
            "MCQID": f"Al-en-{i:02d}_{i}", "ID": f"Al-en-{i // 6:02d}", "country": place,
            "prompt": PROMPT.format(question=f"What do people eat in {place}, {i // 3}?", options=options),
            "choices": json.dumps(choices), "choice_countries": json.dumps(dict.fromkeys("ABCD", "UK")),
            "answer_idx": "ABCD"[i % 3],
        })  # fmt: skip
    return rows, [FOODS[i % 3] for i in range(n)]


def easy(n: int = 24) -> tuple[Rows, list[str]]:
    rows = [
        {
            "data_idx": f"E{i}", "question_idx": i, "prompt_question": f"Which one, {i}?", "answer": "ABCD"[i % 3],
            "country": ("South Korea", "Peru")[i % 2],
            **{f"prompt_option_{letter}": text for letter, text in zip("abcd", FOODS, strict=True)},
        }
        for i in range(n)
    ]  # fmt: skip
    return rows, [FOODS[i % 3] for i in range(n)]


def hard(n: int = 24) -> tuple[Rows, list[str]]:
    rows = [
        {
            "data_idx": f"H{i}", "question_idx": i // 4, "prompt_question": f"Which one, {i // 4}?",
            "prompt_option": FOODS[i % 4], "answer": i % 4 == 1, "country": ("Iran", "Peru")[i // 4 % 2],
        }
        for i in range(n)
    ]  # fmt: skip
    return rows, [str(i % 4 == 1) for i in range(n)]


def normad(n: int = 24) -> tuple[Rows, list[str]]:
    answers = ["yes", "no", "neutral", "no"]
    rows = [
        {
            "ID": i, "Country": ("bosnia_and_herzegovina", "egypt")[i % 2], "Background": "### Etiquette\n- Greet.",
            "Axis": "Etiquette", "Subaxis": ("eating", "visiting")[i // 2 % 2], "Value": "Politeness",
            "Rule-of-Thumb": "It is polite to greet.", "Story": f"Ana {{x}} comes in, {i}, and greets.",
            "Explanation": "She greeted.", "Gold Label": answers[i % 4],
        }
        for i in range(n)
    ]  # fmt: skip
    return rows, [answers[i % 4] for i in range(n)]


def commonsenseqa(n: int = 24) -> tuple[Rows, list[str]]:
    rows = [
        {
            "id": f"{i:032x}", "question": f"Where would you put it, {i}?", "question_concept": "put",
            "choices": {"label": list("ABCDE"), "text": ["a box", "a bag", "a cup", "a car", "a hat"]},
            "answerKey": "ABCDE"[i % 3],
        }
        for i in range(n)
    ]  # fmt: skip
    return rows, [("a box", "a bag", "a cup")[i % 3] for i in range(n)]


def qnli(n: int = 24) -> tuple[Rows, list[str]]:
    rows = [{"question": f"Who, {i}?", "sentence": f"It was {i}.", "label": int(i % 3 > 0), "idx": i} for i in range(n)]
    return rows, ["No" if i % 3 else "Yes" for i in range(n)]


def mrpc(n: int = 24) -> tuple[Rows, list[str]]:
    rows = [
        {"sentence1": f"It is {i}.", "sentence2": f"{i} it is.", "label": int(i % 3 > 0), "idx": i} for i in range(n)
    ]
    return rows, ["Yes" if i % 3 else "No" for i in range(n)]


#: name -> (makes rows and right answers, settings, column of the labels, labels of a wrong type)
KINDS: dict[str, tuple[Callable[..., tuple[Rows, list[str]]], dict[str, Any], str, list[Any]]] = {
    "blend": (blend, {"type": "blend"}, "answer_idx", [0, "0", "bread", True, "E"]),
    "easy": (easy, {"type": "culturalbench"}, "answer", [0, "1", "bread", True, "E"]),
    "hard": (hard, {"type": "culturalbench", "config": "CulturalBench-Hard"}, "answer", ["True", "1", 1.0, "A", 2]),
    "normad": (normad, {"type": "normad"}, "Gold Label", [0, "0", "maybe", True, "A"]),
    "commonsenseqa": (commonsenseqa, {"type": "commonsenseqa"}, "answerKey", [0, "0", "a box", True, "F"]),
    "qnli": (qnli, {"type": "qnli"}, "label", ["0", "entailment", 0.0, True, 2]),
    "mrpc": (mrpc, {"type": "mrpc"}, "label", ["0", "equivalent", 1.0, False, 2]),
}


def parquet(rows: Rows, path: Path) -> str:
    import datasets

    datasets.Dataset.from_list(rows).to_parquet(str(path))
    return str(path)


def saved(rows: Rows, path: Path) -> str:
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return str(path)


def jsonl(rows: Rows, path: Path) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def csv(rows: Rows, path: Path) -> str:
    pd.DataFrame(rows).to_csv(path, index=False)
    return str(path)
