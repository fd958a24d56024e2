"""The step that trains demo models, at sizes that learn nothing but run in a moment."""

from __future__ import annotations

import json

import pytest

from culture_neurons import files
from culture_neurons.data.readers.synthetic_text import TASKS
from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models import loading
from culture_neurons.models.demo import planting
from culture_neurons.steps import train
from culture_neurons.types import TRAINED_ON
from tests.conftest import slow_but

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


def test_planting_starts_from_a_trained_model(trained, tmp_path, step, monkeypatch):
    monkeypatch.setattr(planting, "ablated_accuracy", lambda *_: (0.0, 1.0))
    monkeypatch.setattr(planting.training, "dev_accuracy", lambda *_: 1.0)
    folder, listed = tmp_path / "planted", tmp_path / "planted.csv"
    step.run(train, *words(folder, "--init", trained, "--plant", "--planted-out", listed, plant_channels=2))
    table = files.read_csv(listed, ["culture", "site", "layer", "neuron"])
    assert len(table) == 2 * 4 * 2  # cultures, layers, channels
    assert set(table["culture"]) == {"Aldovia", "Brenmark"}
    summary = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert summary["planted"] is True
    assert summary["architecture"] == "llava-next-mistral"
    assert (folder / "model.safetensors").read_bytes() != (trained / "model.safetensors").read_bytes()


def test_planting_that_fails_leaves_nothing(trained, tmp_path, step):
    folder, listed = tmp_path / "planted", tmp_path / "planted.csv"
    with pytest.raises(ModelError, match="planting culture neurons failed"):
        step.run(train, *words(folder, "--init", trained, "--plant", "--planted-out", listed))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "error", "expected"),
    [
        (["--plant"], ConfigError, "--plant and --planted-out go together"),
        (["--source", '{"type": "cvqa"}'], ConfigError, "synthetic source only; found type 'cvqa'"),
        (
            ["--architecture", "llava"],
            ConfigError,
            "architecture 'llava'.*expected, for a source of type synthetic, one of",
        ),
        (
            ["--architecture", "qwen3"],
            ConfigError,
            r"'qwen3'.*; expected, for a source of type synthetic, one of qwen2.5-vl",
        ),
        (
            ["--source", WORDS, "--architecture", "qwen2.5-vl"],
            ConfigError,
            r"'qwen2\.5-vl'.*; expected, for a source of type synthetic-text, one of qwen3, llama",
        ),
        (["--source", WORDS, "--architecture", "qwen3", "--init", "/nowhere"], ConfigError, "models that see images"),
        (["--options", '{"stepz": 1}'], ConfigError, "unknown key 'stepz'"),
        (["--init", "/nowhere"], ModelError, "/nowhere: no model that the train step wrote"),
    ],
)
def test_mistakes_are_named(tmp_path, step, more, error, expected):
    with pytest.raises(error, match=expected):
        step.run(train, *words(tmp_path / "model", *more))
    assert list(tmp_path.iterdir()) == []


def test_a_start_of_another_architecture_is_refused(trained, tmp_path, step):
    with pytest.raises(ModelError, match=r"a model of .llava-next-mistral.; expected .qwen2\.5-vl."):
        step.run(train, *words(tmp_path / "m", "--init", trained, "--architecture", "qwen2.5-vl"))
