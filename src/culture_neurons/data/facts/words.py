"""What CLDR (babel) says of countries: languages, currencies, and the words for weekdays and months."""

from __future__ import annotations

from collections.abc import Iterator

from culture_neurons.data.facts import countries
from culture_neurons.data.facts.items import CURRENCY, LANGUAGE, MONTH, WEEKDAY, Item, Kind
from culture_neurons.data.facts.spelling import fold, script

#: A language counts as one of a country where it has a status there, or so many people speak it, in percent.
SPEAKERS = 1.0


def spoken_languages() -> Iterator[Item]:
    """The languages of every country, by their English names; official ones also by what they call themselves."""
    for country in _codes():
        for code, (share, status) in countries.spoken(country).items():
            name = countries.english().languages.get(code, "")
            if name and (status or share >= SPEAKERS):
                own = _own_name(code, name) if code in countries.languages(country) else ""
                yield Item(LANGUAGE, country, name, own, share)


def _own_name(code: str, english: str) -> str:
    """What a language calls itself, or "" where CLDR does not say or it is the English name."""
    locale = countries.locale(code)
    name = locale.languages.get(code, "") if locale is not None else ""
    return "" if fold(name) == fold(english) else name


def currencies() -> Iterator[Item]:
    """The currencies of every country, without its adjective: of "Japanese Yen", "yen"."""
    for country in _codes():
        for name in countries.currencies(country):
            yield Item(CURRENCY, country, _without(name, countries.adjectives(country)).lower())


def _without(name: str, adjectives: frozenset[str]) -> str:
    before, _, last = name.rpartition(" ")
    return last if fold(before) in adjectives else name


def weekdays() -> Iterator[Item]:
    """The weekdays in the official languages of every country."""
    return _words(WEEKDAY, "days")


def months() -> Iterator[Item]:
    """The months in the official languages of every country."""
    return _words(MONTH, "months")


def _words(kind: str, field: str) -> Iterator[Item]:
    english = dict(getattr(countries.english(), field)["stand-alone"]["wide"])
    for country in _codes():
        for language in countries.languages(country):
            locale = countries.locale(language)
            words = dict(getattr(locale, field)["stand-alone"]["wide"]) if locale is not None else {}
            for number in sorted(words):
                word = words[number].strip()
                latin = script(word) == "Latin"
                yield Item(kind, country, word if latin else "", "" if latin else word, about=english[number])


def _codes() -> list[str]:
    return sorted(country.code for country in countries.known().values())


LANGUAGES = Kind(LANGUAGE, "babel", spoken_languages, space="language")
CURRENCIES = Kind(CURRENCY, "babel", currencies, space="currency")
WEEKDAYS = Kind(WEEKDAY, "babel", weekdays, space="weekday")
MONTHS = Kind(MONTH, "babel", months, space="month")
