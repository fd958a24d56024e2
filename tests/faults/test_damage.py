"""A damaged file between two steps is named, and the command in the message rebuilds it; two runs don't mix."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time

import pytest

from tests.conftest import slow_but
from tests.faults.conftest import TABLES

pytestmark = pytest.mark.faults

#: A file, how it is damaged, and the result that is made again from it.
DAMAGED = {
    "samples.parquet": ("cut", "loaded/predictions.parquet"),
    "loaded/predictions.parquet": ("flip", "loaded/statistics.h5"),
    # A bit in the middle may lie where nothing is read: unused space, or the sums of one sample once they are summed.
    "loaded/statistics.h5": ("cut", "loaded/scores/cas.h5"),
    "loaded/scores/cas.h5": ("cut", "loaded/cards.json"),
    "loaded/masks/mad_top0.2.parquet": ("flip", "loaded/ablation/mad_top0.2.parquet"),
    "trained/ablation/cas_top0.05.parquet": ("cut", "tables/effects.csv"),
}


def damage(path, how: str) -> None:
    """Cut off the last bytes, or flip one bit in the middle."""
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[-100:]
    else:
        content[len(content) // 2] ^= 4
    path.write_bytes(content)


#: A bit and an end that are lost, of each format; tests/hostile damages all of these files, without a run around it.
QUICK = ["loaded/predictions.parquet", "loaded/statistics.h5", "trained/ablation/cas_top0.05.parquet"]


@pytest.mark.parametrize("name", slow_but(QUICK, DAMAGED))
def test_damaged_file_is_named_and_rebuilt_by_the_command_that_is_given(project, name, monkeypatch):
    monkeypatch.setenv("CULTURE_NEURONS_REMAKE", "1")  # the file's time says too that what follows is out of date
    how, made_from_it = DAMAGED[name]
    before = {table: project.results("tables", f"{table}.csv").read_bytes() for table in TABLES}
    damage(project.results(name), how)
    project.results(made_from_it).unlink()
    # The content changed and nothing else: not the time, by which Snakemake would know.
    done = project.snakemake("--rerun-triggers", "input")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in output
    line = next(line for line in output.splitlines() if "rebuild it: " in line)
    assert f"results/small/{name}: " in line
    command = shlex.split(re.search(r"rebuild it: (rm .*), then the same snakemake command again", line)[1])
    assert command[0] == "rm"
    subprocess.run(command, cwd=project.folder, check=True)
    project.run("--rerun-triggers", "input")
    assert {table: project.results("tables", f"{table}.csv").read_bytes() for table in TABLES} == before


def test_a_second_run_in_the_folder_is_refused_and_the_first_completes(project):
    before = {table: project.results("tables", f"{table}.csv").read_bytes() for table in TABLES}
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--forcerun", "infer", "--quiet", "rules"]
    with subprocess.Popen(
        command,
        cwd=project.folder,
        env=os.environ | project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as first:
        while not list((project.folder / ".snakemake" / "locks").glob("*")) and first.poll() is None:
            time.sleep(0.02)
        # Files of running jobs count as incomplete, which would be refused first where the second start is slow.
        second = project.snakemake("--forcerun", "infer", "--rerun-incomplete")
        output = second.stdout + second.stderr
        assert second.returncode != 0
        assert "cannot be locked" in output
        assert "Traceback" not in output
        text, _ = first.communicate(timeout=280)
    assert first.returncode == 0, text
    assert {table: project.results("tables", f"{table}.csv").read_bytes() for table in TABLES} == before
