"""Some families, one for each way through the code, are today what the table says; and the checks find faults."""

import numpy as np
import pytest
import torch
from transformers.utils import is_torchvision_available

from culture_neurons.models import hooks, inference, vision
from tests.families import checks, table
from tests.families.building import model
from tests.families.registry import families

# Transformers warns of its own.
pytestmark = pytest.mark.filterwarnings("ignore")
KEPT = table.read()["families"]
#: Family -> what it is here for.
LIVE = {
    "llama": "separate gate and up",
    "phi3": "one projection for gate and up, another for q, k and v",
    "glm4": "a fused gate, and norms behind the MLP",
    "gpt2": "a plain MLP, Conv1D",
    "falcon_h1": "attention beside a state-space model",
    "gemma4_text": "layers that share keys and values",
    "gemma3n_text": "several streams, and padding whose states are zero",
    "zamba": "layers that share weights, beside others without an MLP",
    "gpt_oss": "experts without an activation module",
    "bert": "an encoder",
    "bart": "a decoder with an encoder beside it",
    "qwen2_5_vl": "patches of all images in one row",
    "qwen3_vl": "features for several layers of the decoder",
    "llava_next": "tiles, one tensor of features per image",
    "gemma3": "a list of images per prompt",
    "mllama": "layers of cross-attention: an image with every question",
    "hunyuan_vl": "positions that its own code counts through the batch",
    "cosmos3_edge": "kinds of tokens that its processor gives on demand",
    "fuyu": "no chat template",
    "paligemma": "a processor that gives labels",
}


@pytest.mark.parametrize("name", [n for n in LIVE if is_torchvision_available() or not KEPT[n].get("vision")])
def test_a_family_is_what_the_table_says(name, tmp_path):
    kept = {key: value for key, value in KEPT[name].items() if key != "vision"}
    assert checks.check(name, tmp_path) == kept


def test_every_kind_of_row_is_among_the_live_ones():
    assert {bool(KEPT[n].get("refused")) for n in LIVE} == {True, False}
    assert sum("images" in KEPT[n] for n in LIVE) >= 3


def outcome(tmp_path):
    return checks.check("llama", tmp_path)["text"]


def test_wrong_answers_are_found(tmp_path, monkeypatch):
    padded = inference.on_device

    def shifted(loaded, batch):
        inputs = padded(loaded, batch)
        return inputs | {"attention_mask": torch.ones_like(inputs["attention_mask"])}

    monkeypatch.setattr(inference, "on_device", shifted)
    result = outcome(tmp_path)
    assert "log-probabilities of question" in result["answer"]
    assert set(result.values()) == {result["answer"], "no answers"}


def test_wrong_sums_masks_and_texts_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(hooks.Ablation, "_gain_of", lambda self, place, g: torch.full((g.shape[-1],), 0.9))
    whole = hooks.token_sums
    monkeypatch.setattr(hooks, "token_sums", lambda g, *more: whole(g * 1.001, *more))
    result = outcome(tmp_path)
    assert "sums of question 0 are" in result["record"]
    assert "answers under 6 neurons" in result["ablate"]
    assert result["answer"] == result["attribute"] == result["generate"] == ""


def test_wrong_attributions_are_found(tmp_path, monkeypatch):
    given = checks.attribute

    def turned(*args):
        p, by_site = given(*args)
        return p, {site: np.roll(values, 1, axis=2) for site, values in by_site.items()}

    monkeypatch.setattr(checks, "attribute", turned)
    assert "attributions of" in outcome(tmp_path)["attribute"]


def test_wrong_texts_are_found(tmp_path, monkeypatch):
    given = checks.ask
    monkeypatch.setattr(checks, "ask", lambda *args: (None, [text + " tea" for text in given(*args)[1]]))
    assert "generates" in outcome(tmp_path)["generate"]


def test_features_that_are_handed_to_another_image_are_found(tmp_path, monkeypatch):
    whole = vision.keep_image_features
    wrong = lambda model, image_of: whole(model, (0,) * len(image_of))  # noqa: E731
    monkeypatch.setattr(inference, "keep_image_features", wrong)
    result = checks.check("llava_next", tmp_path)
    assert result["text"]["answer"] == ""
    assert "log-probabilities of square question" in result["images"]["answer"]


@pytest.mark.parametrize("name", ["llama", "qwen3_vl", "gemma3n_text", "nemotron_h"])
def test_tiny_models_are_tiny_and_the_same_each_time(name):
    one, two = model(name), model(name)
    assert sum(p.numel() for p in one.parameters()) < 3_000_000
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert name in families()
