"""One cluster for all tests of a session, and projects that run on it."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.pipeline.conftest import CONFIG, ROOT, Project, build, warm_steps
from tests.slurm.cluster import Cluster, running

__all__ = ["warm_steps"]

#: Jobs last seconds here, so that the profile's pause before the first look at them would be most of the time.
QUICK = ("--slurm-init-seconds-before-status-checks", "10", "--latency-wait", "20")


class SlurmProject(Project):
    """A project whose runs go to the cluster."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        super().__init__(folder)
        self.cluster = cluster
        shutil.copytree(ROOT / "profiles", folder / "profiles")
        (folder / "slurm").symlink_to(os.readlink(ROOT / "slurm"))

    def ask(self, rule: str, **resources: str) -> None:
        """Let the profile ask for something else than the rule."""
        path = self.folder / "profiles" / "slurm" / "config.yaml"
        profile = yaml.safe_load(path.read_text(encoding="utf-8"))
        profile.setdefault("set-resources", {}).setdefault(rule, {}).update(resources)
        path.write_text(yaml.safe_dump(profile), encoding="utf-8")

    @contextlib.contextmanager
    def submitted(self, *words: str, profile: str = "slurm") -> Iterator[subprocess.Popen]:
        """`snakemake --profile ...` while it runs; it and its jobs are ended with the block."""
        environment = {k: v for k, v in self.cluster.environment.items() if k != "PYTHONPATH"}
        with (self.folder / "run.log").open("w", encoding="utf-8") as log:
            main = subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--profile", profile, *QUICK, *words],
                cwd=self.folder, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            yield main
        finally:
            if main.poll() is None:
                main.kill()
                main.wait()
                self.cluster.cancel()

    def log(self) -> str:
        """What the last run printed."""
        return (self.folder / "run.log").read_text(encoding="utf-8")

    def submit(self, *words: str, profile: str = "slurm", seconds: float = 1200) -> tuple[int, str]:
        """Exit status and output of a whole run."""
        with self.submitted(*words, profile=profile) as main:
            try:
                main.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                states = [f"{job['JobId']} {job['Comment']} {job['JobState']}" for job in self.jobs()]
                pytest.fail("\n".join([f"not finished after {seconds} s", *states, self.log()[-3000:]]))
        return main.returncode, self.log()

    def jobs(self) -> list[dict[str, str]]:
        """What Slurm knows of this project's jobs, in the order in which they were sent."""
        return sorted(self.cluster.jobs(self.folder), key=lambda job: int(job["JobId"]))

    def jobs_of(self, rule: str, *wildcards: str) -> list[dict[str, str]]:
        """The jobs of a rule or a group, all attempts."""
        found = [job for job in self.jobs() if re.fullmatch(rf"rule_{rule}(_wildcards_.*)?", job["Comment"])]
        return [job for job in found if all(word in job["Comment"] for word in wildcards)]


class Faults:
    """Sends a signal to the first process of each named step, as soon as it runs."""

    def __init__(self, cluster: Cluster, signals: Mapping[str, signal.Signals]) -> None:
        self.cluster, self.due = cluster, dict(signals)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Faults:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while self.due and not self.over.wait(0.1):
            for step in list(self.due):
                for process in steps(self.cluster, step)[:1]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, self.due[step])
                        del self.due[step]


def steps(cluster: Cluster, step: str) -> list[int]:
    """Ids of the processes of a step that run in jobs of the cluster."""
    return cluster.processes(f"culture_neurons.steps.{step}")


def wait_for(condition, what: str, seconds: float = 60):
    """The first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return value


def tables(folder: Path) -> dict[str, bytes]:
    """Name -> content of all tables of a data set."""
    return {path.name: path.read_bytes() for path in sorted((folder / "tables").glob("*.csv"))}


def config() -> dict:
    """The small config with one selector. One model asks for one GPU, one for two, and for too little memory."""
    found = copy.deepcopy(CONFIG)
    found["models"]["trained"] |= {"gpus": 1}
    # Loading torch takes about 500 MB, and Snakemake 150: too much for the first attempt, and never for the third.
    found["models"]["loaded"] |= {"gpus": 2, "mem_mb": 450}
    found["selectors"] = {"cas": {}}
    # Each further job is a minute of waiting: what is left out here is run by itself, in `complete`.
    found["evidence"] = {"selectors": [], "permutations": 0, "resamples": 0, "split_halves": 0, "cards": 0}
    return found


def complete() -> dict:
    """The same with all of the evidence and another model."""
    found = config()
    first = found["models"]["trained"]
    found["models"]["second"] = first | {"train": first["train"] | {"seed": 2}}
    found["evidence"] = copy.deepcopy(CONFIG["evidence"]) | {"cards": 0}
    return found


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def local(tmp_path_factory, warm_steps) -> Project:
    """The small project after a run on this machine, without Slurm."""
    project = build(tmp_path_factory.mktemp("local") / "project", environment=warm_steps)
    project.write(config())
    project.run()
    return project
