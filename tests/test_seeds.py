from __future__ import annotations

import numpy as np

from culture_neurons.seeds import generator, number


def test_same_names_same_stream():
    np.testing.assert_array_equal(generator("a", 1).random(5), generator("a", 1).random(5))


def test_every_split_of_the_names_has_a_stream_of_its_own():
    names = [("a", "bc"), ("ab", "c"), ("abc",), ("a", "b", "c"), ("abc", ""), ("日本", 0), ("日本", 1)]
    firsts = {generator(*n).random() for n in names}
    assert len(firsts) == len(names)


def test_the_stream_stays_as_it_is():
    # Masks and intervals of earlier runs can be made again only while this holds.
    assert generator("random", 0, "Japan").integers(1000, size=3).tolist() == [459, 538, 225]


def test_numbers_are_functions_of_the_names_alone():
    assert number("a", "bc") != number("ab", "c")
    assert number("place", 1, "Japan") == 12915845830097030491, "orders of earlier runs can be made again"
    tops = [number("x", i) >> 62 for i in range(400)]
    assert all(70 < tops.count(k) < 130 for k in range(4))
