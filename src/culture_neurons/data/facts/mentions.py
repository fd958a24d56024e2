"""Texts that merely name a country, and ask which one: neurons that answer to a name know nothing of a culture.

    "The parcel from Japan came yesterday. The country that the parcel came from is" -> "Japan"

CULNIG (Yamamoto et al. 2026, arXiv 2510.08284) asks such questions (CountryRC), to leave out the neurons that
attribution finds for them too. The passages here are ours: a subject and an event, with nothing that one country has
more than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from culture_neurons import seeds
from culture_neurons.data import reasons
from culture_neurons.data.facts import questions
from culture_neurons.data.facts.countries import Country
from culture_neurons.data.facts.items import Item
from culture_neurons.data.facts.questions import Entry, Option, Row
from culture_neurons.data.facts.spelling import fold
from culture_neurons.data.facts.wordings import SOME_COUNTRY

#: The direction of these questions, their kind, and so their category.
MENTION = "mention"

#: What comes from a country, and the questions that ask which one; they end in words that a country's name continues.
_SUBJECTS = {
    "parcel": ("The country that the parcel came from is", "The parcel had been sent from"),
    "letter": ("The country that the letter came from is", "The letter had been written in"),
    "visitor": ("The country that the visitor came from is", "The visitor had arrived from"),
    "bicycle": ("The country that the bicycle came from is", "The bicycle had been made in"),
    "chair": ("The country that the chair came from is", "The chair had been made in"),
    "student": ("The country that the student came from is", "The student had arrived from"),
}
_EVENTS = ("came yesterday", "is here again", "was seen twice", "is in the next room")


@dataclass(frozen=True)
class Passage:
    """A text with a country in it, {country}, and the questions that may follow it."""

    name: str
    text: str
    questions: tuple[str, ...]


PASSAGES = tuple(
    Passage(f"{subject} that {event}", f"The {subject} from {{country}} {event}.", asked)
    for (subject, asked), event in product(_SUBJECTS.items(), _EVENTS)
)


def rows(countries: Sequence[Country], number: int, options: int, seed: int) -> list[Row]:
    """The rows of `number` passages of each country, or of all of them, in the columns of `questions.rows`.

    Which passages and which question of each, the other countries among the options, and their order are hashes of the
    names and `seed`. The passages of a country are left out where too few others have names that can't be mistaken for
    its own.
    """
    entries = [entry for country in countries for entry in choose(country, number, seed)]
    half = questions.halves(entries, seed)
    return [_ask(entry, countries, options, half[entry], seed) for entry in entries]


def choose(country: Country, number: int, seed: int) -> list[Entry]:
    """`number` passages of a country as items, in random order."""
    names = sorted(
        (passage.name for passage in PASSAGES),
        key=lambda name: seeds.number("facts", MENTION, seed, country.code, name),
    )
    return [Entry(Item(MENTION, country.code, name), country, name, native=False) for name in names[:number]]


def _ask(entry: Entry, countries: Sequence[Country], options: int, half: str, seed: int) -> Row:
    wrong = sorted(
        (Option(country.text, country.name) for country in countries if not _alike(country, entry.country)),
        key=lambda option: seeds.number("facts", "option", seed, entry.name, option.text),
    )[: options - 1]
    if len(wrong) < options - 1:
        return questions.row(entry, f"{entry.name}-{MENTION}", excluded=reasons.GIVEN_AWAY)
    passage = next(passage for passage in PASSAGES if passage.name == entry.text)
    wording = seeds.number("facts", "wording", seed, MENTION, entry.name) % len(passage.questions)
    context = f"{passage.text} {passage.questions[wording]}"
    texts = [context.format(country=name) for name in (entry.country.text, SOME_COUNTRY)]
    return questions.pose(entry, MENTION, entry.country.text, wrong, wording + 1, texts, half, seed)


def _alike(one: Country, other: Country) -> bool:
    """Whether one name is the other or holds it: who reads "Guinea-Bissau" reads "Guinea" too."""
    names = [f" {fold(country.name)} " for country in (one, other)]
    return names[0] in names[1] or names[1] in names[0]
