from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from culture_neurons.data import reasons
from culture_neurons.data.facts import kinds
from culture_neurons.data.facts.items import Item
from tests.data.facts.conftest import find


@pytest.mark.parametrize(
    ("kind", "country", "text", "reason"),
    [
        ("city", "JP", "Tokyo", ""),
        ("city", "IN", "Hyderabad", reasons.SHARED),
        ("city", "MX", "Mexico City", reasons.NAMES_COUNTRY),
        ("city", "BR", "Brasilia", reasons.NAMES_COUNTRY),
        ("city", "FI", "Pori", reasons.LITTLE_KNOWN),
        ("region", "JP", "Kanagawa", ""),
        ("region", "JP", "Kyoto", reasons.OTHER_FORM),
        ("region", "IN", "Punjab", reasons.SHARED),
        ("region", "NG", "Delta", reasons.SHARED),
        ("region", "KE", "Elgeyo/Marakwet", reasons.NOT_A_NAME),
        ("given name", "JP", "Hanako", ""),
        ("given name", "BR", "Igor", reasons.SHARED),
        ("family name", "JP", "Tanaka", ""),
        ("family name", "BR", "Silva", reasons.SHARED),
        ("holiday", "JP", "Culture Day", ""),
        ("holiday", "JP", "New Year's Day", reasons.SHARED),
        ("holiday", "JP", "Constitution Day", reasons.SHARED),
        ("holiday", "BR", "Republic Proclamation Day", reasons.SHARED),
        ("holiday", "GH", "Eid-ul-Adha", reasons.SHARED),
        ("holiday", "JP", "Sports Day", reasons.NOT_REGULAR),
        ("holiday", "RU", "Russia Day", reasons.NAMES_COUNTRY),
        ("holiday", "IL", "Seventh day of Pesach", reasons.OTHER_FORM),
        ("language", "IN", "Telugu", ""),
        ("language", "ID", "Javanese", reasons.SHARED),
        ("language", "IN", "Hindi", reasons.SHARED),
        ("language", "JP", "Japanese", reasons.NAMES_COUNTRY),
        ("currency", "JP", "yen", ""),
        ("currency", "IT", "euro", reasons.SHARED),
        ("currency", "MX", "peso", reasons.SHARED),
        ("weekday", "PL", "poniedziałek", ""),
        ("weekday", "MX", "lunes", reasons.SHARED),
        ("month", "FI", "tammikuu", ""),
        ("month", "PL", "maj", reasons.SHARED),
    ],
)
def test_what_is_asked_and_what_is_left_out(kind, country, text, reason):
    assert kinds.judge(find(kind, country, text), set()).reason == reason


def test_an_item_is_asked_once():
    tanaka, seen = find("family name", "JP", "Tanaka"), set()
    assert kinds.judge(tanaka, seen).reason == ""
    assert kinds.judge(tanaka, seen).reason == reasons.OTHER_FORM


def test_items_are_ambiguous_in_all_countries_not_only_the_chosen_ones():
    belem = find("city", "BR", "Belem")
    assert kinds.owners("place")["", belem.key] - {"BR"}
    assert kinds.judge(belem, set()).reason == reasons.SHARED
    assert kinds.owners("given name")["", "theodore"] >= {"IN", "en"}, "a list by language counts"
    assert "NG" in kinds.owners("place")["", "delta"], "regions and cities share names"


def test_the_same_word_for_another_day_is_another_item():
    days = {about for about, word in kinds.owners("weekday") if word == "lunes"}
    assert days == {"Monday"}
    assert find("weekday", "HU", "péntek").about == "Friday"


def test_long_names_are_left_out():
    long = Item("holiday", "TH", "Somebody's " * 5 + "Day")
    assert kinds.judge(long, set()).reason == reasons.NOT_A_NAME


def test_native_spellings_that_are_no_names_are_taken_off():
    one = replace(find("family name", "JP", "Tanaka"), native="田中 (推定)")
    assert kinds.judge(one, set()) == replace(one, native="")
    assert kinds.judge(replace(one, native="田中"), set()).native == "田中"
    only = find("month", "JP", "1月")
    assert kinds.judge(only, set()) == replace(only, reason=reasons.NOT_A_NAME), "its row says what is left out"


def test_the_best_known_come_first_and_enough_are_enough():
    items = kinds.choose("city", "JP", 5, 1)
    assert [item.text for item in items if not item.reason] == ["Tokyo", "Yokohama", "Osaka", "Nagoya", "Sapporo"]
    latin = [item.text for item in kinds.choose("family name", "JP", 3, 1) if item.text]
    assert latin == ["Sato", "Suzuki", "Takahashi"]


def test_no_more_are_looked_at_than_a_multiple():
    items = kinds.choose("given name", "US", 3, 1)
    assert len(items) == 3 * kinds.LOOKED_AT
    assert Counter(item.reason for item in items) == {reasons.SHARED: len(items)}


def test_seeds_choose_among_equals():
    chosen = [{item.text for item in kinds.choose("given name", "JP", 8, seed)} for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_items_without_a_spelling_in_latin_letters_come_beside_the_others():
    items = kinds.choose("given name", "TH", 4, 1)
    usable = [bool(item.text) for item in items if not item.reason]
    assert usable == [True] * 4 + [False] * 4


def test_the_order_of_a_package_does_not_matter(monkeypatch):
    expected = kinds.choose("family name", "JP", 5, 1)
    turned = {"JP": list(reversed(kinds._by_country("family name")["JP"]))}
    monkeypatch.setattr(kinds, "_by_country", lambda kind: turned)
    assert kinds.choose("family name", "JP", 5, 1) == expected
