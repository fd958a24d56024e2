"""Finished results of expensive jobs are not made again because of times alone.

Snakemake compares times: a result that is older than what it was made of is made again. Where it noted a digest of the
input (files of at most 1 MB, in `.snakemake`) it looks at the content instead. So nothing is lost by an edit that is
taken back, but results that were copied to a fresh clone, or whose `.snakemake` is gone, look out of date: training,
answers and ablations would be done again and written over. What is done because the config, the code or the data have
changed, or because it was asked for (--forcerun), has other reasons and is never refused.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

from culture_neurons.errors import CultureNeuronsError

#: Rules that take minutes to days: those that train a model, or run one on questions.
EXPENSIVE = (
    "train", "plant", "train_eye", "infer", "infer_image_controls", "record", "attribute", "ablate", "finetune",
    "infer_finetuned", "transfer",
)  # fmt: skip
#: Set to 1, this variable is the user's word that finished results may be made again.
REMAKE = "CULTURE_NEURONS_REMAKE"
#: Seconds by which the time of a file may differ from what Snakemake noted: file systems round, clocks differ.
_TOLERANCE = 2.0


class FinishedResultsError(CultureNeuronsError):
    """Finished results would be made again, and nothing but times says that they are out of date."""


def refuse_remaking(dag: Any, persistence: Any, results: str) -> None:
    """Raise FinishedResultsError unless the user has said that finished results may be made again.

    dag, persistence   Snakemake's, of a run that is about to start
    results            the folder of the results
    """
    if os.environ.get(REMAKE) == "1":
        return
    if jobs := remade_by_times(dag, persistence, results):
        rules = ", ".join(f"{n} {rule}" for rule, n in sorted(Counter(job.rule.name for job in jobs).items()))
        own = any(job.rule.name != "transfer" for job in jobs)  # what lies beside a comparison has no manifest
        draw = f" To draw them: make report R={results}; to see what differs: snakemake verify" if own else ""
        raise FinishedResultsError(
            f"{results if own else jobs[0].output[0]}: finished results would be made again (jobs: {rules}) because of "
            f"their times or a missing .snakemake alone; nothing was changed.{draw}\n"
            "To keep them: snakemake --touch --cores 1 (with the same --configfile), then this command again; to make "
            f"them again: {REMAKE}=1 before this command"
        )


def remade_by_times(dag: Any, persistence: Any, results: str) -> list[Any]:
    """The expensive jobs of a run whose results are there, and that times alone would make again."""
    planned = list(dag.needrun_jobs())
    # Jobs that Snakemake itself found out of date, or was told to do; all others follow from these.
    first = [job for job in planned if not dag.reason(job).derived or _is_asked_for(job, dag)]
    by_times = {
        job for job in first if not _is_asked_for(job, dag) and _by_times(job, dag.reason(job), persistence, results)
    }
    anyway = _with_followers(dag, [job for job in first if job not in by_times], set(planned))
    only = [job for job in planned if job not in anyway]
    finished: dict[Any, bool] = {}

    def is_finished(job: Any) -> bool:
        """Whether a job's results are there, or were used up by a job whose results are."""
        if job not in finished:
            finished[job] = False
            finished[job] = all(map(os.path.exists, job.output)) or any(
                bool(follower.output) and is_finished(follower) for follower in dag.depending.get(job, ())
            )
        return finished[job]

    return [job for job in only if job.rule.name in EXPENSIVE and is_finished(job)]


def _with_followers(dag: Any, jobs: Iterable[Any], planned: set[Any]) -> set[Any]:
    """These jobs, what they need that is not there, and what is made of them: what a run would do with them alone."""
    reached, queue = set(jobs), deque(jobs)
    while queue:
        job = queue.popleft()
        before = dag.dependencies.get(job, {}).items()
        needed = [other for other, files in before if not all(map(os.path.exists, files))]
        for other in (*needed, *dag.depending.get(job, ())):
            if other in planned and other not in reached:
                reached.add(other)
                queue.append(other)
    return reached


def _is_asked_for(job: Any, dag: Any) -> bool:
    """Whether a job is forced. Of one that follows from others, Snakemake gives these as the reason."""
    return dag.reason(job).forced or job.rule in dag.forcerules or not dag.forcefiles.isdisjoint(job.output)


def _by_times(job: Any, reason: Any, persistence: Any, results: str) -> bool:
    """Whether newer inputs are all that speaks for a job, and nothing says that their content has changed."""
    # Where this is the reason, outputs are missing because they were used up, if any are.
    newer = list(reason.updated_input)
    if not newer:
        return False
    if not persistence.has_metadata(job):
        return True
    return all(str(file).startswith(f"{results}/") and _was_moved(file, persistence) for file in newer)


def _was_moved(file: Any, persistence: Any) -> bool:
    """Whether a result has another time than when it was made: it was copied or touched since."""
    metadata = persistence.metadata(file)
    if metadata is None or metadata.endtime is None:
        return True
    stamp = os.path.join(file, ".snakemake_timestamp")  # of a folder
    return abs(os.path.getmtime(stamp if os.path.exists(stamp) else file) - metadata.endtime) > _TOLERANCE
