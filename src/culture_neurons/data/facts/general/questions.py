"""Facts of no culture become rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from math import log
from typing import Any

from culture_neurons import seeds
from culture_neurons.data.facts.general import arithmetic, order, units
from culture_neurons.data.facts.general.items import Fact, Kind
from culture_neurons.data.facts.questions import HALVES

Row = dict[str, Any]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        units.QUANTITY, units.ABBREVIATION, order.CALENDAR, order.ALPHABET, order.COUNTING, order.DIGITS,
        arithmetic.SUM, arithmetic.PRODUCT,
    )
}  # fmt: skip
#: Each fact knows wrong answers for so many options.
MOST_OPTIONS = 6
#: The culture of what belongs to none.
ALL = "all"


@cache
def collect(kind: str) -> tuple[Fact, ...]:
    """Every fact of a kind, those that are left out among them."""
    return tuple(KINDS[kind].collect())


@cache
def halves(kind: str) -> dict[str, str]:
    """Unit -> half, of every fact of a kind that is not left out: each half has every other unit in the order of a
    hash. No seed is in it, so that sources of different halves share no question, whatever else they ask for."""
    units = sorted({fact.unit or fact.name for fact in collect(kind) if not fact.reason})
    units.sort(key=lambda unit: seeds.number("general facts", "half", kind, unit))
    return {unit: HALVES[place % 2] for place, unit in enumerate(units)}


def rows(kinds: Sequence[str], number: int, options: int, seed: int, half: str | None = None) -> list[Row]:
    """The rows of `number` facts of each kind, or of all of them, and one for each that is left out; sorted by kind and
    id. Which facts, their wording, their options and the order of these are hashes of their names and `seed`.

    half    one of `HALVES`: only facts of this half are asked
    """
    result = []
    for kind in kinds:
        facts = collect(kind)
        usable = [fact for fact in facts if not fact.reason]
        # A frequent answer is as often wrong as right, so that none is right because it is itself.
        weight = Counter(fact.right for fact in usable)
        of_half = [fact for fact in usable if half in (None, halves(kind)[fact.unit or fact.name])]
        chosen = sorted(of_half, key=lambda fact: _rank(seed, "fact", kind, fact.name))[:number]
        result += [_ask(KINDS[kind], fact, weight, options, seed) for fact in chosen]
        result += [_row(kind, fact, excluded=fact.reason) for fact in facts if fact.reason]
    return sorted(result, key=lambda row: (row["kind"], row["sample_id"]))


def _ask(kind: Kind, fact: Fact, weight: Mapping[str, int], options: int, seed: int) -> Row:
    def place(text: str) -> float:
        share = (_rank(seed, "option", kind.name, fact.name, text) + 0.5) / 2**64
        return -log(share) / max(1, weight.get(text, 0))

    texts = [fact.right, *sorted(fact.wrong, key=place)[: options - 1]]
    texts.sort(key=lambda text: _rank(seed, "place", kind.name, fact.name, text))
    wording = _rank(seed, "wording", kind.name, fact.name) % len(kind.wordings)
    context, neutral = (text.format(**fact.fields) for text in kind.wordings[wording])
    return _row(
        kind.name,
        fact,
        question=context,
        options=texts,
        label=texts.index(fact.right),
        wording=str(wording + 1),
        neutral=neutral,
        half=halves(kind.name)[fact.unit or fact.name],
    )


def _rank(seed: int, *names: str) -> int:
    return seeds.number("general facts", seed, *names)


def _row(kind: str, fact: Fact, excluded: str | None = None, **cells: Any) -> Row:
    empty = dict.fromkeys(("question", "options", "label", "wording", "neutral", "half"))
    return {
        "sample_id": "-".join(f"{kind} {fact.name}".split()),
        **(empty | cells),
        "category": kind,
        "image": None,
        "image_id": "",
        "culture": ALL,
        "country": ALL,
        "kind": kind,
        "item": fact.name,
        "question_id": f"{kind} {fact.unit or fact.name}",
        "excluded": excluded,
    }
