"""What comes before and after: days and months (CLDR, through babel), letters and numbers (Unicode, in Python)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from string import ascii_uppercase

from culture_neurons.data.facts.countries import english
from culture_neurons.data.facts.general.items import Fact, Kind, near

_AFTER = {"after": 1}
_BEFORE_AFTER = {"after": 1, "before": -1}
#: So many wrong answers are known of each; of weekdays there are no more.
_OTHERS = 5
#: Circled numbers from one to fifty, for their names: (first code point, how many).
_CIRCLED = ((0x2460, 20), (0x3251, 15), (0x32B1, 15))


def number_words() -> tuple[str, ...]:
    """English number words from one to fifty: "twenty-one"."""
    names = [unicodedata.name(chr(first + i)) for first, many in _CIRCLED for i in range(many)]
    return tuple(name.split(" ", 2)[2].lower().replace(" ", "-") for name in names)


def _neighbours(values: tuple[str, ...], noun: str, sides: Mapping[str, int], cyclic: bool = False) -> Iterator[Fact]:
    """What comes just after (and before) each value. `cyclic`: the first follows the last."""
    for place, value in enumerate(values):
        for side, step in sides.items():
            right = (place + step) % len(values)
            if cyclic or right == place + step:
                fields = {"value": value, "side": side, "noun": noun}
                yield Fact(f"{side} {value}", values[right], near(values, place, right, _OTHERS, cyclic), fields)


def calendar() -> Iterator[Fact]:
    """The next and the last weekday and month."""
    for words, noun in ((english().days, "day"), (english().months, "month")):
        wide = dict(words["stand-alone"]["wide"])
        yield from _neighbours(tuple(wide[number] for number in sorted(wide)), noun, _BEFORE_AFTER, cyclic=True)


def alphabet() -> Iterator[Fact]:
    """The next letter. Small models do not know the one before."""
    yield from _neighbours(tuple(ascii_uppercase), "letter", _AFTER)


def counting() -> Iterator[Fact]:
    """The next number, in words. Small models do not know the one before."""
    yield from _neighbours(number_words(), "number", _AFTER)


def digits() -> Iterator[Fact]:
    """A number in words, written in digits."""
    words = number_words()
    values = tuple(map(str, range(1, 1 + len(words))))
    for place, word in enumerate(words):
        yield Fact(word, values[place], near(values, place, place, _OTHERS), {"word": word})


_WORDINGS = (
    ("The {noun} that comes {side} {value} is called", "The {noun} that comes {side} this {noun} is called"),
    ("In the list of {noun}s, {side} {value} comes", "In the list of {noun}s, {side} this {noun} comes"),
)
CALENDAR = Kind("calendar", "babel", calendar, _WORDINGS)
ALPHABET = Kind("alphabet", "", alphabet, _WORDINGS)
COUNTING = Kind("counting", "", counting, _WORDINGS)
DIGITS = Kind("digits", "", digits, (
    ("In digits, the number {word} is", "In digits, this number is"),
    ("The number {word} is written in digits as", "This number is written in digits as"),
))  # fmt: skip
