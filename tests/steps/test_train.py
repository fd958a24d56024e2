"""The step that trains demo models, at sizes that learn nothing but run in a moment."""

from __future__ import annotations

import json

import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.models import loading
from culture_neurons.steps import train

pytestmark = pytest.mark.workflow

SOURCE = json.dumps({"type": "synthetic", "cultures": 2, "categories": 1, "motifs": 2, "samples_per_culture": 4})
SHORT = {
    "vision_steps": 1, "facts_steps": 1, "steps": 1, "plant_steps": 1, "images_per_fact": 1, "dev_images_per_fact": 1,
    "batch": 8, "min_accuracy": 0.0, "seed": 4,
}  # fmt: skip


def words(folder, *more, **options) -> list:
    architecture = ["--architecture", "llava-next-mistral", "--options", json.dumps(SHORT | options)]
    return ["--source", SOURCE, *architecture, "--out", folder, *more]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, step):
    folder = tmp_path_factory.mktemp("train") / "model"
    step.run(train, *words(folder))
    return folder


def test_the_folder_is_a_model_that_loads(trained):
    loaded = loading.load({"name": "demo", "path": str(trained)})
    assert loaded.adapter.n_layers == 4
    summary = json.loads((trained / "training.json").read_text(encoding="utf-8"))
    assert summary["architecture"] == "llava-next-mistral"
    assert summary["planted"] is False
    assert summary["seed"] == 4
    assert 0 <= summary["dev_accuracy"] <= 1


def test_the_same_settings_give_the_same_bytes(trained, tmp_path, step):
    step.run(train, *words(tmp_path / "again"))
    for file in sorted(p.name for p in trained.iterdir()):
        assert (trained / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--source", '{"type": "cvqa"}'], "source of type synthetic only; found type 'cvqa'"),
        (["--architecture", "qwen3"], r"architecture 'qwen3'.*; expected one of qwen2.5-vl, llava-next-mistral, llava"),
        (["--options", '{"stepz": 1}'], "unknown key 'stepz'"),
    ],
)
def test_mistakes_are_named(tmp_path, step, more, expected):
    with pytest.raises(ConfigError, match=expected):
        step.run(train, *words(tmp_path / "model", *more))
    assert list(tmp_path.iterdir()) == []
