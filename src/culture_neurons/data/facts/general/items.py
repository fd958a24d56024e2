"""A fact of no culture, and a kind of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fact:
    """One fact.

    name     what is asked, unique within its kind; the item of its question
    right    the answer
    wrong    what else may stand among the options: of the same kind, and certainly not right
    fields   what its wordings take
    unit     facts of a kind with one unit say the same ("3 plus 5", "5 plus 3"); by default the name
    reason   a reason of `data.reasons` where the fact is not certain, else ""
    """

    name: str
    right: str = ""
    wrong: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of facts.

    package   the distribution that has them; "" for Python's standard library
    collect   () -> every fact, those that are left out among them
    wordings  contexts, each with its neutral one: fields as `Fact.fields`
    """

    name: str
    package: str
    collect: Callable[[], Iterable[Fact]]
    wordings: tuple[tuple[str, str], ...]


def near(values: tuple[str, ...], place: int, right: int, number: int, cyclic: bool = False) -> tuple[str, ...]:
    """The `number` values of an order that are nearest to the one asked about, at `place`; neither that nor the right
    one. `cyclic`: the first follows the last."""
    size = len(values)

    def distance(other: int) -> int:
        apart = abs(other - place)
        return min(apart, size - apart) if cyclic else apart

    others = sorted((i for i in range(size) if i not in (place, right)), key=lambda i: (distance(i), i))
    return tuple(values[i] for i in others[:number])
