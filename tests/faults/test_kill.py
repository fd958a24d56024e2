"""Kill -9 in every kind of rule, of the job and of the main process: what the README tells to do completes the run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import psutil
import pytest

from tests.conftest import slow
from tests.faults.conftest import TABLES as SOME
from tests.pipeline.conftest import Project, build

pytestmark = pytest.mark.faults

#: Rules whose jobs are killed. All other rules of the run are of these kinds too (a table, a page, a gathering of
#: shards).
RULES = {
    "prepare", "train", "infer", "infer_image_controls", "gather_answers", "record", "merge", "select", "ablate",
    "permute", "gather_outcomes", "tabulate", "figures", "report", "manifest",
}  # fmt: skip
#: A folder, a table of answers, HDF5, tables of text, figures: of these both the job and the main process are killed.
KINDS = ["train", "infer", "record", "tabulate", "figures"]
KILLS = {(rule, whom) for rule in KINDS for whom in ("job", "main")}
#: Of all other kinds of jobs the one or the other, in turns.
OTHERS = {(rule, ("main", "job")[i % 2]) for i, rule in enumerate(sorted(RULES.difference(KINDS)))}
#: Evidence that adds no kind of output, and its tables.
EVIDENCE = {"selectors": ["cas"], "permutations": 2, "strengths": [0.5], "image_controls": ["blank"]}
TABLES = ("permutations", "strengths", "images")
#: Seconds that a job of a rule may run before it is killed; 0 where it might be done by then.
DELAYS = {
    "train": 3.0,
    "infer": 1.0,
    "infer_image_controls": 1.0,
    "record": 1.0,
    "ablate": 1.5,
    "tabulate": 0.5,
    "figures": 1.0,
}


def make(folder: Path, more: bool, environment: Mapping[str, str] = MappingProxyType({})) -> Project:
    """A project with one job of most rules, and several of those that are split; `more`: with all of `RULES`."""
    project = build(folder, environment=environment)
    config = project.read()
    config["models"] = {"trained": config["models"]["trained"]}
    config["selectors"] = {"cas": {}}
    config["top_fractions"] = [0.05]
    # One job of each kind is enough; those of the others are of these kinds too.
    config["evidence"] = {"replicates": 200, "resamples": 0, "split_halves": 0, "cards": 0} | (EVIDENCE if more else {})
    config["shards"] = {"infer": 2, "record": 2, "ablate": 1, "ablate_masks": 2 if more else 1}
    project.write(config)
    return project


def started(project: Project) -> subprocess.Popen:
    """A run in the background; one job at a time, so that each can be met alone."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--rerun-incomplete"]
    with (project.folder / "run.log").open("a") as log:
        return subprocess.Popen(
            command, cwd=project.folder, env=os.environ | project.environment, stdout=log, stderr=subprocess.STDOUT
        )


def jobs(run: subprocess.Popen) -> Iterator[tuple[psutil.Process, list[str]]]:
    """Processes of the steps that a run has started, with their command lines."""
    with suppress(psutil.Error):
        for process in psutil.Process(run.pid).children(recursive=True):
            with suppress(psutil.Error):
                line = process.cmdline()
                # The step itself, not the shell that started it.
                if line[1:2] == ["-m"] and line[2].startswith("culture_neurons.steps."):
                    yield process, line


def rule_of(line: list[str]) -> str:
    """The rule that a command line belongs to: a rule's step has its name."""
    return line[2].removeprefix("culture_neurons.steps.")


def kill(project: Project, pending: set[tuple[str, str]]) -> tuple[str, str] | None:
    """Run, and kill the first job of `pending` (rule, and "job" or "main") or its main process; None at the end."""
    run = started(project)
    try:
        while run.poll() is None:
            for job, line in jobs(run):
                rule = rule_of(line)
                whom = next((whom for whom in ("job", "main") if (rule, whom) in pending), None)
                if whom is None:
                    continue
                # A job that is done by then is met again at the next start, or not at all.
                with suppress(psutil.NoSuchProcess):
                    with suppress(psutil.TimeoutExpired):
                        job.wait(DELAYS.get(rule, 0))
                    if job.is_running() and job.status() != psutil.STATUS_ZOMBIE:
                        (job if whom == "job" else psutil.Process(run.pid)).send_signal(signal.SIGKILL)
                        run.wait(120)
                        return rule, whom
            time.sleep(0.01)
        assert run.returncode == 0
        return None
    finally:
        run.kill()
        run.wait()


def jobs_done(project: Project) -> Counter:
    """How often a job of each rule was finished, over all runs; of one that the main process lived to see."""
    log = (project.folder / "run.log").read_text(encoding="utf-8")
    return Counter(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", log))


@pytest.mark.parametrize("kills", [KILLS, slow(OTHERS)], ids=["kinds of output", "other rules"])
def test_a_run_that_is_killed_in_its_rules_completes_and_redoes_only_unfinished_work(warm_steps, tmp_path, kills):
    more = kills == OTHERS
    undisturbed = make(tmp_path / "undisturbed", more, warm_steps)
    assert started(undisturbed).wait(300) == 0
    assert set(jobs_done(undisturbed)) >= (RULES if more else set(KINDS))
    project = make(tmp_path / "project", more)
    pending = set(kills)
    while killed := kill(project, pending):
        pending.remove(killed)
        if killed[1] == "main":
            project.run("--unlock")
    # A job of half a second may end before it is seen; but nearly all were hit, and each kind of output in both ways.
    assert not {rule for rule, _ in pending} & set(KINDS)
    assert len(pending) <= 2
    assert project.planned() == {}
    # Every job was finished once: what was done before a fault was not done again.
    assert jobs_done(project) == jobs_done(undisturbed)
    for name in (*SOME, *TABLES) if more else SOME:
        expected = undisturbed.results("tables", f"{name}.csv").read_bytes()
        assert project.results("tables", f"{name}.csv").read_bytes() == expected, name
