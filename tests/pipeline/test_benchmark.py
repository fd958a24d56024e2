"""The benchmark of selectors: only with planted models, and it follows their statistics and the selectors alone."""

import shlex

import pytest

from tests.pipeline.conftest import ROOT

pytestmark = pytest.mark.workflow


def with_planted(project) -> dict:
    config = project.read()
    start = config["models"]["trained"]
    config["models"]["known"] = {"train": {**start["train"], "plant": True, "init": "trained"}, "batch_size": 16}
    return config


def command(project, *words) -> list[str]:
    """The benchmark's command line."""
    output = project.run("--dry-run", "--printshellcmds", *words)
    return shlex.split(next(line for line in output.splitlines() if "steps.benchmark_selectors " in line))


def test_it_runs_once_for_all_planted_models_and_not_without(project):
    assert "benchmark_selectors" not in project.planned("--forceall")
    config = with_planted(project)
    project.write(config)
    jobs = project.planned()
    assert (jobs["plant"], jobs["benchmark_selectors"], jobs["train"]) == (1, 1, 0)
    words = command(project)
    assert words[words.index("--statistics") + 1] == "results/small/known/statistics.h5"
    assert words[words.index("--samples") + 1 : words.index("--noise")] == ["5", "10"]
    config["evidence"]["benchmark"] = {"repeats": 0}
    project.write(config)
    assert project.planned()["benchmark_selectors"] == 0


def test_masks_of_other_projects_and_what_is_matched_to_them_are_not_benchmarked(project):
    config = with_planted(project)
    masks = {model: "masks.pth" for model in config["models"]}
    (project.folder / "masks.pth").write_bytes(b"")
    cultures = sorted({"x", "y"})
    config["selectors"]["theirs"] = {"method": "imported", "masks": masks, "cultures": cultures}
    config["selectors"]["random-theirs"] = {"method": "random-matched", "match": "theirs"}
    project.write(config)
    words = command(project)
    chosen = words[words.index("--selectors") + 1]
    assert "theirs" not in chosen
    assert all(f'"{name}"' in chosen for name in ("cas", "mad", "random-matched"))


def test_config_of_the_benchmark_has_models_with_and_without_the_firing_loss(project):
    config = str(ROOT / "config" / "selector-benchmark.yaml")
    jobs = project.planned("--configfile", config)
    assert (jobs["train"], jobs["plant"], jobs["benchmark_selectors"]) == (1, 2, 1)
