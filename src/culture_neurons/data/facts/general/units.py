"""Units of measurement (CLDR, through babel): what they measure, and how they are abbreviated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from culture_neurons.data import reasons
from culture_neurons.data.facts.countries import english
from culture_neurons.data.facts.general.items import Fact, Kind

#: CLDR's category of units -> the quantity that all of them measure. Other categories hold units of several quantities
#: (electric: volt and ampere) or of none (graphics: dot).
QUANTITIES = {
    "angle": "angle", "area": "area", "digital": "information", "duration": "time", "energy": "energy",
    "force": "force", "frequency": "frequency", "length": "length", "mass": "mass", "power": "power",
    "pressure": "pressure", "speed": "speed", "temperature": "temperature", "volume": "volume",
}  # fmt: skip
#: Names of units of several quantities (ounce: of mass and volume; second: of time and angle), of words that mean more
#: than a unit (point, night), and of units that CLDR files with a quantity that is not theirs (sievert: energy).
_SEVERAL = frozenset((
    "arcsecond", "becquerel", "chain", "cup", "degree", "dram", "grain", "gray", "light", "mil", "minute", "night",
    "ounce", "point", "pound", "quarter", "rod", "second", "sievert", "slug", "steradian", "stone", "ton",
))  # fmt: skip
#: Names of units that are written for short in other ways too, or never.
_UNUSUAL = frozenset((
    "carat", "century", "decade", "drop", "earth radius", "fortnight", "g-force", "karat", "knot", "light",
    "metric cup", "metric fluid ounce", "metric pint", "month", "pinch", "quarter", "revolution", "rod", "ton",
))  # fmt: skip
#: Words of names that belong to one culture's units; CLDR marks those of Japan with brackets.
_CULTURAL = frozenset(("Imp.", "Imperial", "US", "British", "mile-scandinavian", "dunam"))
#: What abbreviations hold beside letters.
_SIGNS = " /²³⋅"
#: What an abbreviation is compared with: at least so many others of its category, else those of all categories.
_ENOUGH = 8


@dataclass(frozen=True)
class _Unit:
    """A unit by its English names, singular: `forms` are all of its short ones, `short` the usual one."""

    category: str
    name: str
    short: str
    forms: frozenset[str]


@cache
def _units() -> tuple[_Unit, ...]:
    """Every unit, once per name."""
    from babel.units import format_unit

    units: dict[str, _Unit] = {}
    for code in sorted(english().unit_display_names):
        forms = [format_unit(1, code, length, locale=english()) for length in ("long", "short", "narrow")]
        name, short, narrow = (text.removeprefix("1").replace("\xa0", " ").strip() for text in forms)
        display = english().unit_display_names[code].get("short", "")
        unit = _Unit(code.partition("-")[0], name, short, frozenset((short, narrow, display)))
        units.setdefault(name.casefold(), unit)
    return tuple(units.values())


def _reason(unit: _Unit) -> str:
    if "JP]" in unit.name or not _CULTURAL.isdisjoint(unit.name.split()):
        return reasons.OF_CULTURE
    if not all(letter.isalpha() or letter in " -" for letter in unit.name):
        return reasons.NOT_A_NAME
    # "of mercury" is a part of other names, "degree temperature" any unit of temperature.
    return reasons.NOT_A_NAME if unit.name.startswith("of ") or unit.name == "degree temperature" else ""


def quantities() -> Iterator[Fact]:
    """Which quantity a unit measures."""
    for unit in _units():
        right = QUANTITIES.get(unit.category, "")
        wrong = tuple(quantity for quantity in QUANTITIES.values() if quantity != right)
        words = unit.name.lower().replace("-", " ").split()
        reason = _reason(unit)
        if not reason and (not right or unit.name in _SEVERAL):
            reason = reasons.SEVERAL_QUANTITIES
        elif not reason and (not {*QUANTITIES.values()}.isdisjoint(words) or "power" in unit.name):
            reason = reasons.NAMES_ANSWER
        yield Fact(unit.name, right, wrong, {"unit": unit.name}, reason=reason)


def abbreviations() -> Iterator[Fact]:
    """The usual abbreviation of a unit."""
    units = _units()
    several = {short for short, number in Counter(unit.short for unit in units).items() if number > 1}
    reason = {}
    for unit in units:
        letters = all(letter.isalpha() or letter in _SIGNS for letter in unit.short)
        if unit.name in _UNUSUAL:
            of_short_form = reasons.UNUSUAL
        elif unit.short.casefold() == unit.name.casefold() or not letters:
            of_short_form = reasons.NO_ABBREVIATION
        else:
            of_short_form = reasons.SHARED_ABBREVIATION if unit.short in several else ""
        reason[unit] = _reason(unit) or of_short_form
    usable = [unit for unit in reason if not reason[unit]]
    for unit in units:
        own = {form.casefold() for form in unit.forms}
        others = [other for other in usable if other is not unit and other.short.casefold() not in own]
        same = [other for other in others if other.category == unit.category]
        wrong = tuple(other.short for other in (same if len(same) >= _ENOUGH else others))
        yield Fact(unit.name, unit.short, wrong, {"unit": unit.name}, reason=reason[unit])


QUANTITY = Kind("quantity", "babel", quantities, (
    ("The {unit} is a unit of", "This is a unit of"),
    ("The {unit} is used to measure", "This unit is used to measure"),
    ("The unit called {unit} measures", "This unit measures"),
))  # fmt: skip
ABBREVIATION = Kind("abbreviation", "babel", abbreviations, (
    ("The usual abbreviation of {unit} is", "The usual abbreviation of this unit is"),
    ("The {unit} is abbreviated as", "This unit is abbreviated as"),
))  # fmt: skip
