"""Benchmarks that ask for no culture, to see what else a mask harms: CommonsenseQA, QNLI and MRPC.

    type: commonsenseqa            # tau/commonsense_qa, split validation
    type: qnli                     # nyu-mll/glue, config qnli, split validation
    type: mrpc                     # nyu-mll/glue, config mrpc, split test

CommonsenseQA (Talmor et al. 2019): id, question, question_concept, choices {label: [A, ...], text: [...]}, answerKey (a
letter, text; empty where hidden). Field of the templates: {question}. Group column: concept.

QNLI (Wang et al. 2018): question, sentence, label (a whole number: 0 entailment, the sentence answers the question; 1
not_entailment; -1 hidden), idx. Fields: {question}, {sentence}. Options: Yes (0), No (1).

MRPC (Dolan and Brockett 2005): sentence1, sentence2, label (a whole number: 1 equivalent, 0 not), idx. Fields:
{first}, {second}. Options: Yes (1), No (0).

They have no cultures: the group column culture is the type, so that the rows are one group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from culture_neurons.data import labels
from culture_neurons.data.benchmarks.common import Benchmark, Home, Question, Spec, records

YES_NO = ("Yes", "No")


def commonsenseqa(spec: Spec) -> Iterator[Question]:
    """One question of five options per row."""
    for row in records(spec, ("id", "question", "question_concept", "choices"), "answerKey"):
        letters, texts = _choices(row["choices"])
        yield Question(
            sample_id=labels.identifier(row["id"]),
            fields={"question": row["question"]},
            options=texts,
            label=labels.decode(row["answerKey"], [(letter, i) for i, letter in enumerate(letters)]),
            groups={"culture": "commonsenseqa", "concept": row["question_concept"]},
        )


def _choices(cell: Any) -> tuple[Sequence[Any], Sequence[Any] | None]:
    """Letters and texts of the options; nothing and None when they are not two lists of one length."""
    if isinstance(cell, Mapping):
        letters, texts = cell.get("label"), cell.get("text")
        if isinstance(letters, list) and isinstance(texts, list) and len(letters) == len(texts):
            return letters, texts
    return (), None


def qnli(spec: Spec) -> Iterator[Question]:
    """Does a sentence answer a question?"""
    for row in records(spec, ("idx", "question", "sentence"), "label", codes=2):
        yield Question(
            sample_id=labels.identifier(row["idx"]),
            fields={"question": row["question"], "sentence": row["sentence"]},
            options=YES_NO,
            label=labels.decode(row["label"], ((0, 0), (1, 1))),
            groups={"culture": "qnli"},
        )


def mrpc(spec: Spec) -> Iterator[Question]:
    """Do two sentences mean the same?"""
    for row in records(spec, ("idx", "sentence1", "sentence2"), "label", codes=2):
        yield Question(
            sample_id=labels.identifier(row["idx"]),
            fields={"first": row["sentence1"], "second": row["sentence2"]},
            options=YES_NO,
            label=labels.decode(row["label"], ((1, 0), (0, 1))),
            groups={"culture": "mrpc"},
        )


COMMONSENSEQA = Benchmark(commonsenseqa, ("question",), ("{question}",), Home("tau/commonsense_qa", "validation"))
QNLI = Benchmark(
    qnli,
    ("question", "sentence"),
    (
        "Question: {question}\nSentence: {sentence}\nDoes the sentence answer the question?",
        "{sentence}\nCan the answer to this question be found above: {question}",
        "Somebody wants to know: {question}\nThey read: {sentence}\nDo they know the answer now?",
        'Read the sentence: {sentence}\nIs it enough to answer the question "{question}"?',
    ),
    Home("nyu-mll/glue", "validation", "qnli"),
)
MRPC = Benchmark(
    mrpc,
    ("first", "second"),
    (
        "First: {first}\nSecond: {second}\nDo the two sentences mean the same?",
        "{first}\n{second}\nIs the second sentence a paraphrase of the first?",
        "Compare these sentences.\n1. {first}\n2. {second}\nDo they say the same thing?",
        "One text has: {first}\nAnother has: {second}\nAre they equivalent in meaning?",
    ),
    Home("nyu-mll/glue", "test", "mrpc"),
)
