"""What a run will cost, before it is run."""

import json
import shlex
import shutil

import pytest

from culture_neurons.workflow import cost
from tests.conftest import slow
from tests.pipeline.conftest import ROOT

pytestmark = pytest.mark.workflow


def amount_of_work(project, *words) -> dict:
    """What the workflow tells the plan of the config, from the command that it would run."""
    output = project.run("estimate", "--dry-run", "--printshellcmds", *words)
    command = next(line for line in output.splitlines() if "culture_neurons.steps.plan " in line)
    arguments = shlex.split(command)
    return json.loads(arguments[arguments.index("--run") + 1])


@pytest.mark.parametrize(
    "config", ["config.yaml", "config/paper-llm.yaml", slow("config/paper-vlm.yaml"), slow(str(ROOT / "config.yaml"))]
)
def test_jobs_of_the_plan_are_those_of_a_fresh_run(project, config):
    words = ("--configfile", config)
    assert cost.jobs(amount_of_work(project, *words)) == project.planned("--forceall", *words)


def test_plan_needs_samples_and_models_alone_and_is_no_part_of_the_run(project):
    for path in [*project.results("trained").iterdir(), *project.results("loaded").iterdir()]:
        if path.name != "model":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = project.planned()
    assert project.planned("plan") == {"calibrate": 2, "estimate": 1, "plan": 1}
    output = project.run("plan")
    assert "What a run of small will cost" in output
    plan = json.loads(project.results("plan.json").read_text(encoding="utf-8"))
    assert set(plan["models"]) == {"trained", "loaded"}
    assert plan["jobs"] == project.planned("--forceall")
    assert project.planned() == before
    assert not {"calibrate", "estimate", "plan"} & before.keys()
    # Printed again, without measuring again; how jobs run is what was measured, so another way is measured anew.
    assert project.planned("plan") == {"plan": 1}
    config = project.read()
    config["models"]["loaded"]["batch_size"] = 8
    project.write(config)
    assert project.planned("plan") == {"calibrate": 1, "estimate": 1, "plan": 1}


def test_plan_of_a_new_project_makes_samples_and_models_first(project):
    shutil.rmtree(project.folder / "results")
    assert project.planned("plan") == {"prepare": 1, "train": 1, "calibrate": 2, "estimate": 1, "plan": 1}
