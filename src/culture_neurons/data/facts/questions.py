"""Items become rows: each is asked in both directions, among options that only knowledge of it tells apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import log
from typing import Any, NamedTuple

from culture_neurons import seeds
from culture_neurons.data import reasons
from culture_neurons.data.facts import wordings
from culture_neurons.data.facts.countries import Country
from culture_neurons.data.facts.items import Item
from culture_neurons.data.facts.spelling import fold, script, skeleton, unmarked
from culture_neurons.data.facts.wordings import PICTURE, RECALL, RECOGNISE

Row = dict[str, Any]
#: What options of recall have in common: kind, what they stand for, script, and whether they are native spellings.
Group = tuple[str, str, str, bool]
#: Lengths of options that differ by so many characters count as equal, and options as alike up to this difference.
_SLACK, _ALIKE = 2, 2
HALVES = ("identify", "evaluate")


class Option(NamedTuple):
    """What may be answered: a text, and the name of the country that it is or belongs to."""

    text: str
    owner: str


#: Direction -> wrong options.
Wrong = Mapping[str, Sequence[Option]]


@dataclass(frozen=True)
class Entry:
    """An item as it is written in a question: `native` tells the country's own spelling from the Latin one."""

    item: Item
    country: Country
    text: str
    native: bool

    @cached_property
    def group(self) -> Group:
        return self.item.kind, self.item.about, script(self.text), self.native

    @cached_property
    def name(self) -> str:
        """The first part of the id of its questions."""
        parts = (self.item.about, self.text) if self.native else (self.item.about, fold(self.text))
        words = " ".join((self.item.country, self.item.kind, *parts)).lower()
        return "-".join((words + " native" * self.native).split())

    @cached_property
    def unit(self) -> str:
        """The same for all spellings of an item, its likely variants, and items of other kinds with this name."""
        return skeleton(self.item.text or self.item.native)


def entries(items: Sequence[Item], by_code: Mapping[str, Country], native: bool) -> list[Entry]:
    """How the items that can be asked are written: in Latin letters, and with `native` also as in their country."""
    result = []
    for item in items:
        if item.text:
            result.append(Entry(item, by_code[item.country], item.text, False))
        if native and item.native:
            result.append(Entry(item, by_code[item.country], item.native, True))
    return result


def options_of(group: Sequence[Entry], countries: Sequence[Country], number: int, seed: int) -> dict[Entry, Wrong]:
    """Entry -> its wrong options by direction, for the entries of one group that have `number` of them in both.

    An entry that has not is no option of others either: it would never be the right one.
    """
    by_country: dict[str, list[Entry]] = defaultdict(list)
    for entry in group:
        by_country[entry.country.code].append(entry)
    result = {}
    for entry in group:
        others = {code: by_country[code] for code in sorted(by_country) if code != entry.country.code}
        wrong = {
            RECOGNISE: _wrong_countries(entry, others, countries, number, seed),
            RECALL: _wrong_items(entry, others, number, seed),
        }
        if all(len(options) == number for options in wrong.values()):
            result[entry] = wrong
    return result if len(result) == len(group) else options_of(list(result), countries, number, seed)


def _wrong_countries(
    entry: Entry, others: Mapping[str, Sequence[Entry]], countries: Sequence[Country], number: int, seed: int
) -> list[Option]:
    """Names of other countries of its group, in random order; for native spellings, the rest after them."""
    known = {country.code: Option(country.text, country.name) for country in countries}
    order = sorted(others, key=lambda code: _place(entry, code, len(others[code]), seed))
    if entry.native and order:
        rest = known.keys() - {*others, entry.country.code}
        order += sorted(rest, key=lambda code: _place(entry, code, 1, seed))
    return [known[code] for code in order[:number]]


def _wrong_items(entry: Entry, others: Mapping[str, Sequence[Entry]], number: int, seed: int) -> list[Option]:
    """Items that look like this one and are no variants of it, by other country; of different countries first."""
    rounds: list[tuple[int, bool, float, str, str]] = []
    for code, everything in others.items():
        owner = everything[0].country.name
        own = [other.text for other in everything if other.unit != entry.unit]
        place = _place(entry, code, len(everything), seed)
        for turn, (cost, text) in enumerate(_most_alike(entry, own, number, seed)):
            rounds.append((turn, cost > _ALIKE, place, text, owner))
    return [Option(text, owner) for *_, text, owner in sorted(rounds)[:number]]


def _most_alike(entry: Entry, own: Sequence[str], number: int, seed: int) -> list[tuple[int, str]]:
    """(how unlike, text) of `number` items of a country that are most like one, in random order where equally so."""
    costs = sorted((_unlike(entry.text, text), text) for text in own)
    worst = max((cost for cost, _ in costs[:number]), default=0)
    tied = [(cost, _rank(entry, text, seed), text) for cost, text in costs if cost <= worst]
    return [(cost, text) for cost, _, text in sorted(tied)[:number]]


def _place(entry: Entry, code: str, items: int, seed: int) -> float:
    """Where a country stands among those whose items are options: the chance to be first is as its number of items, so
    that each is as often a wrong option for each time that it is the right one."""
    return -log((_rank(entry, code, seed) + 0.5) / 2**64) / items


