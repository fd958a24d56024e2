"""Fetching from the hub before a run, and jobs of a cluster that don't ask it."""

import pytest

from tests.conftest import slow

pytestmark = pytest.mark.workflow


def test_prefetch_of_a_run_without_the_hub_fetches_nothing(project):
    before = project.planned()
    output = project.run("prefetch")
    assert "data: nothing to fetch" in output
    assert "model trained: nothing to fetch" in output
    assert "model loaded: nothing to fetch: models/loaded" in output
    assert project.planned() == before == {}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SLURM_JOB_ID": "7"}, "HF_HUB_OFFLINE is set"),
        slow({"SLURM_JOB_ID": "7", "HF_HUB_OFFLINE": "0"}, "the hub at http://127.0.0.1:9 can't be reached"),
        slow({}, "the hub at http://127.0.0.1:9 can't be reached"),
    ],
)
def test_jobs_of_slurm_do_not_ask_the_hub(project, monkeypatch, environment, message):
    for name in ("SLURM_JOB_ID", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(project.folder), **environment}.items():
        monkeypatch.setenv(name, value)
    # The library of the hub reads its variables when it is loaded, so that each step loads its own.
    project.environment = {}
    config = project.read()
    config["models"]["loaded"]["path"] = "some/model"
    project.write(config)
    done = project.snakemake("results/small/loaded/predictions.parquet")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert message in output
    assert "make prefetch" in output
    assert "Traceback" not in output
