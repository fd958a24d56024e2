from __future__ import annotations

import pytest

from culture_neurons.data.facts.general import order


@pytest.mark.parametrize(
    ("collect", "number", "expected"),
    [
        (order.calendar, 38, {"after March": "April", "before March": "February", "after Sunday": "Monday",
                              "before Monday": "Sunday", "after December": "January"}),
        (order.alphabet, 25, {"after A": "B", "after Y": "Z"}),
        (order.counting, 49, {"after nine": "ten", "after twenty": "twenty-one", "after forty-nine": "fifty"}),
        (order.digits, 50, {"one": "1", "nineteen": "19", "thirty-five": "35", "fifty": "50"}),
    ],
)  # fmt: skip
def test_what_comes_next(collect, number, expected):
    facts = {fact.name: fact for fact in collect()}
    assert len(facts) == len(list(collect())) == number
    assert {name: facts[name].right for name in expected} == expected
    rights = {fact.right for fact in facts.values()}
    for fact in facts.values():
        assert len(set(fact.wrong)) == len(fact.wrong) == 5
        assert fact.right not in fact.wrong
        assert fact.name.rpartition(" ")[2] not in fact.wrong, "what is asked about is no option"
        assert len(rights.intersection(fact.wrong)) >= 4, "of the same kind"


def test_days_are_compared_with_days_and_near_ones_first():
    facts = {fact.name: fact for fact in order.calendar()}
    assert facts["after Monday"].wrong[0] == "Sunday"
    assert "January" not in facts["after Monday"].wrong
    assert facts["after April"].wrong == ("March", "February", "June", "January", "July")
    assert facts["after April"].fields == {"value": "April", "side": "after", "noun": "month"}


def test_number_words():
    words = order.number_words()
    assert (words[0], words[12], words[19], words[20], words[34], words[35], words[49]) == (
        "one", "thirteen", "twenty", "twenty-one", "thirty-five", "thirty-six", "fifty"
    )  # fmt: skip
    assert len(set(words)) == 50
