"""Small sums and products."""

from __future__ import annotations

from collections.abc import Iterator

from culture_neurons.data.facts.general.items import Fact, Kind

#: Terms and factors.
_NUMBERS = range(2, 13)


def sums() -> Iterator[Fact]:
    """Sums of two numbers from 2 to 12; wrong answers are off by 1, 2, 3 or 10."""
    for a in _NUMBERS:
        for b in _NUMBERS:
            yield _fact(a, b, a + b, (1, 2, 3, 10))


def products() -> Iterator[Fact]:
    """Products of two numbers from 2 to 12; wrong answers are off by one of the factors, 1, 2, 3 or 10."""
    for a in _NUMBERS:
        for b in _NUMBERS:
            yield _fact(a, b, a * b, (a, b, 1, 2, 3, 10))


def _fact(a: int, b: int, right: int, steps: tuple[int, ...]) -> Fact:
    """Wrong answers are none of the numbers asked about, and at least 1."""
    around = sorted({right + sign * step for step in steps for sign in (-1, 1)} - {a, b})
    fields = {"a": str(a), "b": str(b)}
    wrong = tuple(str(value) for value in around if value > 0)
    return Fact(f"{a} {b}", str(right), wrong, fields, unit=f"{min(a, b)} {max(a, b)}")


SUM = Kind("sum", "", sums, (
    ("The result of {a} plus {b} is", "The result of one number plus another is"),
    ("If you add {a} and {b} you get", "If you add two numbers you get"),
))  # fmt: skip
PRODUCT = Kind("product", "", products, (
    ("The result of {a} times {b} is", "The result of one number times another is"),
    ("The product of {a} and {b} is", "The product of two numbers is"),
))  # fmt: skip
