from __future__ import annotations

import pytest

from culture_neurons.data import reasons
from culture_neurons.data.facts import holiday_names, kinds
from tests.data.facts.conftest import find


@pytest.mark.parametrize(
    ("country", "name", "reason"),
    [
        ("JP", "Culture Day", ""),
        ("ZA", "Heritage Day", ""),
        ("JP", "Sports Day", reasons.NOT_REGULAR),
        ("ID", "General Election Day", reasons.NOT_REGULAR),
        ("JP", "Emperor's Enthronement Day", reasons.NOT_REGULAR),
    ],
)
def test_a_holiday_is_certain_that_is_one_every_year(country, name, reason):
    assert find("holiday", country, name).reason == reason


def test_days_in_lieu_and_estimates_are_no_names():
    certain = [item.text for item in kinds.collect("holiday") if not item.reason]
    assert not [name for name in certain if "(observed)" in name or "substituted" in name or "(in lieu)" in name]
    assert not [name for name in certain if "(estimated)" in name]
    assert find("holiday", "TR", "Eid al-Adha").reason == "", "its date is estimated, its name is certain"


def test_native_names():
    assert find("holiday", "JP", "Culture Day").native == "文化の日"
    assert find("holiday", "IN", "Guru Nanak's Birthday").native == "", "Guru Nanak's Jayanti is English too"
    assert len(holiday_names.YEARS) == 6
