"""What a package knows: items, such as a city or a family name, each of a kind and a country."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from culture_neurons.data.facts import spelling

CITY, REGION = "city", "region"
GIVEN_NAME, FAMILY_NAME = "given name", "family name"
HOLIDAY, LANGUAGE, CURRENCY = "holiday", "language", "currency"
WEEKDAY, MONTH = "weekday", "month"


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a kind, and whom it belongs to.

    kind      one of the names above
    country   ISO 3166 code of its country; of what belongs to none (a list of names by language), that of the language
    text      its spelling in plain Latin letters, or "" where the package has none
    native    its spelling in the country's own way, or "" where that is `text` or the package has none
    weight    how well known it is, as the package says (population, share of people); 0 where it doesn't
    about     what it stands for, where items of a kind differ in that: "Monday" for the weekday "poniedziałek"
    reason    a reason of `data.reasons` where the package itself is not certain of it, else ""
    """

    kind: str
    country: str
    text: str
    native: str = ""
    weight: float = 0.0
    about: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        """The same for spellings of one item."""
        return spelling.fold(self.text or self.native)


@dataclass(frozen=True)
class Kind:
    """A kind of items.

    package   the name of the distribution that has them
    collect   () -> every item of every country that the package knows
    space     kinds of one space share names: a region called as a city elsewhere is ambiguous
    """

    name: str
    package: str
    collect: Callable[[], Iterable[Item]]
    space: str
