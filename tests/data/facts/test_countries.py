from __future__ import annotations

import pytest

from culture_neurons.data.facts import countries


def test_names_within_a_sentence():
    known = countries.known()
    assert known["Japan"].code == "JP"
    assert known["Japan"].text == "Japan"
    assert known["Netherlands"].text == "the Netherlands"
    assert known["United States"].text == "the United States"
    assert list(known) == sorted(known)


@pytest.mark.parametrize(
    ("code", "adjective"),
    [("JP", "japanese"), ("ZA", "south african"), ("FR", "french"), ("PL", "polish"), ("ID", "indonesian")],
)
def test_adjectives_come_from_currencies_and_languages(code, adjective):
    assert adjective in countries.adjectives(code)


def test_what_is_no_adjective():
    assert countries.adjectives("IN") == {"indian"}, "Hindi gives nothing away"
    assert "english" not in countries.adjectives("KE")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Mexico City", "MX"),
        ("Brasilia", "BR"),
        ("Alger", "DZ"),
        ("Russia Day", "RU"),
        ("Varsinais-Suomi", "FI"),
        ("Chinese New Year", "ID"),
        ("Niger", "NG"),
        ("Japanese Yen", "JP"),
    ],
)
def test_names_and_adjectives_give_a_country_away(text, code):
    assert countries.gives_away(text, code)


@pytest.mark.parametrize(("text", "code"), [("Tokyo", "JP"), ("Mumbai", "IN"), ("Chin", "CN"), ("Hindi", "IN")])
def test_other_words_do_not(text, code):
    assert not countries.gives_away(text, code)
