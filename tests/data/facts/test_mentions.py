from __future__ import annotations

from collections import Counter

import pytest

from culture_neurons.data import reasons
from culture_neurons.data.facts import countries, mentions
from culture_neurons.data.facts.mentions import PASSAGES
from culture_neurons.data.facts.spelling import fold

NAMES = ("Japan", "Poland", "Kenya", "United Kingdom", "Guinea", "Guinea-Bissau", "Brazil")
PLACES = [countries.known()[name] for name in NAMES]


@pytest.fixture(scope="module")
def everything() -> list[mentions.Row]:
    return mentions.rows(PLACES, 100, 4, 1)


def test_there_are_passages_enough_and_no_two_have_one_name():
    assert len(PASSAGES) >= 15
    assert len({passage.text for passage in PASSAGES}) == len({passage.name for passage in PASSAGES}) == len(PASSAGES)
    for passage in PASSAGES:
        assert passage.text.count("{country}") == 1
        assert len(passage.questions) >= 2
        for question in passage.questions:
            assert question[-1].isalpha()
            assert question == " ".join(question.split())


def test_an_example():
    rows = mentions.rows(PLACES, 100, 4, 1)
    row = next(r for r in rows if r["country"] == "United Kingdom" and r["item"] == "letter that came yesterday")
    start = "The letter from {} came yesterday. The"
    assert row["question"].startswith(start.format("the United Kingdom"))
    assert row["neutral"].startswith(start.format("this country"))
    assert row["options"][row["label"]] == "the United Kingdom"
    assert (row["kind"], row["category"], row["direction"]) == ("mention",) * 3
    assert row["culture"] == "United Kingdom"


def test_the_text_names_the_right_country_once_and_the_neutral_one_names_none(everything):
    texts = [country.text for country in PLACES]
    for row in everything:
        right = row["options"][row["label"]]
        assert countries.known()[row["country"]].text == right
        assert row["question"].count(f" {right} ") == 1
        assert row["question"].replace(f" {right} ", " this country ") == row["neutral"]
        assert not [text for text in texts if text in row["neutral"]]
        assert len(set(row["options"])) == 4
        assert [countries.known()[name].text for name in row["option_cultures"]] == row["options"]


def test_every_passage_of_a_country_is_asked_once(everything):
    assert len(everything) == len(PLACES) * len(PASSAGES)
    pairs = Counter((row["country"], row["question_id"]) for row in everything)
    assert set(pairs.values()) == {1}
    assert len({row["sample_id"] for row in everything}) == len(everything)


def test_a_name_that_holds_the_right_one_is_no_option(everything):
    for row in everything:
        if row["country"].startswith("Guinea"):
            assert not {"Guinea", "Guinea-Bissau"} <= set(row["options"])
    both = mentions.rows([c for c in PLACES if c.name.startswith("G")], 2, 2, 1)
    assert [row["excluded"] for row in both] == [reasons.GIVEN_AWAY] * 4
    assert all(row["options"] is None for row in both)


def test_a_country_has_so_many_passages_as_asked_for_and_each_its_own(everything):
    few = mentions.rows(PLACES, 5, 4, 1)
    assert set(Counter(row["country"] for row in few).values()) == {5}
    assert len({frozenset(r["item"] for r in few if r["country"] == name) for name in NAMES}) > 1
    by_id = {row["sample_id"]: row for row in everything}
    for row in few:
        assert {**row, "half": ""} == {**by_id[row["sample_id"]], "half": ""}, "more passages change no other"


def test_halves_are_even_in_each_country(everything):
    for name in NAMES:
        halves = Counter(row["half"] for row in everything if row["country"] == name)
        assert halves == {"identify": len(PASSAGES) / 2, "evaluate": len(PASSAGES) / 2}


def test_wordings_places_and_wrong_options_are_balanced(everything):
    wordings = Counter(row["wording"] for row in everything)
    assert set(wordings) == {"1", "2"}
    assert min(wordings.values()) > 0.4 * len(everything)
    assert min(Counter(row["label"] for row in everything).values()) > 0.17 * len(everything)
    wrong = Counter(text for row in everything for text in row["options"])
    wrong -= Counter(row["options"][row["label"]] for row in everything)
    assert max(wrong.values()) < 1.6 * min(wrong.values())


def test_the_seed_counts(everything):
    other = {row["sample_id"]: row["options"] for row in mentions.rows(PLACES, 100, 4, 2)}
    assert any(other[row["sample_id"]] != row["options"] for row in everything)


def test_passages_name_no_country():
    words = {word for passage in PASSAGES for text in (passage.text, *passage.questions) for word in fold(text).split()}
    assert words.isdisjoint(countries.all_names())
