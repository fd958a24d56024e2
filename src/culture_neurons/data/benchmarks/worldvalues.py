"""WorldValuesBench (Zhao et al. 2024): what a participant of the World Values Survey answered.

    type: worldvaluesbench
    path: WorldValuesBench/valid/valid_value_qa.tsv
    people: {path: WorldValuesBench/valid/valid_demographic_qa.tsv}
    questions: {path: WorldValuesBench/question_metadata.json}
    samples: {path: WorldValuesBench/probe/samples.tsv}

The files are those that the authors' scripts write from the survey (github.com/Demon702/WorldValuesBench); the raw
survey may not be copied, so nothing of it is on the hub, and all four are local. What we rely on:

path        a row per participant: D_INTERVIEW, and a column per question (Q1 ...) with a whole number or nothing
people      a row per participant: D_INTERVIEW, B_COUNTRY (the country's name)
questions   JSON: id -> {question, category, answer_scale_min, answer_scale_max}; the text names the ends of its scale
samples     which answers are asked for, a row each: Question (id), D_INTERVIEW, Continent, "Urban / Rural", Education

The options are the numbers of the scale. An answer outside its scale is dropped, as are an unknown question, and a
participant without an answer or without a country.

Fields of the templates: {question}, {country}, {continent}, {settlement}, {education}. Category: that of the question.
Group columns: country, culture (the same), continent, settlement, education, question_id, participant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from os.path import isfile
from pathlib import Path
from typing import Any

from culture_neurons.data import labels, tabular
from culture_neurons.data.benchmarks.common import Benchmark, Question, Spec, country
from culture_neurons.data.source import check_keys
from culture_neurons.data.text import clean
from culture_neurons.errors import ConfigError, DataError
from culture_neurons.files import first_line

PERSON = "D_INTERVIEW"
SAMPLES = ("Question", PERSON, "Continent", "Urban / Rural", "Education")
NEEDED = ("people", "questions", "samples")


def questions(spec: Spec) -> Iterator[Question]:
    """One question per row of the samples."""
    paths = _paths(spec)
    known = _metadata(paths["questions"])
    samples = tabular.read(paths["samples"], SAMPLES, "source.samples.path")
    people = _by_person(paths["people"], ["B_COUNTRY"], "source.people.path")
    question_ids = [name for name in dict.fromkeys(map(clean, samples["Question"])) if name in known]
    answers = _by_person(paths["path"], question_ids, "source.path", literal=question_ids)
    for values in zip(*samples.values(), strict=True):
        row = dict(zip(SAMPLES, values, strict=True))
        person, question_id = labels.identifier(row[PERSON]), clean(row["Question"])
        about = known.get(question_id, {})
        scale = _scale(about)
        place = country(people.get(person, {}).get("B_COUNTRY"))
        details = {"continent": row["Continent"], "settlement": row["Urban / Rural"], "education": row["Education"]}
        yield Question(
            sample_id=f"{question_id}-{person}" if question_id and person else "",
            fields={"question": about.get("question"), "country": place, **details},
            options=[str(number) for number in scale] if scale else None,
            label=labels.decode(
                answers.get(person, {}).get(question_id), [(number, i) for i, number in enumerate(scale)]
            ),
            groups={"culture": place, "country": place, **details, "question_id": question_id, "participant": person},
            category=about.get("category"),
        )


def _paths(spec: Spec) -> dict[str, str]:
    """The four files. Raises ConfigError when one is not named."""
    if not isinstance(spec["path"], str):
        raise ConfigError(f"source.path: expected the table of answers (valid_value_qa.tsv), found {spec['path']!r}")
    paths = {"path": spec["path"]}
    for key in NEEDED:
        stanza = spec[key]
        if not isinstance(stanza, Mapping) or not isinstance(stanza.get("path"), str):
            raise ConfigError(f"source.{key}: expected {{path: file}}, found {stanza!r}")
        check_keys(stanza, ("path",), f"source.{key}")
        paths[key] = stanza["path"]
    return paths


def _metadata(path: str) -> dict[str, dict[str, Any]]:
    """What is known of each question."""
    if not isfile(path):
        raise DataError(f"source.questions.path: no such file: {path}")
    try:
        metadata = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"{path}: not readable as json ({first_line(error)})") from None
    if not isinstance(metadata, dict):
        raise DataError(f"{path}: expected a JSON object from the id of a question to its text and scale")
    return {name: about for name, about in metadata.items() if isinstance(about, dict)}


def _by_person(path: str, names: list[str], where: str, literal: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """The columns `names` of a table, by participant; of two rows of one participant the first."""
    table = tabular.read(path, [PERSON, *names], where, literal or ())
    by_person: dict[str, dict[str, Any]] = {}
    for person, *values in zip(*table.values(), strict=True):
        by_person.setdefault(labels.identifier(person), dict(zip(names, values, strict=True)))
    return by_person


def _scale(about: Mapping[str, Any]) -> range:
    """The numbers of a question's scale, empty when it has none."""
    low, high = about.get("answer_scale_min"), about.get("answer_scale_max")
    ordinal = all(isinstance(end, int) and not isinstance(end, bool) for end in (low, high))
    return range(low, min(high, low + 100) + 1) if ordinal else range(0)


BENCHMARK = Benchmark(
    questions,
    ("question", "country", "continent", "settlement", "education"),
    (
        "A person from {country} was asked in a survey: {question}\nWhich number did they give?",
        "Survey in {country}. Question: {question}\nWhat did this participant answer?",
        "Imagine somebody who lives in {country}. They are asked: {question}\nWhich answer do they choose?",
        "{question}\nAnswer as a participant from {country} did.",
    ),
    keys={"path": None, "people": None, "questions": None, "samples": None},
)
