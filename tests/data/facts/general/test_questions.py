from __future__ import annotations

import re
from collections import Counter

import pytest

from culture_neurons.data.facts.general import questions
from culture_neurons.data.facts.general.items import Fact, Kind

NUMBER = 40


@pytest.fixture(scope="module")
def asked() -> list[questions.Row]:
    return [row for row in questions.rows(list(questions.KINDS), NUMBER, 4, 1) if not row["excluded"]]


def of(kind: str, rows: list[questions.Row]) -> list[questions.Row]:
    return [row for row in rows if row["kind"] == kind]


def test_there_are_questions_enough(asked):
    assert len(asked) >= 250
    assert set(Counter(row["kind"] for row in asked)) == set(questions.KINDS)
    assert min(Counter(row["kind"] for row in asked).values()) >= 25
    assert max(Counter(row["kind"] for row in asked).values()) == NUMBER
    assert len({row["sample_id"] for row in asked}) == len(asked)


def test_an_option_continues_every_context_and_the_neutral_one(asked):
    for row in asked:
        for text in (row["question"], row["neutral"]):
            assert re.fullmatch(r"[A-Z].*\w", text)
            assert text == " ".join(text.split())
            assert "{" not in text
        right = row["options"][row["label"]]
        assert f" {right} " not in f" {row['question']} "
        assert row["question"] != row["neutral"]
        assert [option.casefold() for option in row["options"]].count(right.casefold()) == 1
        assert len(set(row["options"])) == 4


@pytest.mark.parametrize("kind", questions.KINDS)
def test_options_are_of_the_facts_kind_and_one_is_right(kind, asked):
    facts = {fact.name: fact for fact in questions.collect(kind)}
    for row in of(kind, asked):
        fact = facts[row["item"]]
        assert row["options"][row["label"]] == fact.right
        assert set(row["options"]) - {fact.right} <= set(fact.wrong)
        for name, value in fact.fields.items():
            used = [text for texts in questions.KINDS[kind].wordings for text in texts if f"{{{name}}}" in text]
            assert used
            assert value in row["question"]


@pytest.mark.parametrize("kind", questions.KINDS)
def test_every_kind_has_wordings_that_are_dealt(kind):
    assert len(questions.KINDS[kind].wordings) >= 2
    rows = [row for row in questions.rows([kind], 200, 4, 1) if not row["excluded"]]
    dealt = Counter(row["wording"] for row in rows)
    assert set(dealt) == set(map(str, range(1, 1 + len(questions.KINDS[kind].wordings))))
    assert min(dealt.values()) > 0.3 * len(rows) / len(dealt)
    assert len({row["neutral"] for row in rows}) < len(rows) / 2, "the neutral one does not say what is asked"


def test_neutral_contexts_do_not_say_what_is_asked(asked):
    for row in asked:
        item = row["item"].removeprefix("after ").removeprefix("before ")
        assert not re.search(rf"\b{re.escape(item)}\b", row["neutral"])


def test_places_are_balanced(asked):
    counts = Counter(row["label"] for row in asked)
    expected = len(asked) / 4
    assert sum((counts[i] - expected) ** 2 / expected for i in range(4)) < 16.3, "p < 0.001 for 3 degrees of freedom"


def test_a_frequent_answer_is_as_often_wrong_as_right():
    rows = [row for row in questions.rows(["quantity"], 200, 4, 1) if not row["excluded"]]
    right = Counter(row["options"][row["label"]] for row in rows)
    shown = Counter(text for row in rows for text in row["options"])
    for name in ("volume", "length", "time", "frequency", "angle"):
        assert right[name] / shown[name] == pytest.approx(0.25, abs=0.14), name


def test_facts_that_are_left_out_have_a_row_with_the_reason():
    rows = questions.rows(["abbreviation"], 5, 4, 1)
    left = [row for row in rows if row["excluded"]]
    assert len(left) == sum(bool(fact.reason) for fact in questions.collect("abbreviation"))
    assert all(row["options"] is None and row["culture"] == "all" for row in left)
    assert len(rows) == len(left) + 5


def test_more_facts_change_no_other_and_the_seed_counts(asked):
    few = {row["sample_id"]: row for row in questions.rows(list(questions.KINDS), 10, 4, 1) if not row["excluded"]}
    many = {row["sample_id"]: row for row in asked}
    assert len(few) == 10 * len(questions.KINDS)
    assert all(many[name] == row for name, row in few.items())
    other = {row["sample_id"] for row in questions.rows(list(questions.KINDS), 10, 4, 2) if not row["excluded"]}
    assert other != set(few)


def test_the_most_options_that_are_allowed_are_there():
    rows = questions.rows(list(questions.KINDS), 200, questions.MOST_OPTIONS, 1)
    assert {len(row["options"]) for row in rows if not row["excluded"]} == {questions.MOST_OPTIONS}


def test_one_fact_twice_is_one_unit(monkeypatch):
    facts = [Fact(name, "3", ("4", "5", "6"), {"x": name}, unit="1 2") for name in ("1 2", "2 1")]
    monkeypatch.setitem(questions.KINDS, "toy", Kind("toy", "", lambda: facts, (("What {x} is", "What it is"),)))
    rows = questions.rows(["toy"], 9, 4, 1)
    assert {row["question_id"] for row in rows} == {"toy 1 2"}
    assert [row["sample_id"] for row in rows] == ["toy-1-2", "toy-2-1"]


def test_halves_share_nothing_whatever_the_seeds():
    """Neither a question nor the same one in another order; both halves of a kind are as large."""
    kinds = list(questions.KINDS)
    first, second = (
        [row for row in questions.rows(kinds, 200, 4, seed, half) if not row["excluded"]]
        for seed, half in ((1, "identify"), (2, "evaluate"))
    )
    assert not {row["question_id"] for row in first} & {row["question_id"] for row in second}
    every = [row for row in questions.rows(kinds, 200, 4, 3) if not row["excluded"]]
    assert sorted(row["sample_id"] for row in (*first, *second)) == sorted(row["sample_id"] for row in every)
    assert {row["half"] for row in first} == {"identify"}
    assert {row["half"] for row in second} == {"evaluate"}
    for kind in kinds:
        sizes = [len({row["question_id"] for row in of(kind, rows)}) for rows in (first, second)]
        assert abs(sizes[0] - sizes[1]) <= 1, kind


def test_a_half_has_as_many_facts_as_are_asked_for():
    rows = [row for row in questions.rows(list(questions.KINDS), 10, 4, 1, "evaluate") if not row["excluded"]]
    assert set(Counter(row["kind"] for row in rows).values()) == {10}
    every = {row["sample_id"]: row for row in questions.rows(list(questions.KINDS), 200, 4, 1)}
    assert all(every[row["sample_id"]] == row for row in rows)
