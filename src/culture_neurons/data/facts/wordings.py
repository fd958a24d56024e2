"""How items are asked: contexts that an option continues after one space, in two directions.

    recognise   content -> country: "The family name Tanaka is common in" -> "Japan"
    recall      country -> content: "A common family name in Japan is" -> "Tanaka"
    picture     recall where a picture stands for the country: its flag, and "A common family name in this country is"

A context ends in a word. Its neutral one has the same form and names neither item nor country: log P(option | context)
minus log P(option | neutral context) is what the item or the country adds.
"""

from __future__ import annotations

from collections.abc import Mapping

from culture_neurons import seeds
from culture_neurons.data.facts.items import (
    CITY,
    CURRENCY,
    FAMILY_NAME,
    GIVEN_NAME,
    HOLIDAY,
    LANGUAGE,
    MONTH,
    REGION,
    WEEKDAY,
)

RECOGNISE, RECALL, PICTURE = "recognise", "recall", "picture"
#: Those that are asked in words alone.
DIRECTIONS = (RECOGNISE, RECALL)
#: Stands for the country in a neutral context of recall.
SOME_COUNTRY = "this country"

_WORDS_RECOGNISE = (
    ("{about} is called {item} in", "{about} is called by this word in"),
    ("The word {item} means {about} in an official language of", "This word means {about} in an official language of"),
    ("On a calendar, {about} is written as {item} in", "On a calendar, {about} is written as this word in"),
)
_WORDS_RECALL = (
    "In {country}, {about} is called",
    "In an official language of {country}, the word for {about} is",
    "On a calendar in {country}, {about} is written as",
)

#: kind -> contexts of recognise, each with its neutral one: fields {item} and, for weekdays and months, {about}.
_RECOGNISE: Mapping[str, tuple[tuple[str, str], ...]] = {
    CITY: (
        ("{item} is a city in", "This is a city in"),
        ("The city of {item} is in", "This city is in"),
        ("People who live in the city of {item} live in", "People who live in this city live in"),
    ),
    REGION: (
        ("{item} is a region of", "This is a region of"),
        ("The region called {item} lies in", "This region lies in"),
        ("People who come from the region of {item} come from", "People who come from this region come from"),
    ),
    GIVEN_NAME: (
        ("The given name {item} is common in", "This given name is common in"),
        ("Someone whose first name is {item} may well come from", "Someone with this first name may well come from"),
        ("Parents who call their child {item} may well live in", "Parents who choose this name may well live in"),
    ),
    FAMILY_NAME: (
        ("The family name {item} is common in", "This family name is common in"),
        ("Someone whose last name is {item} may well come from", "Someone with this last name may well come from"),
        ("A family with the name {item} may well live in", "A family with this name may well live in"),
    ),
    HOLIDAY: (
        ("{item} is a public holiday in", "This is a public holiday in"),
        ("The holiday called {item} is observed in", "This holiday is observed in"),
        ("People have the day off on {item} in", "People have the day off on this holiday in"),
    ),
    LANGUAGE: (
        ("{item} is a language that is spoken in", "This is a language that is spoken in"),
        ("Many of the people who speak {item} live in", "Many of the people who speak this language live in"),
        ("The language called {item} can be heard in", "This language can be heard in"),
    ),
    CURRENCY: (
        ("The {item} is the currency of", "This is the currency of"),
        ("People pay with the {item} in", "People pay with this currency in"),
        ("The currency called {item} is used in", "This currency is used in"),
    ),
    WEEKDAY: _WORDS_RECOGNISE,
    MONTH: _WORDS_RECOGNISE,
}

#: kind -> contexts of recall: fields {country} and {about}.
_RECALL: Mapping[str, tuple[str, ...]] = {
    CITY: (
        "A large city in {country} is",
        "One of the cities of {country} is called",
        "In {country}, many people live in the city of",
    ),
    REGION: (
        "A region of {country} is",
        "One of the regions of {country} is called",
        "In {country}, some people live in the region of",
    ),
    GIVEN_NAME: (
        "A common given name in {country} is",
        "Someone who comes from {country} may have the first name",
        "In {country}, parents may call their child",
    ),
    FAMILY_NAME: (
        "A common family name in {country} is",
        "Someone who comes from {country} may have the last name",
        "In {country}, a family may have the name",
    ),
    HOLIDAY: (
        "A public holiday in {country} is",
        "One of the holidays that are observed in {country} is called",
        "In {country}, people have the day off on",
    ),
    LANGUAGE: (
        "A language that is spoken in {country} is",
        "One of the languages of {country} is called",
        "In {country}, some of the people speak",
    ),
    CURRENCY: (
        "The currency of {country} is the",
        "In {country}, people pay with the",
        "The currency that is used in {country} is called the",
    ),
    WEEKDAY: _WORDS_RECALL,
    MONTH: _WORDS_RECALL,
}


def number(kind: str, direction: str) -> int:
    """How many wordings a kind has."""
    return len(_RECOGNISE[kind] if direction == RECOGNISE else _RECALL[kind])


def pick(kind: str, direction: str, item: str, seed: int) -> int:
    """The number of the wording of an item, by its name, from 1: neither other items nor their order matter. With a
    picture it is that of recall, so that the two differ in nothing but the picture and the name."""
    direction = RECALL if direction == PICTURE else direction
    return 1 + seeds.number("facts", "wording", seed, kind, direction, item) % number(kind, direction)


def contexts(kind: str, direction: str, wording: int, item: str, country: str, about: str = "") -> tuple[str, str]:
    """The context and its neutral one. `country` is the country's name within a sentence."""
    fields = {"item": item, "about": about}
    if direction == RECOGNISE:
        text, neutral = _RECOGNISE[kind][wording - 1]
        return text.format(**fields), neutral.format(**fields)
    text = _RECALL[kind][wording - 1]
    neutral = text.format(country=SOME_COUNTRY, **fields)
    return neutral if direction == PICTURE else text.format(country=country, **fields), neutral
