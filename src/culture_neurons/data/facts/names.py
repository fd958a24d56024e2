"""Given and family names (faker), by the locales that have lists of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules

from culture_neurons.data.facts.items import FAMILY_NAME, GIVEN_NAME, Item, Kind
from culture_neurons.data.facts.spelling import script, unmarked

_HOME = "faker.providers.person"
#: Part of the names of lists that are something else: pairs of spellings, readings, names of both kinds.
_OTHER = ("pair", "kana", "middle", "language", "nonbinary")
#: Codes of faker that stand for no country, or for a part of one.
_TERRITORIES = {"AA": "", "QC": "CA"}


def locales() -> dict[str, str]:
    """Locale of faker -> its country, or "" for a list by language alone. A locale without names has none here."""
    import faker.providers.person as home

    territories = {module.name: module.name.partition("_")[2] for module in iter_modules(home.__path__) if module.ispkg}
    return {name: _TERRITORIES.get(territories[name], territories[name]) for name in sorted(territories)}


def _lists(locale: str, start: str) -> dict[str, float]:
    """Name -> weight (0 where the list has none) of all lists of a locale; inherited lists are another locale's."""
    own = vars(import_module(f"{_HOME}.{locale}").Provider)
    names: dict[str, float] = {}
    for key in sorted(own):
        there = isinstance(own[key], Mapping | list | tuple)
        if there and start in key and "names" in key and not any(part in key for part in _OTHER):
            weights = own[key] if isinstance(own[key], Mapping) else dict.fromkeys(own[key], 0.0)
            for name, weight in weights.items():
                name = " ".join(name.split())
                names[name] = max(names.get(name, 0.0), float(weight))
    return names


def _pairs(locale: str, key: str) -> dict[str, tuple[str, float]]:
    """Romanised name -> the name as it is written there, and its weight, where faker pairs them."""
    pairs = vars(import_module(f"{_HOME}.{locale}").Provider).get(key, ())
    weights = pairs if isinstance(pairs, Mapping) else dict.fromkeys(pairs, 0.0)
    return {pair[-1]: (pair[0], float(weight)) for pair, weight in weights.items()}


def _collect(kind: str, start: str) -> Iterator[Item]:
    for locale, country in locales().items():
        names, written = _lists(locale, start), _pairs(locale, f"{start}_name_pairs")
        paired = {native for native, _ in written.values()}
        for name in sorted(names.keys() - paired - {""}):
            latin = script(name) == "Latin"
            native, weight = written.get(name, (name if not latin or unmarked(name) != name else "", names[name]))
            yield Item(kind, country or locale, unmarked(name) if latin else "", native, weight)


def given_names() -> Iterator[Item]:
    """Every given name of every locale."""
    return _collect(GIVEN_NAME, "first")


def family_names() -> Iterator[Item]:
    """Every family name of every locale."""
    return _collect(FAMILY_NAME, "last")


GIVEN = Kind(GIVEN_NAME, "faker", given_names, space="given name")
FAMILY = Kind(FAMILY_NAME, "faker", family_names, space="family name")
