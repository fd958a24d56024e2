"""Jobs that an earlier run sent to Slurm from a folder, and that nobody waits for any more.

They are left behind when the main process of a run is killed. One that starts late first removes the files that it is
about to write, and one that fails removes them again: nothing may run for the same data set until they have ended.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from culture_neurons.errors import CultureNeuronsError
from culture_neurons.files import write_text

#: What snakemake-executor-plugin-slurm calls all jobs of a run: its UUID, behind a prefix of the user's if any.
_RUN = re.compile(r"([\w-]+_)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Below the folder of a run: one file per run, named like its jobs, with the name of its data set. Not below results/,
#: since these may be deleted while jobs still wait.
NOTES = Path(".snakemake", "slurm_runs")


class LeftoverJobsError(CultureNeuronsError):
    """Jobs of another run of the same data set are still in Slurm's queue."""


def refuse_leftover_jobs(folder: str | Path, dataset: str) -> None:
    """Raise LeftoverJobsError if jobs of a run of `dataset` in `folder` wait or run."""
    jobs = leftover_jobs(folder, dataset)
    if jobs:
        are, them = ("job is", "it") if len(jobs) == 1 else ("jobs are", "them")
        raise LeftoverJobsError(
            f"{len(jobs)} {are} in Slurm's queue from another run of {dataset} in this folder, and would write to the "
            f"same files: {' '.join(jobs)}\n"
            f"Wait for {them}; or, if that run was killed, end {them}: scancel {' '.join(jobs)}"
        )


def leftover_jobs(folder: str | Path, dataset: str, seconds: float = 30) -> list[str]:
    """Ids of this user's jobs that Snakemake sent from `folder` and that have not ended, oldest first.

    Jobs of runs that are noted for another data set are left out. A job array counts as one. Where there is no
    Slurm, or where it does not answer within `seconds`, the list is empty.
    """
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%F|%j|%Z"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    lines = [line.split("|", maxsplit=2) for line in answer.stdout.splitlines() if re.match(r"\d+\|[^|]+\|", line)]
    here = os.path.realpath(folder)
    queued = [(job, run) for job, run, place in lines if _RUN.fullmatch(run) and os.path.realpath(place) == here]
    return sorted(
        {job for job, run in queued if _dataset(folder, run) in (dataset, None)}, key=lambda job: (len(job), job)
    )


def note_run(folder: str | Path, dataset: str, run: str) -> None:
    """Note that the jobs named `run` belong to `dataset`, before they are sent."""
    write_text(Path(folder, NOTES, run), dataset)


def _dataset(folder: str | Path, run: str) -> str | None:
    try:
        return Path(folder, NOTES, run).read_text(encoding="utf-8")
    except OSError:
        return None
