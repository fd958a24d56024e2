"""What is done before the first job of a run. `workflow` is Snakemake's record of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from culture_neurons.errors import CultureNeuronsError
from culture_neurons.workflow import finished, slurm


def before_jobs(workflow: Any, dataset: str, notes: Iterable[str] = ()) -> None:
    """Leave with a message where no result can be written, where jobs of a killed run are still in the queue, or where
    finished results would be made again because of times alone; say `notes` on what the run will not tell."""
    say(notes)
    results = Path("results") / dataset
    check_writable(results)
    try:
        slurm.refuse_leftover_jobs(workflow.workdir_init, dataset)
        if not workflow.touch:
            finished.refuse_remaking(workflow.dag, workflow.persistence, results.as_posix())
    except CultureNeuronsError as error:
        sys.exit(str(error))
    run = getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", None)
    if run:  # the jobs will go to Slurm
        slurm.note_run(workflow.workdir_init, dataset, run)
    start_jobs_at_once(workflow)


def say(notes: Iterable[str]) -> None:
    """Print notes on what the config leads to."""
    for note in notes:
        print(f"config: note: {note}", file=sys.stderr)


def check_writable(results: Path) -> None:
    """Refuse to run where no result can be written: Snakemake's own words for it are a traceback."""
    folder = next(path for path in (results, *results.parents) if path.exists())
    if not os.access(folder, os.W_OK):
        sys.exit(f"{folder}: can't be written; expected a folder of yours, on a file system that is not read-only")


def start_jobs_at_once(workflow: Any) -> None:
    """Do without Snakemake's limit on the jobs that start per second, unless one was asked for.

    With it, Snakemake 9.27 looks at all jobs that wait, and at every input file of theirs, once per second for each
    job that has ended: after some hundred jobs all the time, with a core that a job could use.
    """
    limit = getattr(workflow.scheduler, "job_rate_limiter", None)
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):  # the default of --max-jobs-per-timespan
        workflow.scheduler.job_rate_limiter = None
