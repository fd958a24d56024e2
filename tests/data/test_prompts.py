from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from culture_neurons.data import prompts
from culture_neurons.types import Sample

SAMPLE = Sample("s1", "India-Marathi", "food", "What is this?", ("rice", "दोसा", "corn", "a dog"), label=1)

ids = st.text(max_size=20)
seeds = st.integers(0, 2**32)


@given(ids, st.integers(0, 26), seeds)
def test_option_order_is_a_permutation(sample_id: str, n: int, seed: int) -> None:
    assert sorted(prompts.option_order(sample_id, n, seed)) == list(range(n))


def test_option_order_stays_the_same() -> None:
    # Written down once: another order would change every result that was computed before.
    assert prompts.option_order("s1", 4, 0) == (0, 1, 2, 3)
    assert prompts.option_order("s1", 4, 1) == (2, 3, 1, 0)
    assert prompts.option_order("दोसा", 5, 7) == (2, 1, 3, 4, 0)


def test_option_orders_are_uniform() -> None:
    counts = Counter(prompts.option_order(f"sample-{i}", 4, 0) for i in range(4800))
    observed = [counts[p] for p in permutations(range(4))]
    assert sum(observed) == 4800
    assert chisquare(observed).pvalue > 1e-3
    assert chisquare([observed[0] + 200, *observed[1:]]).pvalue < 1e-3, "the test can tell a bias"


def test_orders_under_two_seeds_are_independent() -> None:
    both = Counter((prompts.option_order(f"s{i}", 3, 0), prompts.option_order(f"s{i}", 3, 1)) for i in range(3600))
    orders = list(permutations(range(3)))
    table = [[both[a, b] for b in orders] for a in orders]
    assert chi2_contingency(table).pvalue > 1e-3


def test_orders_of_neighbouring_samples_are_independent() -> None:
    both = Counter((prompts.option_order(f"s{i}", 3, 0), prompts.option_order(f"s{i + 1}", 3, 0)) for i in range(3600))
    orders = list(permutations(range(3)))
    assert chi2_contingency([[both[a, b] for b in orders] for a in orders]).pvalue > 1e-3


def test_seed_and_id_do_not_run_together() -> None:
    # Seed 1 of sample "2…" and seed 12 of sample "…" must not be hashed as one string.
    pairs = [(prompts.option_order(f"2-{i}", 6, 1), prompts.option_order(f"-{i}", 6, 12)) for i in range(20)]
    assert sum(a == b for a, b in pairs) <= 2


def test_content_letters_the_options_in_the_given_order() -> None:
    assert prompts.content(SAMPLE, (2, 1, 3, 0)) == "What is this?\nA. corn\nB. दोसा\nC. a dog\nD. rice"


def test_user_text_ends_with_the_instruction() -> None:
    order = (0, 1, 2, 3)
    assert prompts.user_text(SAMPLE, order) == f"{prompts.content(SAMPLE, order)}\n{prompts.INSTRUCTION}"
    assert prompts.user_text(SAMPLE, order, "Letter?").endswith("a dog\nLetter?")


def test_messages_show_the_image_first() -> None:
    text = {"type": "text", "text": "x"}
    assert prompts.messages("x", with_image=True) == [{"role": "user", "content": [{"type": "image"}, text]}]
    assert prompts.messages("x", with_image=False) == [{"role": "user", "content": [text]}]


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        " B \n",
        "(B)",
        "[B]",
        "(b) rice",
        "B.",
        "B. rice",
        "B) rice",
        "B: rice",
        "B, because it is white",
        "B\nThe picture shows rice",
        "B  \nThe picture",
        "**B**",
        "'B'",
        '"B"',
        "B。",
        "B：米饭",
        "Answer: B",
        "ANSWER: B.",
        "Answer:\nB",
        "answer B",
        "The answer is B",
        "The answer is B.",
        "The answer is: B. rice",
        "The correct answer is (B) rice.",
        "I think the answer is **B**",
        "The correct option is B.",
        "The answer is option B.",
        "Option B",
    ],
)
def test_parse_answer_finds_the_letter(answer: str) -> None:
    assert prompts.parse_answer(answer, 4) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "?",
        "A dog",
        "a dog",
        "A dog.",
        "A bowl of rice, A",
        "The answer is a dog",
        "Answer: a dog",
        "Dosa",
        "Beans",
        "A's",
        "A-team",
        "AB",
        "A and B",
        "ABCD",
        "E",
        "E.",
        "The answer is E.",
        "The answer is not B.",
        "I don't know",
        "The picture shows rice.",
        "1",
        "Ａ bowl",
    ],
)
def test_parse_answer_refuses_what_is_no_letter(answer: str) -> None:
    assert prompts.parse_answer(answer, 4) == -1


def test_parse_answer_knows_the_number_of_options() -> None:
    assert prompts.parse_answer("E", 5) == 4
    assert prompts.parse_answer("C", 2) == -1


@given(st.text(), st.integers(1, 26))
def test_parse_answer_gives_a_position_or_none(text: str, n: int) -> None:
    assert prompts.parse_answer(text, n) in range(-1, n)


@given(st.integers(1, 26), st.data())
def test_every_letter_is_read_in_every_form(n: int, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, n - 1))
    letter = data.draw(st.sampled_from([prompts.LETTERS[position], prompts.LETTERS[position].lower()]))
    form = data.draw(st.sampled_from(["{}", "({})", "{}. {{", "\n{}", "Answer: {}", "the answer is {}.", "{}\n..."]))
    assert prompts.parse_answer(form.replace("{}", letter), n) == position


@given(st.sampled_from("ABCDabcd"), st.text(alphabet="abcdefghijklmnopqrstuvwxyz ", min_size=1))
def test_a_letter_that_begins_a_sentence_is_no_answer(letter: str, rest: str) -> None:
    words = f"{letter} {rest.strip()}x"
    assert prompts.parse_answer(words, 4) == -1


@pytest.mark.parametrize("text", ["\u212a.", "\u017f.", "Answer: \u212a."])
def test_letters_that_only_fold_to_latin_ones_are_none(text: str) -> None:
    # The Kelvin sign and the long s equal K and S when case is ignored.
    assert prompts.parse_answer(text, 26) == -1
