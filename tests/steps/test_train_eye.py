"""The step that puts a language model behind an eye: the folder loads as any other, and says what it was made of."""

from __future__ import annotations

import json

import pytest

from culture_neurons import files
from culture_neurons.errors import ConfigError
from culture_neurons.models.loading import load
from culture_neurons.steps import train_eye
from tests.models.demo.conftest import decoder

__all__ = ["decoder"]

TINY = {"countries": ["Japan", "Italy"], "min_accuracy": 0.0, "attempts": 1, "steps": 2, "batch": 4, "rest": 1,
        "pictures": 2, "held_out": 1}  # fmt: skip


def test_the_folder_is_a_model_that_sees(decoder, tmp_path, step):
    (decoder / "gguf.json").write_text('{"licence": "cc0-1.0"}', encoding="utf-8")
    step.run(train_eye, "--decoder", decoder, "--options", json.dumps(TINY), "--out", tmp_path / "m/model")
    loaded = load({"name": "m", "path": str(tmp_path / "m/model"), "chat_template": "none"})
    assert loaded.image_token_id is not None
    assert loaded.gguf == {"licence": "cc0-1.0"}
    assert loaded.adapter.n_layers == 2
    noted = files.read_json(tmp_path / "m/model/training.json")
    assert (noted["countries"], noted["steps"]) == (["Japan", "Italy"], 2)
    assert noted["read"].keys() == {"Japan", "Italy", "nothing"}
    again = tmp_path / "again/model"
    step.run(train_eye, "--decoder", decoder, "--options", json.dumps(TINY), "--out", again)
    assert load({"name": "m", "path": str(again), "chat_template": "none"}).revision == loaded.revision


def test_an_unknown_option_is_named(decoder, tmp_path, step):
    with pytest.raises(ConfigError, match=r"training: unknown key 'picture'.*did you mean 'pictures'"):
        step.run(train_eye, "--decoder", decoder, "--options", '{"picture": 2}', "--out", tmp_path / "model")
    assert not (tmp_path / "model").exists()
