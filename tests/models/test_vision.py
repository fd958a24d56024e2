from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.vision import keep_image_features
from culture_neurons.types import Sample
from tests.models import eyes

PROMPT = Prompt(seed=5)
SHAPES = [(56, 56), (200, 40), (30, 180), (333, 222)]


@pytest.fixture
def shared(questions):
    """Eight questions about four images of different shapes, and their opener."""
    samples = [replace(s, image={"path": str(i % 4)}, image_id=str(i % 4)) for i, s in enumerate(questions.samples[:8])]
    pictures = [questions.opener(questions.samples[i].image).resize(shape) for i, shape in enumerate(SHAPES)]
    opened = []

    def opener(image):
        opened.append(image["path"])
        return pictures[int(image["path"])]

    return samples, opener, opened


def tower(loaded):
    inner = loaded.model.model
    return inner.visual if hasattr(inner, "visual") else inner.vision_tower


def test_image_of_several_questions_is_opened_and_seen_once(loaded, shared):
    samples, opener, opened = shared
    batch = prepare(loaded, samples, opener, PROMPT)
    assert opened == ["0", "1", "2", "3"]
    assert batch.image_of == (0, 1, 2, 3, 0, 1, 2, 3)
    sizes = []
    handle = tower(loaded).register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    try:
        together = answer(loaded, batch, PROMPT)
        answer(loaded, prepare(loaded, samples[:4], opener, PROMPT), PROMPT)
    finally:
        handle.remove()
    assert sizes[0] == sizes[1]  # as many patches for eight questions as for four
    for sample, a in zip(samples, together, strict=True):
        alone = answer(loaded, prepare(loaded, [sample], opener, PROMPT), PROMPT)[0]
        np.testing.assert_allclose(a.logprobs, alone.logprobs, atol=1e-4)


def test_same_tensor_is_seen_once_and_the_model_is_left_as_it_was(loaded, questions):
    batch = prepare(loaded, questions.samples[:2], questions.opener, PROMPT)
    runs = []
    handle = tower(loaded).register_forward_hook(lambda *_: runs.append(1))
    try:
        with keep_image_features(loaded.model):
            loaded.model(**batch.inputs)
            loaded.model(**batch.inputs)
        assert len(runs) == 1
        loaded.model(**batch.inputs)
        assert len(runs) == 2
    finally:
        handle.remove()
    with pytest.raises(ZeroDivisionError), keep_image_features(loaded.model):
        raise ZeroDivisionError
    assert "get_image_features" not in vars(loaded.model.model)


def test_inputs_that_cannot_be_told_apart_by_image_are_all_seen():

    seen = []
    model = SimpleNamespace(get_image_features=lambda pixels: seen.append(len(pixels)))
    with keep_image_features(model, (0, 0, 1)):
        model.get_image_features(torch.zeros(7, 4))
    assert seen == [7]


@pytest.mark.parametrize("form", ["tensor", "list", "tuple"])
def test_features_of_repeated_images_keep_their_form(form):
    """Some models read one tensor of all images, and some further features of all images in one row of tokens."""

    def compute(pixels):
        features = pixels[:, None].repeat(1, 2, 1)  # two tokens for each image
        inner = [features.flatten(0, 1) + layer for layer in range(2)]
        output = features if form == "tensor" else {"list": list, "tuple": tuple}[form](features)
        seen.append(len(pixels))
        return SimpleNamespace(pooler_output=output, deepstack_features=inner)

    seen, pixels = [], torch.tensor([[1.0], [2.0], [1.0]])
    expected = compute(pixels)
    model = SimpleNamespace(get_image_features=compute)
    with keep_image_features(model, (0, 1, 0)):
        kept = model.get_image_features(pixels)
    assert seen == [3, 2]
    assert type(kept.pooler_output) is type(expected.pooler_output)
    for a, b in zip(kept.pooler_output, expected.pooler_output, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(kept.deepstack_features, expected.deepstack_features, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("form", [lambda pixels: pixels.repeat(2, 1), lambda pixels: pixels.flatten()[None]],
                         ids=["more rows", "one row"])  # fmt: skip
def test_features_that_are_not_one_for_each_image_are_computed_for_all(form):
    model = SimpleNamespace(get_image_features=lambda pixels: SimpleNamespace(pooler_output=form(pixels)))
    pixels = torch.tensor([[1.0], [2.0], [1.0]])
    with keep_image_features(model, (0, 1, 0)):
        features = model.get_image_features(pixels)
    assert torch.equal(features.pooler_output, form(pixels))


@pytest.mark.parametrize("more", [{"feature_maps": 1}, None], ids=["another field", "a tensor alone"])
def test_outputs_of_another_form_are_computed_for_all(more):
    """What else a tower hands over may belong to images too: it is not guessed how."""

    def compute(pixels):
        return pixels if more is None else SimpleNamespace(pooler_output=pixels, **more)

    model = SimpleNamespace(get_image_features=compute)
    pixels = torch.tensor([[1.0], [2.0], [1.0]])
    with keep_image_features(model, (0, 1, 0)):
        features = model.get_image_features(pixels)
    assert len(features if more is None else features.pooler_output) == 3


@pytest.mark.filterwarnings("ignore:`hidden_state` is deprecated:FutureWarning")
def test_tower_of_a_model_with_cross_attention_is_kept_too(family):
    loaded = family("Mllama")
    sample = Sample("s", "c", "k", "What?", ("a", "b"), 0, image={"path": "0"}, image_id="0")
    batch = prepare(loaded, [sample], eyes.opener, PROMPT)
    tower, runs = loaded.model.model.vision_model, []
    handle = tower.patch_embedding.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad(), keep_image_features(loaded.model, batch.image_of):
        logits = [loaded.model(**batch.inputs).logits for _ in range(2)]
    handle.remove()
    assert len(runs) == 1
    assert torch.equal(*logits)
    assert "forward" not in vars(tower)
