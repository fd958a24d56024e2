"""All kinds of jobs on a real Slurm: the same tables as on one machine, byte for byte.

Of the models, one is trained and asked on the cluster, by all rules that a model has, and so are the tables of all
models. What the other models gave is taken from the run on this machine. Figures and a report are made in `test_run`,
which is the run of `make test-slurm`; this one is in `make test-all`.
"""

import shutil

import pytest

from tests.pipeline.conftest import PARTS, TABLES
from tests.slurm.conftest import SlurmProject, complete, tables

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

MODEL = "second"
#: Jobs of rules with a model that run on the cluster: of that model alone, recorded under two token rules.
JOBS = {"train": 1, "record": 2, "infer": 1}


def test_tables_are_the_same_bytes(tmp_path, local, cluster):
    here = local.copy(tmp_path / "here")
    here.write(complete())
    here.run()
    expected = tables(here.results())
    assert set(expected) == {f"{name}.csv" for name in TABLES}
    folder = tmp_path / "there"
    folder.mkdir()
    for part in (*PARTS, "models"):
        copy = shutil.copytree if (here.folder / part).is_dir() else shutil.copy2
        copy(here.folder / part, folder / part)
    # With their times, by which Snakemake knows that they are up to date.
    ignored = shutil.ignore_patterns(MODEL, "tables", "figures", "logs", "benchmarks")
    shutil.copytree(here.results(), folder / "results" / "small", ignore=ignored)
    project = SlurmProject(folder, cluster)
    targets = [f"results/small/tables/{name}" for name in expected]
    status, log = project.submit("--quiet", "rules", "--", *targets)
    assert status == 0, log[-5000:]
    found = tables(project.results())
    assert [name for name in expected if found.get(name) != expected[name]] == []
    assert found.keys() == expected.keys()
    assert {job["JobState"] for job in project.jobs()} == {"COMPLETED"}
    # The models that were there were left as they are.
    assert {rule: len(project.jobs_of(rule)) for rule in JOBS} == JOBS
