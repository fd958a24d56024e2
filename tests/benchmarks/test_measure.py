import subprocess
import sys

import pytest

from benchmarks import __main__ as command
from benchmarks import measure


def test_runs_are_taken_in_turn_after_one_of_each():
    calls = []
    values = iter(range(100))

    def way(name):
        def call():
            calls.append(name)
            return next(values)

        return call

    found = measure.interleaved({"a": way("a"), "b": way("b")}, runs=2)
    assert "".join(calls) == "ababab"
    assert found == {"a": [2, 4], "b": [3, 5]}


def test_ratios_are_of_neighbouring_runs():
    assert measure.ratios({"a": [2.0, 9.0, 4.0], "b": [1.0, 3.0, 4.0]}, "a", "b") == (2.0, 1.0, 3.0)


def test_slope_is_that_of_the_line():
    assert measure.slope([1, 2, 5], [5, 7, 13]) == pytest.approx((2, 3))


def test_peak_memory_is_that_of_the_command():
    taken, small = measure.peak_memory([sys.executable, "-c", "pass"])
    _, large = measure.peak_memory([sys.executable, "-c", "x = b'1' * 200_000_000"])
    assert taken > 0
    assert 0.15 < large - small < 0.3
    with pytest.raises(subprocess.CalledProcessError):
        measure.peak_memory([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1234.5, "1,234"), (12.34, "12.3"), (0.01234, "0.0123")])
def test_three_digits(value, text):
    assert measure.number(value) == text


def test_section_takes_the_place_of_the_one_of_the_same_title():
    page = command.with_section(command.with_section("# R\n", "A", "1"), "B", "2")
    assert page == "# R\n\n## A\n\n1\n\n## B\n\n2\n"
    assert command.with_section(page, "A", "3") == "# R\n\n## A\n\n3\n\n## B\n\n2\n"
    assert command.with_section(page, "B", "4") == "# R\n\n## A\n\n1\n\n## B\n\n4\n"
