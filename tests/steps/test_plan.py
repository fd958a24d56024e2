import json
import re
from pathlib import Path

import pytest
import yaml

from culture_neurons.errors import FileError
from culture_neurons.steps import calibrate, model_arguments, plan
from culture_neurons.workflow import jobs

pytestmark = pytest.mark.workflow

ROOT = Path(__file__).parents[2]
OUTPUTS = ROOT / "docs" / "outputs.md"
JOBS = {"prepare": 1, "record": 2}


def config():
    """The planted control's config with one model, one selector and two shards."""
    result = yaml.safe_load((ROOT / "config/control.yaml").read_text(encoding="utf-8"))
    more = {
        "dataset": "small", "models": {"m": {"path": "owner/m", "gpus": 0}}, "selectors": {"cas": None},
        "top_fractions": [0.05],
        "shards": {"infer": 1, "record": 2, "ablate": 1, "ablate_masks": 1, "ablate_selectors": None},
    }  # fmt: skip
    result["evaluation"] |= {"factors": [0, 2], "selectors": None}
    result["recording"] |= {"min_correct": 1, "negative_sum": False}
    result["evidence"] |= {"strengths": [], "permutations": 0, "image_controls": [], "token_rules": []}
    return result | more


@pytest.fixture(scope="module")
def folder(base, step, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    step.run(calibrate, *step.shared(base), "--calibration-out", folder / "calibration.json")
    planned(base, step, folder, folder / "calibration.json")
    return folder


def planned(base, step, folder, calibration, *more):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "count", lambda *_: JOBS)
        step.run(
            plan, "--samples", base / "samples.parquet", "--calibrations", calibration, "--config",
            json.dumps(config()), "--snakefile", ROOT / "Snakefile", "--text-out", folder / "plan.txt",
            "--json-out", folder / "plan.json", *more,
        )  # fmt: skip


def test_plan_counts_the_samples_and_the_jobs(folder):
    content = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert content["questions"] == {"total": 72, "identify": 36, "evaluate": 36, "cultures": 3}
    assert content["jobs"] == JOBS
    work = content["models"]["m"]["work"]
    assert {kind: part["passes"] for kind, part in work.items()} == {"answers": 72, "recording": 36, "ablation": 108}
    assert content["step"] == "plan"
    text = (folder / "plan.txt").read_text(encoding="utf-8")
    assert "72 questions of 3 cultures" in text
    assert re.search(r"^  ablation +1 +36 +3 +108 ", text, re.M)


def test_a_run_that_is_over_at_once_is_planned_without_its_model(base, step, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "culture_neurons")
    monkeypatch.setattr(model_arguments, "load", lambda *_: pytest.fail("the model is loaded"))
    path = tmp_path / "calibration.json"
    step.run(calibrate, *step.shared(base), "--masks", 1, "--nothing-else", "--calibration-out", path)
    assert caplog.messages[-1] == "m: not measured: its passes take less time than its jobs take to start"
    planned(base, step, tmp_path, path)
    content = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert (content["models"], content["hours"], content["unmeasured"]) == ({}, {}, {"m": 180})
    text = (tmp_path / "plan.txt").read_text(encoding="utf-8")
    assert "m: not measured: its passes, about 180, take less time than its jobs take to start" in text
    assert "Jobs: " in text
    assert "All models" not in text
    # A larger model is measured, and so is a run that asks more than these masks.
    for words in (["--nothing-else"], []):
        monkeypatch.setattr(calibrate, "SMALL", 1e6 if words else 400e9)
        with pytest.raises(pytest.fail.Exception, match="the model is loaded"):
            step.run(calibrate, *step.shared(base), "--masks", 1, *words, "--calibration-out", path)


@pytest.mark.parametrize("name", ["plan.json", "calibration.json"])
def test_keys_are_documented(folder, name):
    keys = set(json.loads((folder / name).read_text(encoding="utf-8")))
    text = re.search(rf"^### `{name}`.*?\n(.*?)(?=^###? |\Z)", OUTPUTS.read_text(encoding="utf-8"), re.M | re.S)[1]
    rows = {word for row in re.findall(r"^\| (`.*?) \|", text, re.M) for word in re.findall(r"`(\w+)`", row)}
    assert rows == keys - {"step", "settings", "version", "code", "packages"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("{", "damaged"),
        ('{"model": "m"}', "damaged, or no calibration"),
        ("[1]", "damaged"),
        ('{"model": "other", "seconds_per_question": {}}', "of model 'other'; expected one of m; delete it"),
    ],
)
def test_a_damaged_calibration_is_named(base, step, tmp_path, text, message):
    path = tmp_path / "calibration.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=rf"calibration\.json: {message}"):
        planned(base, step, tmp_path, path)
    assert not (tmp_path / "plan.json").exists()
