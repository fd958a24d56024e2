"""Single items, and the facts with native spellings."""

from __future__ import annotations

import pytest

from culture_neurons.data.facts import kinds
from culture_neurons.data.facts.items import Item
from culture_neurons.data.source import SourceTable
from tests.data.conftest import read_facts

#: Countries that share scripts: Han, Cyrillic, and Latin with marks.
NATIVE = {"native": True, "countries": ["China", "Hungary", "Japan", "Poland", "Russia", "Thailand", "Ukraine"]}


def find(kind: str, country: str, text: str) -> Item:
    """The item of a country (its code) with this spelling."""
    return next(x for x in kinds.of_country(kind, country) if text in (x.text, x.native))


@pytest.fixture(scope="session")
def native() -> SourceTable:
    return read_facts(**NATIVE)
