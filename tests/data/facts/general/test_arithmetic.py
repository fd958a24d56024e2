from __future__ import annotations

import operator

import pytest

from culture_neurons.data.facts.general import arithmetic


@pytest.mark.parametrize(
    ("collect", "operation"), [(arithmetic.sums, operator.add), (arithmetic.products, operator.mul)]
)
def test_answers_are_right_and_others_wrong_and_near(collect, operation):
    facts = list(collect())
    assert len({fact.name for fact in facts}) == len(facts) == 121
    for fact in facts:
        a, b = int(fact.fields["a"]), int(fact.fields["b"])
        right = operation(a, b)
        assert fact.right == str(right)
        wrong = set(map(int, fact.wrong))
        assert len(wrong) == len(fact.wrong) >= 5
        assert {right, a, b}.isdisjoint(wrong)
        assert all(value > 0 and abs(value - right) <= 12 for value in wrong)


def test_the_order_of_two_numbers_is_no_other_fact():
    units = {fact.name: fact.unit for fact in arithmetic.sums()}
    assert units["7 5"] == units["5 7"] == "5 7"
    assert len(set(units.values())) == 66
