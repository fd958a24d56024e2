from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from culture_neurons.data.facts import kinds, wordings

ALL = list(product(kinds.KINDS, wordings.DIRECTIONS))


def test_examples():
    texts = [wordings.contexts("family name", "recall", i, "Tanaka", "Japan")[0] for i in (1, 2, 3)]
    assert texts[0] == "A common family name in Japan is"
    text, neutral = wordings.contexts("family name", "recognise", 1, "Tanaka", "Japan")
    assert (text, neutral) == ("The family name Tanaka is common in", "This family name is common in")
    shown = wordings.contexts("family name", "picture", 1, "Tanaka", "Japan")
    assert shown == ("A common family name in this country is",) * 2
    text, neutral = wordings.contexts("weekday", "recall", 1, "poniedziałek", "Poland", "Monday")
    assert (text, neutral) == ("In Poland, Monday is called", "In this country, Monday is called")


@pytest.mark.parametrize(("kind", "direction"), ALL)
def test_an_option_continues_every_context_after_a_space(kind, direction):
    assert wordings.number(kind, direction) >= 3
    seen = set()
    for i in range(1, wordings.number(kind, direction) + 1):
        text, neutral = wordings.contexts(kind, direction, i, "Itemname", "Countryname", "Aboutname")
        for context in (text, neutral):
            assert context[-1].isalpha(), context
            assert context == " ".join(context.split())
            assert context[0].isupper()
            assert "{" not in context
        own, other = ("Itemname", "Countryname") if direction == "recognise" else ("Countryname", "Itemname")
        assert own in text
        assert other not in text
        assert own not in neutral
        assert other not in neutral
        assert ("Aboutname" in text) == ("Aboutname" in neutral) == (kind in ("weekday", "month"))
        seen.add(text)
    assert len(seen) == wordings.number(kind, direction)


@pytest.mark.parametrize(("kind", "direction"), ALL)
def test_wordings_are_dealt_evenly_and_by_the_item_alone(kind, direction):
    dealt = [wordings.pick(kind, direction, f"item {i}", 1) for i in range(300)]
    assert set(Counter(dealt)) == {1, 2, 3}
    assert min(Counter(dealt).values()) > 70
    assert dealt[7] == wordings.pick(kind, direction, "item 7", 1)
    assert dealt != [wordings.pick(kind, direction, f"item {i}", 2) for i in range(300)]
