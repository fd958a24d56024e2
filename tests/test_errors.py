from __future__ import annotations

import pytest

from culture_neurons import errors


@pytest.mark.parametrize(
    ("name", "hint"),
    [("lapee", " (did you mean 'lape'?)"), ("Cas", " (did you mean 'cas'?)"), ("xyz", ""), ("", ""), (None, "")],
)
def test_nearest_known_name(name: object, hint: str) -> None:
    assert errors.nearest(name, ["lap", "lape", "cas"]) == hint  # type: ignore[arg-type]


def test_names_of_data_may_be_many_and_long() -> None:
    assert errors.nearest("x" * 10**6, ["y" * 10**6, "lap"]) == ""
    assert errors.nearest("lapp", ["y" * 10**6, *(f"{i:06d}" for i in range(10**5)), "lap"]) == ""


def test_a_message_is_two_short_lines_that_can_be_printed() -> None:
    error = errors.DataError("one \x1b[31m \ud800 \u202e\r" + "x" * 10**6 + "end; rebuild it: rm x\ntwo\nthree")
    first, second = str(error).split("\n")
    assert first.startswith("one \\x1b[31m \\ud800 \\u202e\\rxxx")
    assert first.endswith("end; rebuild it: rm x")
    assert len(first) < 1000
    assert second == "two"
    assert str(errors.ModelError("one\ntwo\nthree\nfour", lines=3)) == "one\ntwo\nthree"
    assert str(errors.DataError("Côte d'Ivoire, 日本 (5 × 6)")) == "Côte d'Ivoire, 日本 (5 × 6)"


@pytest.mark.parametrize("name", ["日本", "Côte d'Ivoire", "a/b", "..", 'the "x"', "نیم\u200cفاصله", "a  b"])
def test_names_that_are_fine(name: str) -> None:
    assert not errors.has_control(name)
    assert errors.printable(name) == name


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "\x1b[31m", "a\u202eb", "a\u2028b", "\ud800", "a\x7f"])
def test_names_with_control_characters(name: str) -> None:
    assert errors.has_control(name)
    assert not errors.has_control(errors.printable(name))
    errors.printable(name).encode()


def test_every_error_has_the_one_base_and_says_what_it_is() -> None:
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(found) >= 5
    for error in found:
        assert issubclass(error, errors.CultureNeuronsError)
        assert error.__doc__
