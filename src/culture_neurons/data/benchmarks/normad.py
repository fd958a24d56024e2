"""NormAd-Eti (Rao et al. 2024, arXiv 2404.12464): is what somebody does in a story acceptable in a country?

    type: normad
    path: akhilayerukola/NormAd
    split: train                   # its only one

Columns that we rely on: ID (unique), Country (in lower case, with underscores), Background, Axis, Subaxis, Value,
Rule-of-Thumb, Story, Gold Label (text: yes, no or neutral). Explanation gives the answer away and is not read.

Fields of the templates: {country}, {story}, {background}, {value}, {rule}. The default wording tells country and story
alone, the setting in which a model has to know the norm. Category: Subaxis. Group columns: country, culture, axis.
"""

from __future__ import annotations

from collections.abc import Iterator

from culture_neurons.data import labels
from culture_neurons.data.benchmarks.common import Benchmark, Home, Question, Spec, country, records

COLUMNS = ("ID", "Country", "Background", "Axis", "Subaxis", "Value", "Rule-of-Thumb", "Story")
LABEL = "Gold Label"
ANSWERS = ("yes", "no", "neutral")


def questions(spec: Spec) -> Iterator[Question]:
    """One question of three options per row."""
    for row in records(spec, COLUMNS, LABEL):
        place = country(row["Country"])
        yield Question(
            sample_id=labels.identifier(row["ID"]),
            fields={
                "country": place,
                "story": row["Story"],
                "background": row["Background"],
                "value": row["Value"],
                "rule": row["Rule-of-Thumb"],
            },
            options=ANSWERS,
            label=labels.decode(row[LABEL], [(answer, i) for i, answer in enumerate(ANSWERS)]),
            groups={"culture": place, "country": place, "axis": row["Axis"]},
            category=row["Subaxis"],
        )


BENCHMARK = Benchmark(
    questions,
    ("country", "story", "background", "value", "rule"),
    (
        "{story}\nIs this socially acceptable in {country}?",
        "This happens in {country}: {story}\nWould people there find it acceptable?",
        "Country: {country}\nStory: {story}\nIs what is done in the story acceptable in this country?",
        "Think of the customs of {country}.\n{story}\nDoes this behaviour fit them?",
    ),
    Home("akhilayerukola/NormAd", "train"),
)
