"""CulturalBench (Chiu et al. 2024, arXiv 2410.02677): questions about 45 regions, in two forms.

    type: culturalbench
    path: kellycyy/CulturalBench
    config: CulturalBench-Easy     # or CulturalBench-Hard
    split: test

Easy: question_idx (unique), prompt_question, prompt_option_a to prompt_option_d, answer (the letter, text), country.
Field of the templates: {question}.

Hard: four rows per question, one per option: question_idx, prompt_question, prompt_option, answer, country. `answer` is
a truth value; the whole numbers 1 and 0 are taken too, since copies of the data differ. Each row is a question with the
options True and False; ids are question_idx and the option's number, from 1. Fields: {question}, {option}.

Group columns: country, culture (the same), question_id (question_idx: the four rows of Hard share it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from string import ascii_uppercase

from culture_neurons.data import labels
from culture_neurons.data.benchmarks.common import Benchmark, Home, Question, Spec, country, records

PATH, SPLIT = "kellycyy/CulturalBench", "test"
LABEL = "answer"
OPTIONS = tuple(f"prompt_option_{letter}" for letter in "abcd")
LETTERS = tuple(zip(ascii_uppercase, range(4), strict=False))
TRUTH = ((True, 0), (False, 1), (1, 0), (0, 1))


def easy(spec: Spec) -> Iterator[Question]:
    """One question of four options per row."""
    for row in records(spec, ("question_idx", "prompt_question", *OPTIONS, "country"), LABEL):
        place, group = country(row["country"]), labels.identifier(row["question_idx"])
        yield Question(
            sample_id=group,
            fields={"question": row["prompt_question"]},
            options=[row[name] for name in OPTIONS],
            label=labels.decode(row[LABEL], LETTERS),
            groups={"culture": place, "country": place, "question_id": group},
        )


def hard(spec: Spec) -> Iterator[Question]:
    """One question of True or False per row."""
    seen: Counter[str] = Counter()
    for row in records(spec, ("question_idx", "prompt_question", "prompt_option", "country"), LABEL, codes=2):
        place, group = country(row["country"]), labels.identifier(row["question_idx"])
        seen[group] += 1
        yield Question(
            sample_id=f"{group}-{seen[group]}" if group else "",
            fields={"question": row["prompt_question"], "option": row["prompt_option"]},
            options=("True", "False"),
            label=labels.decode(row[LABEL], TRUTH),
            groups={"culture": place, "country": place, "question_id": group},
        )


EASY = Benchmark(easy, ("question",), ("{question}",), Home(PATH, SPLIT, "CulturalBench-Easy"))
HARD = Benchmark(
    hard,
    ("question", "option"),
    (
        "{question}\nProposed answer: {option}\nIs the proposed answer right?",
        "Question: {question}\nAnswer: {option}\nIs it true or false that this answers the question correctly?",
        "Somebody asks: {question}\nSomebody else replies: {option}\nIs the reply true?",
        'Judge whether the statement holds. To the question "{question}", a right answer is: {option}',
    ),
    Home(PATH, SPLIT, "CulturalBench-Hard"),
)
