from __future__ import annotations

import pytest

from culture_neurons.report.nouns import plural_of, reword


@pytest.mark.parametrize(
    ("text", "noun", "expected"),
    [
        ("a culture's mask", "emotion", "an emotion's mask"),
        ("A culture and cultures' masks", "country", "A country and countries' masks"),
        ("Cultures: culture-specific", "emotion", "Emotions: emotion-specific"),
        ("mask culture, n cultures", "class", "mask class, n classes"),
        ("a culture", "unit", "a unit"),
        ("agriculture and cultural", "emotion", "agriculture and cultural"),
        ("a culture", "culture", "a culture"),
    ],
)
def test_texts_have_the_noun_in_its_form(text, noun, expected):
    assert reword(text, noun) == expected


def test_names_of_data_stay():
    said = reword("Youth culture: a culture's mask", "emotion", ["Youth culture", "joy"])
    assert said == "Youth culture: an emotion's mask"


def test_plurals():
    assert [plural_of(n) for n in ("emotion", "country", "day", "class", "branch")] == [
        "emotions", "countries", "days", "classes", "branches",
    ]  # fmt: skip