def _rank(entry: Entry, name: str, seed: int) -> int:
    return seeds.number("facts", "option", seed, entry.name, name)


def _unlike(right: str, wrong: str) -> int:
    """How much two options differ to the eye: in length beyond the slack, in words, in having marks."""
    (length, words, marks), (other_length, other_words, other_marks) = _look(right), _look(wrong)
    return max(0, abs(length - other_length) - _SLACK) + abs(words - other_words) + _ALIKE * (marks != other_marks)


@lru_cache(maxsize=100_000)
def _look(text: str) -> tuple[int, int, bool]:
    """Characters, words, and whether letters have marks."""
    return len(text), len(text.split()), unmarked(text) != text


def rows(
    items: Sequence[Item],
    countries: Sequence[Country],
    directions: Sequence[str],
    native: bool,
    options: int,
    seed: int,
) -> list[Row]:
    """The rows of all items, those that are left out among them.

    An entry that has too few options in one of its directions is left out in both.
    """
    by_code = {country.code: country for country in countries}
    usable = entries([item for item in items if not item.reason], by_code, native)
    groups: dict[Group, list[Entry]] = defaultdict(list)
    for entry in usable:
        groups[entry.group].append(entry)
    wrong: dict[Entry, Wrong] = {}
    for group in groups.values():
        wrong |= options_of(group, countries, options - 1, seed)
    half = halves(list(wrong), seed)
    result = [_ask(entry, direction, wrong[entry][RECALL if direction == PICTURE else direction], half[entry], seed)
              for entry in wrong for direction in directions]  # fmt: skip
    result += list(_left_out(items, [entry for entry in usable if entry not in wrong], by_code, native))
    return result


def halves(posed: Sequence[Entry], seed: int) -> dict[Entry, str]:
    """Deal the entries of each country to halves: a unit to one of them, each kind as evenly as can be, by a hash."""
    units: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in posed:
        units[entry.country.code, entry.unit].append(entry)
    more: dict[tuple[str, str], int] = defaultdict(int)  # country, kind -> entries of the first half minus the second
    result = {}
    for code, unit in sorted(units, key=lambda key: (seeds.number("facts", "half", seed, *key), key)):
        members = units[code, unit]
        excess = sum(more[code, entry.item.kind] for entry in members)
        second = excess > 0 or (excess == 0 and seeds.number("facts", "side", seed, code, unit) % 2 == 1)
        for entry in members:
            result[entry] = HALVES[second]
            more[code, entry.item.kind] += -1 if second else 1
    return result


def _ask(entry: Entry, direction: str, wrong: Sequence[Option], half: str, seed: int) -> Row:
    item, right = entry.item, entry.country.text if direction == RECOGNISE else entry.text
    wording = wordings.pick(item.kind, direction, entry.name, seed)
    texts = wordings.contexts(item.kind, direction, wording, entry.text, entry.country.text, item.about)
    return pose(entry, direction, right, wrong, wording, texts, half, seed)


def pose(
    entry: Entry,
    direction: str,
    right: str,
    wrong: Sequence[Option],
    wording: int,
    texts: Sequence[str],
    half: str,
    seed: int,
) -> Row:
    """The row of a question. `texts` are its context and the neutral one; the options' order is a hash."""
    name = f"{entry.name}-{direction}"
    answer = Option(right, entry.country.name)
    options = sorted((answer, *wrong), key=lambda option: seeds.number("facts", "place", seed, name, option.text))
    return row(
        entry,
        sample_id=name,
        question=texts[0],
        options=[option.text for option in options],
        label=options.index(answer),
        option_cultures=[option.owner for option in options],
        direction=direction,
        wording=str(wording),
        neutral=texts[1],
        half=half,
    )


def _left_out(
    items: Sequence[Item], given_away: Sequence[Entry], by_code: Mapping[str, Country], native: bool
) -> Iterator[Row]:
    """A row for each item that is left out, and for each entry without options; ids that are there get a number."""
    known: dict[str, int] = defaultdict(int)
    pairs = [(Entry(item, by_code[item.country], item.text or item.native, not item.text), item.reason)
           for item in items if item.reason and (item.text or native)]  # fmt: skip
    for entry, reason in [*pairs, *((entry, reasons.GIVEN_AWAY) for entry in given_away)]:
        known[entry.name] += 1
        number = f"-{known[entry.name]}" if known[entry.name] > 1 else ""
        yield row(entry, sample_id=f"{entry.name}{number}", excluded=reason)


def row(entry: Entry, sample_id: str, excluded: str | None = None, **cells: Any) -> Row:
    """A row with all columns: what is not among `cells` and not known of the entry is None."""
    columns = ("question", "options", "label", "option_cultures", "direction", "wording", "neutral", "half")
    empty = dict.fromkeys(columns)
    return {
        "sample_id": sample_id,
        **(empty | cells),
        "category": entry.item.kind,
        "image": None,
        "image_id": "",
        "culture": entry.country.name,
        "country": entry.country.name,
        "kind": entry.item.kind,
        "item": entry.text,
        "about": entry.item.about,
        "script": script(entry.text),
        "spelling": "native" if entry.native else "Latin",
        "question_id": entry.unit,
        "excluded": excluded,
    }
