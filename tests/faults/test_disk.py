"""A disk that is full or read-only, in file systems that are mounted for one test and seen by nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import slow_but
from tests.faults.conftest import TABLES
from tests.pipeline.conftest import Project

pytestmark = pytest.mark.faults

SNAKEMAKE = f"{sys.executable} -m snakemake --cores 2 --rerun-incomplete"
#: A rule for each kind of file: what is lost before and made again, and kB that are free; some fail in mid-file.
FULL = {
    "prepare": (["samples.parquet"], 8),
    "train": (["trained/model"], 200),
    "infer": (["loaded/predictions.parquet"], 0),
    "record": (["loaded/statistics.h5"], 16),
    "select": (["loaded/scores/cas.h5"], 4),
    "tabulate": (["tables/effects.csv"], 8),
    "figures": (["figures/overview.pdf"], 12),
    "report": (["report.html"], 300),
}
#: A folder, a table of answers, HDF5, and a page: tables of text and figures are written as pages are (files.atomic).
QUICK = ["train", "infer", "record", "report"]


def namespace(project: Project, script: str) -> subprocess.CompletedProcess:
    """Run a shell script in the project's folder where it may mount what it likes."""
    # Without root, a user namespace gives the right to mount.
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [*unshare, "sh", "-c", script], cwd=project.folder, env=environment, capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip


def on_a_file_system_of_its_own(then: str) -> str:
    """The results lie on one of 64 MB; at the end they are put back into the project."""
    return (
        "set -e; mv results saved; mkdir results; mount -t tmpfs -o size=64m tmpfs results; cp -a saved/. results/;"
        f" set +e; {then}; rm -rf saved; cp -a results saved; umount results; rmdir results; mv saved results"
    )


def tables(project: Project) -> dict[str, bytes]:
    return {name: project.results("tables", f"{name}.csv").read_bytes() for name in TABLES}


def content(path: Path) -> dict[str, bytes]:
    """What a file or a folder holds."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


@pytest.mark.parametrize("rule", slow_but(QUICK, FULL))
def test_full_disk_is_one_line_that_names_the_file_and_nothing_is_half_written(project, rule):
    lost, free = FULL[rule]
    before = content(project.results(lost[0]))
    target = project.results(lost[0]).relative_to(project.folder)
    script = (
        f"rm -r {' '.join(f'results/small/{name}' for name in lost)};"
        f" dd if=/dev/zero of=results/filler bs=4k 2> /dev/null; truncate -s -{free}K results/filler;"
        f" {SNAKEMAKE} {target} > first.log 2>&1; echo $? > status; find results -name '*.tmp' > left.log;"
        f" ls {target} > target.log 2>&1; rm results/filler; {SNAKEMAKE} {target} > second.log 2>&1; echo $? >> status"
    )
    done = namespace(project, on_a_file_system_of_its_own(script))
    assert done.returncode == 0, done.stderr
    first, second = ((project.folder / name).read_text() for name in ("first.log", "second.log"))
    assert (project.folder / "status").read_text().split() == ["1", "0"], first + second
    assert "No space left on device" in first
    named = [line for line in first.splitlines() if "error: " in line and "No space left on device" in line]
    assert named, first
    assert "Traceback" not in first, first
    assert (project.folder / "left.log").read_text() == ""
    assert "cannot access" in (project.folder / "target.log").read_text()
    assert content(project.results(lost[0])) == before


@pytest.mark.parametrize(
    ("before_it", "message"),
    [
        ("", "Write-protected output files"),
        ("cd results/small/loaded; rm */mad*; cd - > /dev/null; ", "can't be written; expected a folder"),
    ],
    ids=["made before", "new"],
)
def test_read_only_results_are_said_so_and_left_as_they_are(project, before_it, message):
    before = tables(project)
    target = "results/small/loaded/scores/mad.h5"
    script = (
        f"{before_it}mount -o remount,ro results; {SNAKEMAKE} --forcerun select -- {target} > first.log 2>&1;"
        " echo $? > status; mount -o remount,rw results"
    )
    done = namespace(project, on_a_file_system_of_its_own(script))
    assert done.returncode == 0, done.stderr
    output = (project.folder / "first.log").read_text()
    assert (project.folder / "status").read_text().split() == ["1"], output
    assert message in output
    assert "Traceback" not in output, output
    assert tables(project) == before
