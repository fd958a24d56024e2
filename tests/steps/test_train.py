"""The step that trains demo models, at sizes that learn nothing but run in a moment."""

from __future__ import annotations

import json

import pytest

from culture_neurons.data.readers.synthetic_text import TASKS
from culture_neurons.errors import ConfigError
from culture_neurons.models import loading
from culture_neurons.steps import train
from culture_neurons.types import TRAINED_ON
from tests.conftest import slow_but

pytestmark = pytest.mark.workflow

SOURCE = json.dumps({"type": "synthetic", "cultures": 2, "categories": 1, "motifs": 2, "samples_per_culture": 4})
WORDS = json.dumps({"type": "synthetic-text", "cultures": 2, "categories": 1, "motifs": 2})
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


@pytest.mark.parametrize("architecture", slow_but(["llama"], TRAINED_ON["synthetic-text"]))
def test_a_language_model_loads_and_has_its_accuracy_by_task(architecture, tmp_path, step):
    options = json.dumps({"facts_steps": 1, "steps": 1, "batch": 8, "min_accuracy": 0.0, "seed": 4})
    given = ["--source", WORDS, "--architecture", architecture, "--options", options]
    for folder in ("model", "again"):
        step.run(train, *given, "--out", tmp_path / folder)
    loaded = loading.load({"name": "demo", "path": str(tmp_path / "model")})
    assert loaded.image_token_id is None
    assert loaded.adapter.n_layers == 4
    summary = json.loads((tmp_path / "model" / "training.json").read_text(encoding="utf-8"))
    by_task = summary["dev_accuracy_by_task"]
    assert list(by_task) == sorted(TASKS)
    assert summary["dev_accuracy"] == min(by_task.values())
    for file in sorted(p.name for p in (tmp_path / "model").iterdir()):
        assert (tmp_path / "model" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_the_same_settings_give_the_same_bytes(trained, tmp_path, step):
    step.run(train, *words(tmp_path / "again"))
    for file in sorted(p.name for p in trained.iterdir()):
        assert (trained / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--source", '{"type": "cvqa"}'], "synthetic source only; found type 'cvqa'"),
        (
            ["--architecture", "llava"],
            "architecture 'llava'.*expected, for a source of type synthetic, one of",
        ),
        (
            ["--architecture", "qwen3"],
            r"'qwen3'.*; expected, for a source of type synthetic, one of qwen2.5-vl",
        ),
        (
            ["--source", WORDS, "--architecture", "qwen2.5-vl"],
            r"'qwen2\.5-vl'.*; expected, for a source of type synthetic-text, one of qwen3, llama",
        ),
        (["--options", '{"stepz": 1}'], "unknown key 'stepz'"),
    ],
)
def test_mistakes_are_named(tmp_path, step, more, expected):
    with pytest.raises(ConfigError, match=expected):
        step.run(train, *words(tmp_path / "model", *more))
    assert list(tmp_path.iterdir()) == []
