"""Numbers and tables of the docs, to be compared with those of results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

#: How far a number of a page may lie from that of a table: numbers differ a little between processors.
NATS, POINTS = 0.03, 3.0


def numbers(text: str) -> list[float]:
    """All numbers of a text, in their order."""
    return [float(n.replace("\N{MINUS SIGN}", "-")) for n in re.findall(r"[-\N{MINUS SIGN}]?\d+(?:\.\d+)?", text)]


def ranges(text: str) -> list[tuple[float, float]]:
    """All ranges of a text, "55 to 85", in their order, also over the end of a line."""
    found = re.findall(r"([-\N{MINUS SIGN}]?\d+(?:\.\d+)?)\s+to\s+([-\N{MINUS SIGN}]?\d+(?:\.\d+)?)", text)
    return [tuple(numbers(" ".join(pair))) for pair in found]


def outside(text: str, values: Sequence[float]) -> list[tuple]:
    """The values that are not in the range of a text at their place; raises ValueError unless there are as many."""
    return [
        (value, *bounds) for value, bounds in zip(values, ranges(text), strict=True)
        if not bounds[0] - 1e-9 <= value <= bounds[1] + 1e-9
    ]  # fmt: skip


def section(page: Path, heading: str) -> str:
    """What stands under a heading of the second level, up to the next one."""
    return page.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(page: Path, heading: str) -> dict[str, list[str]]:
    """First cell -> other cells of the table that follows a heading."""
    following = page.read_text(encoding="utf-8").split(heading, 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", following, re.M).group(0).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells}


def decimals(text: str) -> set[str]:
    """The numbers of a text that have decimals, as they are written, without signs."""
    return set(re.findall(r"\d+\.\d+", text))
