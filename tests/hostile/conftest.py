"""What the tests with made-up broken input share: the law, how many cases there are, and nasty values."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from culture_neurons.errors import CultureNeuronsError
from tests.conftest import CASES as OF_ALL
from tests.conftest import examples

#: Cases of each test, the same ones each time; docs/faults.md states their sum, and that of the damages.
CASES = {"table": 600, "raw table": 300, "cvqa": 300, "config": 1200, "masks": 250, "csv": 250, "captions": 300,
         "benchmarks": 300}  # fmt: skip
#: Damages of each file between steps, see damage.py.
DAMAGES = 300
#: Those of them that this run makes: a tenth in make test.
DAMAGES_NOW = DAMAGES * settings.default.max_examples // OF_ALL
#: Seconds that no case may take.
LONGEST = 20


def cases(name: str) -> settings:
    """The settings of a test in this folder: all of its cases in make test-all, a tenth in make test."""
    return examples(CASES[name], suppress_health_check=list(HealthCheck))


def listing(folder: Path, without: Sequence[str]) -> dict[str, int]:
    """Everything below a folder, with sizes."""
    found = {str(p.relative_to(folder)): p.lstat().st_size for p in sorted(folder.rglob("*"))}
    return {name: size for name, size in found.items() if name not in without}


@contextmanager
def law(folder: Path, *may_write: str) -> Iterator[None]:
    """It works, or it says in one or two short lines why not; soon, and it writes no file but those named."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"more than {LONGEST} s")

    before = listing(folder, may_write)
    old = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST)
    try:
        yield
    except CultureNeuronsError as error:
        lines = str(error).split("\n")
        assert 1 <= len(lines) <= 2
        assert all(0 < len(line) <= 1000 for line in lines)
        str(error).encode()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert listing(folder, may_write) == before


#: Names that are paths, markup, formulas, commands, or hard to see.
NAMES = [
    "../x", "/etc/passwd", "..", ".", "a/b", "a\\b", "~", "$HOME", "`id`", "C:\\x", "con", "a\0b", "\0", "\n", "a\nb",
    "<script>alert(1)</script>", '"onload="x', "=1+1", "-x", "+1", "@a", "\t=1", "\r", "'", "''=", '"', ",", ";", "%s",
    "{x}", "\ufeff", "\u202ea", "\u2066", "\u200f", "\ud800", "a\udc80", "\x1b[31m", "\x7f", "\x85", "\u2028", "NA",
    "nan", "null", "None", "True", "-1", "007", "1e309", "0x10", "日本", "e\u0301", "\u0301", "𝔄", "x" * 201,
    "e" + "\u0301\u0316" * 300,
]  # fmt: skip
texts = st.one_of(st.sampled_from(NAMES), st.text(max_size=8), st.characters(codec=None))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 30),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 2**64, 10**30, -(10**300)]),
    st.floats(),
    texts,
)
#: Cells as JSON can hold them.
cells = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
#: The same, and far too much of it; few, as they are slow.
large = st.sampled_from([
    "x" * 1_000_000, "e" + "\u0301\u0316" * 100_000, "a " * 100_000, ["x"] * 5000, [str(i) for i in range(5000)],
    "[" * 100_000, "9" * 5000, [[[["deep"]]]], "=" * 30_000,
])  # fmt: skip
