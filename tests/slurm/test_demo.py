"""The demo on a real Slurm: the same tables as `make demo` made on this machine, byte for byte.

Of the models, the planted one is made and asked on the cluster, by all rules that a model has, and so are the tables
of all models. What the other models gave is taken from the run on this machine. Figures and a report are made in
`test_run`.
"""

import shutil

import pytest

from tests.pipeline.conftest import PARTS, ROOT, TABLES
from tests.slurm.cluster import NODES
from tests.slurm.conftest import SlurmProject, tables

pytestmark = pytest.mark.slurm

MODEL = "planted-control"


def test_tables_of_the_demo_are_the_same_bytes(tmp_path, cluster):
    before = ROOT / "results" / "demo"
    expected = tables(before)
    assert set(expected) == {f"{name}.csv" for name in (*TABLES, "benchmark")}, "run make demo first"
    folder = tmp_path / "demo"
    folder.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, folder / part)
    results = folder / "results" / "demo"
    # With their times, by which Snakemake knows that they are up to date.
    shutil.copytree(before, results, ignore=shutil.ignore_patterns(MODEL, "tables", "figures", "logs", "benchmarks"))
    project = SlurmProject(folder, cluster)
    targets = [f"results/demo/tables/{name}" for name in expected]
    status, log = project.submit("--quiet", "rules", "--", *targets, seconds=3000)
    assert status == 0, log[-5000:]
    found = tables(results)
    assert [name for name in expected if found.get(name) != expected[name]] == []
    assert found.keys() == expected.keys()
    done = [job for job in project.jobs() if job["JobState"] == "COMPLETED"]
    assert len(done) == len(project.jobs())
    assert {job["NodeList"] for job in done} == set(NODES)
    # The models that were there were left as they are.
    assert [len(project.jobs_of(rule)) for rule in ("train", "plant", "record", "infer")] == [0, 1, 1, 1]
