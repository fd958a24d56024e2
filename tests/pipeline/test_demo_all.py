"""config/demo-all.yaml in a small form: the architectures that config/control.yaml leaves out, a few steps long."""

import pytest
import yaml

from tests.pipeline.conftest import ROOT, build

pytestmark = pytest.mark.workflow

#: What the models know does not matter here.
FEW_STEPS = {"min_accuracy": 0.0, "attempts": 1, "images_per_fact": 1, "vision_steps": 2, "facts_steps": 2, "steps": 2}


def small() -> dict:
    config = yaml.safe_load((ROOT / "config/demo-all.yaml").read_text(encoding="utf-8"))
    control = yaml.safe_load((ROOT / "config/control.yaml").read_text(encoding="utf-8"))
    config["models"] = {name: model for name, model in config["models"].items() if name not in control["models"]}
    for model in config["models"].values():
        model["train"] |= FEW_STEPS
        model["batch_size"] = 16
    config["dataset"] = "small"
    config["data"]["source"] |= {"cultures": 3, "samples_per_culture": 16}
    config["data"]["filter"] |= {"min_samples": 1}
    config["recording"]["min_correct"] = 1
    config["top_fractions"] = [0.05]
    config["figures"] = {"top_fraction": 0.05}
    config["selectors"] = {name: config["selectors"][name] for name in ("cas", "random-matched")}
    config["evidence"] = {"replicates": 100, "resamples": 0, "split_halves": 0, "cards": 0, "image_controls": []}
    return config


def test_each_architecture_goes_from_training_to_the_report(tmp_path, warm_steps):
    config = small()
    project = build(tmp_path / "project", config, warm_steps)
    project.run()
    page = project.results("report.html").read_text(encoding="utf-8")
    assert len({model["train"]["architecture"] for model in config["models"].values()}) == 2
    for model in config["models"]:
        assert project.results(model, "ablation", "cas_top0.05.parquet").exists()
        assert model in page
