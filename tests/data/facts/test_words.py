from __future__ import annotations

from culture_neurons.data.facts import kinds, words
from tests.data.facts.conftest import find


def texts(kind: str, country: str) -> set[str]:
    return {item.text for item in kinds.of_country(kind, country)}


def test_languages_that_have_a_status_or_enough_speakers():
    indian = texts("language", "IN")
    assert {"Telugu", "Hindi", "Khasi"} <= indian
    assert "Swahili" not in texts("language", "ZA"), "0.002 % speak it"
    assert find("language", "JP", "Japanese").native == "日本語"


def test_currencies_lose_the_adjective():
    assert texts("currency", "JP") == {"yen"}
    assert texts("currency", "ZA") == {"rand"}
    assert texts("currency", "IT") == {"euro"}, "no lira any more"


def test_weekdays_and_months_of_official_languages():
    monday = find("weekday", "PL", "poniedziałek")
    assert monday.about == "Monday"
    assert find("month", "FI", "tammikuu").about == "January"
    assert find("weekday", "JP", "月曜日").text == ""
    assert {item.about for item in kinds.of_country("weekday", "JP")} == {
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
    }  # fmt: skip
    assert len(kinds.of_country("month", "HU")) == 12


def test_the_adjective_is_left_out_where_it_is_one():
    assert words._without("South African Rand", frozenset({"south african"})) == "Rand"
    assert words._without("CFA Franc BEAC", frozenset({"south african"})) == "CFA Franc BEAC"
