"""Jobs that a killed run left in the queue are found; where there is no Slurm, nothing stands in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from culture_neurons.workflow import slurm

RUN, OTHER = "e7d3c9da-8282-4aad-8bf4-1aea9d445dba", "mine_0b9c9f5e-1111-2222-3333-444455556666"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a|b").mkdir()
    return tmp_path / "a|b"


def queue(monkeypatch, tmp_path: Path, script: str) -> None:
    """A squeue that is this shell script, and nothing else of Slurm."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "squeue").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (programs / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)


def test_jobs_that_snakemake_sent_from_this_folder(monkeypatch, tmp_path, folder) -> None:
    (tmp_path / "link").symlink_to(folder)
    lines = [
        f"101|{RUN}|{folder}",
        f"12|{OTHER}|{tmp_path}/link",
        f"12|{OTHER}|{folder}",  # a second task of an array
        f"13|interactive|{folder}",  # the user's own
        f"14|{RUN}|{tmp_path}",
        "slurm_load_jobs: a warning",
    ]
    queue(monkeypatch, tmp_path, "cat <<'END'\n" + "\n".join(lines) + "\nEND")
    assert slurm.leftover_jobs(folder, "demo") == ["12", "101"]
    with pytest.raises(slurm.LeftoverJobsError, match=r"2 jobs are.* of demo .*: 12 101\n.* scancel 12 101$"):
        slurm.refuse_leftover_jobs(folder, "demo")


def test_only_this_users_jobs_are_asked_for(monkeypatch, tmp_path, folder) -> None:
    queue(monkeypatch, tmp_path, f'case "$*" in *--user={os.getuid()}*) echo "7|{RUN}|{folder}";; esac')
    with pytest.raises(slurm.LeftoverJobsError, match=r"1 job is.*: 7\n"):
        slurm.refuse_leftover_jobs(folder, "demo")


def test_jobs_of_another_data_set_may_go_on(monkeypatch, tmp_path, folder) -> None:
    queue(monkeypatch, tmp_path, f"echo '1|{RUN}|{folder}'; echo '2|{OTHER}|{folder}'")
    slurm.note_run(folder, "cvqa", RUN)
    slurm.note_run(folder, "demo", OTHER)
    assert slurm.leftover_jobs(folder, "demo") == ["2"]
    assert slurm.leftover_jobs(folder, "cvqa") == ["1"]
    assert slurm.leftover_jobs(folder, "mine") == []


@pytest.mark.parametrize(
    "script",
    ["exit 1", "echo nothing to read", "printf '\\377|\\377|\\377\\n'", "exec sleep 60", f"echo '1|{RUN}|/'; exit 1"],
)
def test_a_queue_that_fails_stands_in_no_ones_way(monkeypatch, tmp_path, folder, script) -> None:
    queue(monkeypatch, tmp_path, script)
    assert slurm.leftover_jobs(folder, "demo", seconds=0.5) == []


def test_no_slurm(monkeypatch, tmp_path, folder) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm.refuse_leftover_jobs(folder, "demo")
