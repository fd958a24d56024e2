"""The kinds of items, and which items of a country can be asked: the rules of what is left out, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations, groupby

from culture_neurons import seeds
from culture_neurons.data import reasons
from culture_neurons.data.facts import countries, holiday_names, names, places, words
from culture_neurons.data.facts.items import CITY, HOLIDAY, LANGUAGE, REGION, Item, Kind
from culture_neurons.data.facts.spelling import fold, is_plain, skeleton

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        places.CITIES, places.REGIONS, names.GIVEN, names.FAMILY, holiday_names.HOLIDAYS,
        words.LANGUAGES, words.CURRENCIES, words.WEEKDAYS, words.MONTHS,
    )
}  # fmt: skip

#: Of a kind and country, at most so many times the items that are asked for are looked at.
LOOKED_AT = 10
#: Longest item, in characters.
LONGEST = 40
#: Words of a holiday's name that say nothing of which one it is.
_GENERAL = frozenset((
    "a", "al", "and", "anniversary", "at", "celebration", "celebrations", "commemoration", "day", "days", "el", "feast",
    "festival", "for", "holiday", "holidays", "in", "international", "memorial", "national", "of", "on", "public", "s",
    "the", "ul",
))  # fmt: skip


@cache
def collect(kind: str) -> tuple[Item, ...]:
    """Every item of a kind, in all countries."""
    return tuple(KINDS[kind].collect())


@cache
def _by_country(kind: str) -> dict[str, list[Item]]:
    items: dict[str, list[Item]] = defaultdict(list)
    for item in collect(kind):
        items[item.country].append(item)
    return items


def of_country(kind: str, country: str) -> list[Item]:
    """The items of a country, the best known first; the order of the package does not matter."""
    items = set(_by_country(kind).get(country, ()))
    return sorted(items, key=lambda x: (-x.weight, x.about, x.text, x.native, x.reason))


@cache
def owners(space: str) -> dict[tuple[str, str], frozenset[str]]:
    """(what an item stands for, its key) -> the countries and lists by language that have it, in a space."""
    belongs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for kind in KINDS.values():
        if kind.space == space:
            for item in collect(kind.name):
                belongs[item.about, _identity(item)].add(item.country)
    return {key: frozenset(value) for key, value in belongs.items()}


def _identity(item: Item) -> str:
    """What is equal for one item of two countries: its key; of a holiday, what makes its name."""
    return " ".join(sorted(_content(item.key))) if item.kind == HOLIDAY else item.key


@cache
def _content(key: str) -> frozenset[str]:
    """The words of a holiday's name that say which one it is, in a form that transliterations share."""
    return frozenset(skeleton(word) for word in key.split() if word not in _GENERAL)


def choose(kind: str, country: str, number: int, seed: int) -> list[Item]:
    """Look at the items of a country that have a spelling in Latin letters, the best known first, those of equal
    weight in random order, until `number` of them can be asked or `LOOKED_AT` times as many were seen; then likewise at
    those without. What an item is left out for is its `reason`."""
    chosen: list[Item] = []
    seen: set[tuple[str, str]] = set()
    everything = of_country(kind, country)
    for latin in (True, False):
        own = [item for item in everything if bool(item.text) == latin]
        chosen += _first((judge(item, seen) for item in _in_order(own, seed)), number)
    return chosen


def _in_order(items: Iterable[Item], seed: int) -> Iterator[Item]:
    def place(item: Item) -> int:
        return seeds.number("facts", seed, item.kind, item.country, item.about, item.text, item.native)

    for _, equal in groupby(items, key=lambda item: item.weight):
        yield from sorted(equal, key=place)


def _first(items: Iterable[Item], number: int) -> Iterator[Item]:
    usable = 0
    for looked_at, item in enumerate(items, start=1):
        yield item
        usable += not item.reason
        if usable >= number or looked_at >= LOOKED_AT * number:
            return


def judge(item: Item, seen: set[tuple[str, str]]) -> Item:
    """The item with the first reason to leave it out, if there is one, and without a native spelling that is no plain
    name; `seen` are the items of its country and kind before it, to which it is added."""
    identity = item.about, _identity(item)
    text = item.text or item.native
    if item.reason:
        reason = item.reason
    elif not _is_name(text):
        reason = reasons.NOT_A_NAME
    elif _names_a_country(item):
        reason = reasons.NAMES_COUNTRY
    elif len(_owners(item)) > 1:
        reason = reasons.SHARED
    elif identity in seen or _has_another_form(item):
        reason = reasons.OTHER_FORM
    else:
        reason = ""
    seen.add(identity)
    keep = not item.text or _is_name(item.native)
    return replace(item, reason=reason, native=item.native if keep else "")


def _is_name(text: str) -> bool:
    return is_plain(text) and len(text) <= LONGEST


def _names_a_country(item: Item) -> bool:
    text, native = item.text or item.native, item.native
    names = countries.names(item.country)
    tongues = {fold(countries.english().languages.get(x, "")) for x in countries.languages(item.country)} - {""}
    says_language = item.kind != LANGUAGE and not tongues.isdisjoint(fold(text).split())
    return (
        countries.gives_away(text, item.country)
        or says_language
        or any(name in fold(native) for name in names if not name.isascii())
    )


def _owners(item: Item) -> frozenset[str]:
    """The countries that have an item, or a holiday whose name is a part of its name."""
    known = owners(KINDS[item.kind].space)
    if item.kind != HOLIDAY:
        return known[item.about, item.key]
    return frozenset().union(*(known.get(("", part), ()) for part in _parts(item.key)))


def _parts(key: str) -> Iterator[str]:
    """All sets of words of a holiday's name, as `_identity` writes them; the empty one where there are no others."""
    content = sorted(_content(key))
    for size in range(min(1, len(content)), len(content) + 1):
        yield from map(" ".join, combinations(content, size))


def _has_another_form(item: Item) -> bool:
    """Whether the country has a holiday whose name is a part of this one's, or a city that is called as a region is."""
    if item.kind == HOLIDAY:
        known = owners(KINDS[HOLIDAY].space)
        return any(item.country in known.get(("", part), ()) for part in _parts(item.key) if part != _identity(item))
    return item.kind == REGION and (item.country, item.key) in _cities()


@cache
def _cities() -> frozenset[tuple[str, str]]:
    return frozenset((item.country, item.key) for item in collect(CITY))
