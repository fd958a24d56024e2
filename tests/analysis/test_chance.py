"""Chance: a model that guesses is told from one that knows, also with few questions and accuracies of 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom

from culture_neurons.analysis.chance import compare_with_chance, most_chosen_place
from culture_neurons.analysis.intervals import PRIOR
from culture_neurons.analysis.mask_effects import Baseline
from culture_neurons.analysis.significance import ABOVE_CHANCE, AT_CHANCE, BELOW_CHANCE


def answers(culture, unit, correct, options=4) -> Baseline:
    n = len(culture)
    text, zeros = np.array(unit, dtype=object), np.zeros(n, dtype=np.int64)
    return Baseline(
        sample_id=np.arange(n).astype(str).astype(object), culture=np.array(culture, dtype=object), unit=text,
        label=zeros, prediction=zeros, correct=np.array(correct, dtype=bool), well_formed=np.ones(n, dtype=bool),
        logprob=np.zeros(n), options=np.broadcast_to(np.array(options, dtype=np.int64), n),
    )  # fmt: skip


def one_culture(right: int, n: int, options=4) -> Baseline:
    return answers(["a"] * n, [f"u{i}" for i in range(n)], np.arange(n) < right, options)


@pytest.mark.parametrize(
    ("right", "n", "word"),
    [*((right, n, AT_CHANCE) for right, n in ((1, 1), (0, 1), (2, 2), (0, 6))),
     (0, 24, BELOW_CHANCE), (12, 12, ABOVE_CHANCE)],
)
def test_few_answers_say_little(right, n, word):
    found = compare_with_chance(one_culture(right, n))
    assert found.word == word
    assert (found.accuracy, found.chance) == pytest.approx((right / n, 0.25))
    assert found.low <= found.accuracy <= found.high
    if n == 1:
        assert (found.low, found.high) == (0, 1)
    else:  # the end on the other side: of a beta distribution, see test_intervals
        end = beta.ppf(0.975, PRIOR, (n - 1) + PRIOR)
        assert (found.high if right == 0 else 1 - found.low) == pytest.approx(end, abs=0.03)


@pytest.mark.parametrize(
    ("right", "word"),
    [(25, AT_CHANCE), (33, AT_CHANCE), (40, ABOVE_CHANCE), (20, AT_CHANCE), (6, BELOW_CHANCE)],
)
def test_levels_of_a_hundred_questions_with_four_options(right, word):
    assert compare_with_chance(one_culture(right, 100)).word == word


def test_cultures_count_the_same_and_so_do_their_options():
    """Three of four right in a, with 2 options; one of two in b, with 4 options."""
    base = answers(["a"] * 4 + ["b"] * 2, list("123456"), [1, 1, 1, 0, 1, 0], [2, 2, 2, 2, 4, 4])
    found = compare_with_chance(base)
    assert (found.accuracy, found.chance) == pytest.approx(((0.75 + 0.5) / 2, (0.5 + 0.25) / 2))
    assert found.word == AT_CHANCE
    alike = compare_with_chance(base, macro=False)
    assert (alike.accuracy, alike.chance) == pytest.approx((4 / 6, (4 * 0.5 + 2 * 0.25) / 6))


def test_questions_about_one_image_are_one_unit():
    """Sixty right answers of 120 questions, but about six images: three all right, three all wrong."""
    unit = np.repeat([f"u{i}" for i in range(6)], 20)
    base = answers(["a"] * 120, unit, np.repeat([True, False], 60))
    assert compare_with_chance(base).word == AT_CHANCE
    assert compare_with_chance(answers(["a"] * 120, np.arange(120).astype(str), base.correct)).word == ABOVE_CHANCE


def test_order_of_questions_changes_nothing():
    rng = np.random.default_rng(1)
    culture, unit, correct = np.repeat(["a", "b"], 60), np.arange(120).astype(str), rng.random(120) < 0.4
    order = rng.permutation(120)
    assert compare_with_chance(answers(culture, unit, correct)) == compare_with_chance(
        answers(culture[order], unit[order], correct[order])
    )


def test_without_questions_nothing_is_said():
    found = compare_with_chance(answers([], [], []))
    assert found.word == ""
    assert np.isnan([found.accuracy, found.low, found.high, found.chance]).all()


@pytest.mark.parametrize(
    ("cultures", "units", "per_unit", "alike"), [(2, 10, 1, 0.0), (8, 10, 3, 0.5), (8, 24, 1, 0.0), (4, 24, 2, 1.0)]
)
def test_guessing_is_at_chance_and_knowledge_is_not(cultures, units, per_unit, alike):
    """`alike`: share of images whose questions are all answered alike."""
    rng = np.random.default_rng(0)
    n = cultures * units * per_unit
    culture, unit = np.repeat(np.arange(cultures), n // cultures).astype(str), (np.arange(n) // per_unit).astype(str)

    def word(p: float) -> str:
        shared = np.repeat(rng.random(n // per_unit) < p, per_unit)
        same = np.repeat(rng.random(n // per_unit) < alike, per_unit)
        return compare_with_chance(answers(culture, unit, np.where(same, shared, rng.random(n) < p)), 300).word

    words = [word(0.25) for _ in range(100)]
    assert words.count(AT_CHANCE) >= 92
    assert [word(0.8) for _ in range(5)] == [ABOVE_CHANCE] * 5
    assert [word(0.01) for _ in range(5)] == [BELOW_CHANCE] * 5


def test_a_model_that_prefers_a_place_is_told_by_its_answers():
    orders = [(2, 0, 1), (0, 1, 2), (1, 2, 0), (2, 1, 0)] * 10
    first = most_chosen_place(orders, [order[0] for order in orders])
    assert (first.letter, first.n, first.of) == ("A", 40, 40)
    assert first.expected == pytest.approx(40 / 3)
    assert first.p < 1e-10
    same = most_chosen_place(orders, [1] * 40)  # the same option, wherever it stands: at A, B, C and B
    assert (same.letter, same.n) == ("B", 20)
    assert same.p == pytest.approx(3 * float(binom.sf(19, 40, 1 / 3)))


def test_without_an_answer_there_is_no_place():
    assert most_chosen_place([(0, 1)], [-1]).letter == ""
    assert most_chosen_place([(0, 1), (1, 0)], [-1, 0]).of == 1


def test_places_of_a_model_without_preference_are_seldom_called_preferred():
    rng = np.random.default_rng(0)
    orders = [tuple(rng.permutation(4)) for _ in range(30)]
    called = [most_chosen_place(orders, rng.integers(4, size=30)).p < 0.05 for _ in range(400)]
    assert np.mean(called) < 0.06
