"""The demo on a real Slurm: the same tables as `make demo` made on this machine, byte for byte."""

import shutil

import pytest

from tests.slurm.cluster import NODES
from tests.slurm.conftest import SlurmProject, tables
from tests.workflow.conftest import PARTS, ROOT, TABLES

pytestmark = pytest.mark.slurm


def test_tables_of_the_demo_are_the_same_bytes(tmp_path, cluster):
    expected = tables(ROOT / "results" / "demo")
    assert set(expected) == {f"{name}.csv" for name in (*TABLES, "benchmark")}, "run make demo first"
    folder = tmp_path / "demo"
    folder.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, folder / part)
    project = SlurmProject(folder, cluster)
    status, log = project.submit("--quiet", "rules", seconds=3000)
    assert status == 0, log[-5000:]
    found = tables(folder / "results" / "demo")
    assert [name for name in expected if found.get(name) != expected[name]] == []
    assert found.keys() == expected.keys()
    assert (folder / "results" / "demo" / "report.html").is_file()
    done = [job for job in project.jobs() if job["JobState"] == "COMPLETED"]
    assert len(done) == len(project.jobs())
    assert {job["NodeList"] for job in done} == set(NODES)
