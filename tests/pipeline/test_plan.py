"""What a run will cost, before it is run."""

import json
import shutil

import pytest

pytestmark = pytest.mark.workflow


def test_plan_needs_samples_and_models_alone_and_is_no_part_of_the_run(project):
    config = project.read()
    del config["models"]["trained"]  # it takes as long to measure another
    project.write(config)
    for path in project.results("loaded").iterdir():
        if path.name != "model":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = project.planned()
    assert project.planned("plan") == {"calibrate": 1, "plan": 1}
    output = project.run("plan")
    assert "What a run of small will cost" in output
    plan = json.loads(project.results("plan.json").read_text(encoding="utf-8"))
    assert set(plan["models"]) == {"loaded"}
    assert plan["jobs"] == project.planned("--forceall")
    assert project.planned() == before
    assert not {"calibrate", "plan"} & before.keys()
    # Printed again, without measuring again; how jobs run is what was measured, so another way is measured anew.
    assert project.planned("plan") == {"plan": 1}
    config = project.read()
    config["models"]["loaded"]["batch_size"] = 8
    project.write(config)
    assert project.planned("plan") == {"calibrate": 1, "plan": 1}


def test_plan_of_a_new_project_trains_nothing(project):
    shutil.rmtree(project.folder / "results")
    assert project.planned("plan") == {"prepare": 1, "calibrate": 2, "plan": 1}
