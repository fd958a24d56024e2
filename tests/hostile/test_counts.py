"""The docs say how many cases are tried."""

from __future__ import annotations

import re
from pathlib import Path

from tests.hostile.conftest import CASES, DAMAGES
from tests.hostile.test_damage import READERS

HERE = Path(__file__).resolve().parent
TEXT = (HERE.parents[1] / "docs/faults.md").read_text(encoding="utf-8")


def test_the_docs_say_how_many_cases_are_tried() -> None:
    used = [
        name for path in HERE.glob("test_*.py") for name in re.findall(r'^@cases\("(.+)"\)', path.read_text(), re.M)
    ]
    assert sorted(used) == sorted(CASES)
    assert f"{sum(CASES.values()):,} cases" in TEXT
    assert f"{DAMAGES * len(READERS):,} damages" in TEXT
