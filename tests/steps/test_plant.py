"""The step that plants culture neurons, in a model that learned nothing."""

from __future__ import annotations

import json

import pytest

from culture_neurons import files
from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models.demo import planting
from culture_neurons.steps import plant, train
from tests.steps.test_train import words

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def trained(tmp_path_factory, step):
    folder = tmp_path_factory.mktemp("plant") / "model"
    step.run(train, *words(folder))
    return folder


def planted(step, folder, *more, **options):
    step.run(plant, *words(folder / "model", *more, **options), "--planted-out", folder / "planted.csv")


@pytest.mark.parametrize("start", [True, False])
def test_planting_starts_from_a_trained_model_or_trains_one(trained, tmp_path, step, monkeypatch, start):
    monkeypatch.setattr(planting, "ablated_accuracy", lambda *_: (0.0, 1.0))
    monkeypatch.setattr(planting.training, "dev_accuracy", lambda *_: 1.0)
    planted(step, tmp_path, "--init", *[trained] * start, plant_channels=2)
    table = files.read_csv(tmp_path / "planted.csv", ["culture", "site", "layer", "neuron"])
    assert len(table) == 2 * 4 * 2  # cultures, layers, channels
    assert set(table["culture"]) == {"Aldovia", "Brenmark"}
    summary = json.loads((tmp_path / "model/training.json").read_text(encoding="utf-8"))
    assert summary["planted"] is True
    assert summary["architecture"] == "llava-next-mistral"
    assert (tmp_path / "model/model.safetensors").read_bytes() != (trained / "model.safetensors").read_bytes()


def test_planting_that_fails_leaves_nothing(trained, tmp_path, step):
    with pytest.raises(ModelError, match="planting culture neurons failed"):
        planted(step, tmp_path, "--init", trained)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "error", "expected"),
    [
        (["--source", '{"type": "cvqa"}'], ConfigError, "source of type synthetic only; found type 'cvqa'"),
        (["--init", "/nowhere"], ModelError, "/nowhere: no model that the train step wrote"),
    ],
)
def test_mistakes_are_named(tmp_path, step, more, error, expected):
    with pytest.raises(error, match=expected):
        planted(step, tmp_path, *more)
    assert list(tmp_path.iterdir()) == []


def test_a_start_of_another_architecture_is_refused(trained, tmp_path, step):
    with pytest.raises(ModelError, match=r"a model of .llava-next-mistral.; expected .qwen2\.5-vl."):
        planted(step, tmp_path, "--init", trained, "--architecture", "qwen2.5-vl")
