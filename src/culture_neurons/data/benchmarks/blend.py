"""BLEnD (Myung et al. 2024, arXiv 2406.09948): everyday life in 16 countries and regions, multiple choice in English.

    type: blend
    path: nayeon212/BLEnD
    config: multiple-choice-questions
    split: test
    per_question: 5                # only the first of each (country, ID), in the file's order
    topics: {path: data/US_questions.csv, id: ID, topic: Topic}    # optional: the topic of an ID

Columns that we rely on: MCQID (text, unique), ID (text: the question that the variants share), country (text, with
underscores), prompt (text), choices (a JSON object as text, {"A": ..., "B": ...}), answer_idx (the letter, text).
The prompt is the question, the authors' instruction, the options and "Answer:". Of these only the question is kept.

Topics are in the authors' question files (data/questions/*_questions.csv: ID, Topic), one of Food, Work life, Sport,
Education, Family, Holidays/Celebration/Leisure; a topic becomes the category. Variants of a question share its text:
split by category, or they fall on both sides.

Field of the templates: {question}. Group columns: country, culture (the same), question_id (the ID).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from culture_neurons.data import labels, reasons
from culture_neurons.data.benchmarks.common import Benchmark, Home, Question, Spec, country, records, require_integer
from culture_neurons.data.text import plain

COLUMNS = ("MCQID", "ID", "country", "prompt", "choices")
LABEL = "answer_idx"

#: The authors' instruction, wherever it stands in the prompt.
_INSTRUCTION = re.compile(
    r"without any explanation,? choose only one[^\n]*?choices\s*(\([^)\n]*\))?\s*\.?"
    r"|provide as JSON format:?\s*\{[^}\n]*\}\s*\.?"
    r"|^\s*answer:\s*$",
    re.IGNORECASE | re.MULTILINE,
)


def questions(spec: Spec) -> Iterator[Question]:
    """The questions of the multiple-choice file."""
    most = require_integer(spec, "per_question", 1)
    if spec["topics"] is not None:
        labels.check_table(spec["topics"], "source.topics", value="topic")
    rows = records(spec, COLUMNS, LABEL)
    topics = [None] * len(rows)
    if spec["topics"] is not None:
        topics = labels.lookup(spec["topics"], [row["ID"] for row in rows], "source.topics", value="topic")
    seen: Counter[tuple[str, str]] = Counter()
    for row, topic in zip(rows, topics, strict=True):
        place, group = country(row["country"]), labels.identifier(row["ID"])
        seen[place, group] += 1
        choices = parse_choices(row["choices"])
        letters = sorted(choices or {})
        question = parse_prompt(row["prompt"], choices or {})
        yield Question(
            sample_id=labels.identifier(row["MCQID"]),
            fields={"question": question},
            options=[choices[letter] for letter in letters] if choices else None,
            label=labels.decode(row[LABEL], [(letter, i) for i, letter in enumerate(letters)]),
            groups={"culture": place, "country": place, "question_id": group},
            category=topic,
            excluded=_excluded(seen[place, group] > most, question),
        )


def _excluded(further: bool, question: str) -> str | None:
    if further:
        return reasons.FURTHER_VARIANT
    return None if question else reasons.PROMPT


def parse_choices(cell: Any) -> dict[str, Any] | None:
    """Letter -> text, of a JSON object or of a record; None for anything else."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return None
    if not isinstance(cell, Mapping):
        return None
    choices = {letter: text for letter, text in cell.items() if text is not None}
    return choices if choices and all(re.fullmatch("[A-Z]", str(letter)) for letter in choices) else None


def parse_prompt(prompt: Any, choices: Mapping[str, Any]) -> str:
    """The question's own text: the prompt without its instruction and options; "" when nothing else is left.

    The options are cut out as lines of a letter and its choice, the instruction wherever it stands. What is left has to
    be one paragraph without a format of answers, or the prompt is not understood.
    """
    if not isinstance(prompt, str) or len(prompt) > 20_000:
        return ""
    wanted = {(letter, plain(text)) for letter, text in choices.items()}

    def is_option(line: str) -> bool:
        match = re.fullmatch(r"\s*\(?([A-Z])[).:]\s*(.*?)\s*", line)
        return bool(match) and (match[1], match[2]) in wanted

    lines = [line for line in prompt.splitlines() if not is_option(line)]
    left = _INSTRUCTION.sub("\n\n", "\n".join(lines))
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", left) if part.strip()]
    return paragraphs[0] if len(paragraphs) == 1 and "{" not in paragraphs[0] else ""


BENCHMARK = Benchmark(
    questions,
    fields=("question",),
    templates=("{question}",),
    home=Home("nayeon212/BLEnD", "test", "multiple-choice-questions"),
    keys={"per_question": 5, "topics": None},
)
