"""One run on a real Slurm, with every fault that a cluster has to offer, ends like a run on one machine.

The run is killed, refused, and started again; then one job hangs until its time is up, the jobs of one model get too
little memory, and a process of a third job is killed.
"""

import os
import re
import signal
from types import SimpleNamespace

import pytest

from culture_neurons.workflow import slurm
from tests.pipeline.conftest import build
from tests.pipeline.test_profile import WITH_MODEL
from tests.slurm.cluster import NODES
from tests.slurm.conftest import Faults, SlurmProject, config, steps, tables, wait_for

pytestmark = pytest.mark.slurm

#: Small rules that share a job, and the name of that job in Slurm's queue.
GROUPED, GROUP = ("select", "merge", "tabulate", "report"), "masks_merge_select"


@pytest.fixture(scope="module")
def killed(tmp_path_factory, cluster) -> SimpleNamespace:
    """A run whose main process is killed while one job runs and one waits, and what the next attempts say."""
    build(tmp_path_factory.mktemp("slurm") / "project")
    project = SlurmProject(tmp_path_factory.getbasetemp() / "slurm0" / "project", cluster)
    project.write(config())
    with project.submitted(profile="profiles/slurm") as main:
        (training,) = wait_for(lambda: steps(cluster, "train")[-1:], "training")
        os.kill(training, signal.SIGSTOP)
        wait_for(lambda: project.jobs_of("prepare")[0]["JobState"] != "PENDING", "prepare starts")
        cluster.command("scontrol", "update", f"nodename={','.join(NODES)}", "state=drain", "reason=test")
        wait_for(lambda: project.jobs_of("infer"), "the answers wait")
        main.kill()
        main.wait()
    found = SimpleNamespace(project=project, left=[job["JobId"] for job in project.jobs() if pending_or_running(job)])
    found.locked = project.submit()
    found.unlocked = project.submit("--unlock")
    found.refused = project.submit()
    found.planned = project.submit("--dry-run")
    found.before = project.jobs()
    # Another data set of the same folder may run meanwhile.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SLURM_CONF", "PATH"):
            patch.setenv(name, cluster.environment[name])
        found.of = {dataset: slurm.leftover_jobs(project.folder, dataset) for dataset in ("small", "other")}
    return found


@pytest.fixture(scope="module")
def finished(killed) -> SimpleNamespace:
    """The same run, started again as the message says, and disturbed by more faults."""
    project, cluster = killed.project, killed.project.cluster
    cluster.command(*re.search(r"scancel [\d ]+\d", killed.refused[1])[0].split())
    wait_for(lambda: not cluster.waiting(), "the jobs left behind end")
    cluster.command("scontrol", "update", f"nodename={','.join(NODES)}", "state=resume")
    project.ask("train", runtime="attempt")
    project.ask("infer", gpu_model="'large'")
    with Faults(cluster, {"train": signal.SIGSTOP, "select": signal.SIGKILL}) as faults:
        status, log = project.submit()
    assert status == 0, log[-5000:]
    assert not faults.due
    return SimpleNamespace(project=project, log=log, first=len(killed.before))


def pending_or_running(job: dict[str, str]) -> bool:
    return job["JobState"] in ("PENDING", "RUNNING")


def states(jobs: list[dict[str, str]]) -> list[str]:
    return [job["JobState"] for job in jobs]


def megabytes(jobs: list[dict[str, str]]) -> list[str]:
    return [job["MinMemoryNode"] for job in jobs]


def test_a_rerun_is_refused_while_jobs_of_a_killed_run_are_in_the_queue(killed):
    assert sorted(states(killed.before)) == ["COMPLETED", "PENDING", "RUNNING"]
    assert len(killed.left) == 2
    assert killed.locked[0] == 1
    assert "--unlock" in killed.locked[1]
    assert killed.unlocked[0] == 0, killed.unlocked[1]
    status, log = killed.refused
    assert status == 1
    assert "2 jobs are in Slurm's queue from another run of small in this folder" in log
    assert f"if that run was killed, end them: scancel {' '.join(killed.left)}\n" in log
    assert "Traceback" not in log
    assert killed.planned[0] == 0, killed.planned[1]
    assert killed.of == {"small": killed.left, "other": []}


def test_only_unfinished_work_is_done_again(finished):
    assert states(finished.project.jobs_of("prepare")) == ["COMPLETED"]


def test_tables_equal_those_of_a_local_run(finished, local):
    expected = tables(local.results())
    assert len(expected) >= 6
    assert tables(finished.project.results()) == expected
    assert finished.project.results("report.html").is_file()


def test_jobs_ran_on_both_nodes(finished):
    assert {job["NodeList"] for job in finished.project.jobs() if job["JobState"] == "COMPLETED"} == set(NODES)


def test_gpus_are_asked_for_by_models_and_by_nothing_else(finished):
    for job in finished.project.jobs()[finished.first :]:
        rule = job["Comment"].removeprefix("rule_").partition("_wildcards")[0]
        kind = "large:" if rule == "infer" else ""
        count = 2 if "_loaded" in job["Comment"] else 1
        expected = f"gres:gpu:{kind}{count}" if rule in WITH_MODEL else None
        assert job.get("TresPerJob") == expected, job
        assert job["NumNodes"].startswith("1")


def test_small_rules_share_jobs(finished):
    sent = {re.split("_wildcards", job["Comment"])[0] for job in finished.project.jobs()}
    assert not sent & {f"rule_{rule}" for rule in GROUPED}
    assert not [name for name in sent if name.startswith("rule_gather")], "done where Snakemake runs"
    assert len(finished.project.jobs_of(GROUP)) == 3, "one per model, and one attempt more"


def test_a_job_killed_for_its_memory_gets_more(finished):
    for rule in ("infer", "record"):
        jobs = finished.project.jobs()[finished.first :]
        jobs = [job for job in jobs if job["Comment"].startswith(f"rule_{rule}_wildcards_loaded")]
        assert megabytes(jobs) == ["450M", "900M", "1350M"][: len(jobs)]
        assert len(jobs) >= 2
        assert "COMPLETED" not in states(jobs)[:-1]
        assert states(jobs)[-1] == "COMPLETED"


def test_a_job_past_its_time_gets_more(finished):
    jobs = finished.project.jobs_of("train")[1:]
    assert states(jobs) == ["TIMEOUT", "COMPLETED"]
    assert [job["TimeLimit"] for job in jobs] == ["00:01:00", "00:02:00"]


def test_a_job_whose_process_is_killed_runs_again(finished):
    jobs = finished.project.jobs_of(GROUP)
    assert sorted(states(jobs)) == ["COMPLETED", "COMPLETED", "FAILED"]
    killed = next(job for job in jobs if job["JobState"] == "FAILED")
    again = next(job for job in jobs if int(job["JobId"]) > int(killed["JobId"]) and job["MinMemoryNode"] == "8000M")
    assert killed["MinMemoryNode"] == "4000M"
    assert again["JobState"] == "COMPLETED"


def test_logs_of_failed_jobs_are_where_the_profile_says(finished):
    failed = [job["JobId"] for job in finished.project.jobs()[finished.first :] if job["JobState"] != "COMPLETED"]
    logs = {path.stem for path in (finished.project.folder / "results" / "logs" / "slurm").rglob("*.log")}
    assert failed
    assert set(failed) <= logs
