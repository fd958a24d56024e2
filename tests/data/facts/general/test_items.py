from __future__ import annotations

from culture_neurons.data.facts.general.items import near

LETTERS = tuple("abcdefgh")


def test_the_nearest_values_come_first():
    assert near(LETTERS, 3, 4, 4) == ("c", "b", "f", "a")
    assert near(LETTERS, 0, 1, 3) == ("c", "d", "e")


def test_in_a_cycle_the_first_is_near_the_last():
    assert near(LETTERS, 0, 1, 3, cyclic=True) == ("h", "c", "g")
    assert near(LETTERS, 7, 0, 2, cyclic=True) == ("g", "b")


def test_neither_what_is_asked_about_nor_the_answer_is_there():
    for place in range(8):
        assert set(near(LETTERS, place, (place + 1) % 8, 8)) == set(LETTERS) - {LETTERS[place], LETTERS[place - 7]}
