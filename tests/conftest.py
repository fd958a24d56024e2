"""Settings of all tests: how many cases hypothesis makes up, and which cases of a grid only `make test-all` runs.

Hypothesis has no deadlines, as machines differ, and makes up the same examples each time.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import settings

#: Cases of a test that does not say how many.
CASES = 100

settings.register_profile("all", deadline=None, derandomize=True, max_examples=CASES)
#: A tenth of the cases, for `make test`; the others: --hypothesis-profile=all.
settings.register_profile("quick", settings.get_profile("all"), max_examples=CASES // 10)
settings.load_profile("quick")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported for the tests lives to the end of the session: Python's garbage collector need not search these
    million objects, neither while they are made nor again and again while tests run. What tests leave behind is small,
    so that it may wait."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(50_000, 10, 10)
        gc.enable()
        _leave_configurations_unsaid()


def _leave_configurations_unsaid() -> None:
    """Transformers puts every configuration that it reads into words, for a message of its log that nobody asks for."""
    if module := sys.modules.get("transformers.configuration_utils"):
        module.PreTrainedConfig.__repr__ = object.__repr__


def examples(count: int, **more: Any) -> settings:
    """Settings of a test with `count` cases, or the share of them that the profile makes up."""
    return settings(max_examples=max(1, count * settings.default.max_examples // CASES), **more)


def slow(*values: Any) -> Any:
    """A case of a parametrised test that only `make test-all` runs."""
    return pytest.param(*values, marks=pytest.mark.slow)


def slow_but(quick: Sequence[Any], grid: Iterable[Any]) -> list[Any]:
    """All cases of a grid; those that are not `quick` are slow."""
    cases = list(grid)
    assert set(quick) <= set(cases), "not in the grid"
    return [case if case in quick else slow(*(case if isinstance(case, tuple) else [case])) for case in cases]
