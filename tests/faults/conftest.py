"""The small project without what each fault would have to be followed by and no fault is about."""

from __future__ import annotations

import copy

import pytest

from tests.pipeline.conftest import CONFIG, Project, project, run_once, warm_steps

__all__ = ["TABLES", "finished", "project", "warm_steps"]

#: Tables that the project makes.
TABLES = ("effects", "summary", "layers", "baseline", "evidence", "cultures", "differences", "planted")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id, warm_steps) -> Project:
    """It after a complete run."""
    config = copy.deepcopy(CONFIG)
    config["evidence"] = {"replicates": 200, "resamples": 0, "split_halves": 0, "cards": 1}
    config["shards"] = {"ablate_selectors": 1}
    return run_once(tmp_path_factory, worker_id, warm_steps, config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first: one worker has it, and the other all others meanwhile."""
    items.sort(key=lambda item: item.path.name != "test_kill.py")
