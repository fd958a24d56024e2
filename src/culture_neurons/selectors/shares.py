"""How many of a number a fraction is. One arithmetic for budgets, ranks and shares, so that no two places differ."""

from __future__ import annotations

from decimal import Decimal


def rounded(fraction: float, number: int) -> int:
    """round(number * fraction): one product in float64, a half goes to the even number.

    As in LAPE's published code (Tang et al. 2024), `round(len(x) * rate)`. What is counted is multiplied first, so a
    budget is rounded(r, layers * neurons): (r * layers) * neurons is rounded twice, and 0.01 of 7 * 150 became 11.
    """
    return round(number * fraction)


def floored(fraction: float, number: int) -> int:
    """floor(fraction * number) of the decimal number that was written: 0.29 of 100 are 29, not 28."""
    return int(Decimal(repr(float(fraction))) * number)


def scaled(fraction: float, factor: float, unit: float) -> float:
    """fraction * factor / unit of the decimal numbers that were written, at most 1: 0.01 times 0.03 / 0.01 is 0.03."""
    return float(min(Decimal(1), Decimal(repr(fraction)) * Decimal(repr(factor)) / Decimal(repr(unit))))
