"""A run refuses to start beside jobs that a killed run left in Slurm's queue, and only then."""

import os

import pytest

from tests.pipeline.conftest import Project, build

pytestmark = pytest.mark.workflow

RUN = "e7d3c9da-8282-4aad-8bf4-1aea9d445dba"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Project:
    return build(tmp_path_factory.mktemp("queue") / "project")


def queue(monkeypatch, tmp_path, *lines: str) -> None:
    """A squeue that prints these lines."""
    program = tmp_path / "squeue"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_a_run_beside_jobs_of_a_killed_one_is_refused(fresh, monkeypatch, tmp_path):
    samples = "results/small/samples.parquet"
    queue(monkeypatch, tmp_path, f"8|{RUN}|{fresh.folder}", f"7|{RUN}|{fresh.folder}", f"9|{RUN}|{tmp_path}")
    done = fresh.snakemake(samples)
    assert done.returncode == 1
    message = (done.stdout + done.stderr).splitlines()[-2:]
    assert message[0].startswith("2 jobs are in Slurm's queue from another run of small in this folder")
    assert message[0].endswith(": 7 8")
    assert message[1].endswith("scancel 7 8")
    assert not (fresh.folder / samples).exists()
    assert fresh.planned(samples) == {"prepare": 1}
    # Nothing is left locked; and jobs of another folder or another run's name are none of its business.
    queue(monkeypatch, tmp_path, f"9|{RUN}|{tmp_path}", f"10|interactive|{fresh.folder}")
    fresh.run(samples)
    assert (fresh.folder / samples).exists()
