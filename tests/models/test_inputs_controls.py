"""What a model gets under the image controls."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from culture_neurons.data import prompts
from culture_neurons.data.image_controls import apply_control
from culture_neurons.models.batching import batches, run_batches
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, prepare

PROMPT = Prompt(seed=5)


def answers(loaded, questions, control, batch_size, shards=1):
    samples, opener = apply_control(control, questions.samples, questions.opener)
    ask, result = partial(answer, loaded, prompt=PROMPT), {}
    for shard in range(shards):
        todo = batches(loaded, samples, PROMPT, batch_size, shard, shards)
        for batch, answered in run_batches(loaded, todo, opener, PROMPT, ask):
            result |= {sample.sample_id: a for sample, a in zip(batch.samples, answered, strict=True)}
    assert set(result) == {s.sample_id for s in questions.samples}
    return result


def test_blank_prompt_has_the_tokens_of_the_real_one_whatever_its_size(loaded, questions):
    shapes = [(56, 56), (200, 40), (30, 180), (333, 222), (57, 400), (640, 480)]
    distinct = list({s.image_id: s for s in questions.samples}.values())
    samples = [replace(s, image_size=shape) for s, shape in zip(distinct, shapes, strict=False)]
    pictures = {s.image["bytes"]: questions.opener(s.image).resize(s.image_size) for s in samples}

    def opener(image):
        return pictures[image["bytes"]]

    shown = prepare(loaded, samples, opener, PROMPT)
    blank = prepare(loaded, *apply_control("blank", samples, opener), PROMPT)
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(blank.inputs[name], shown.inputs[name])
    assert blank.inputs["pixel_values"].shape == shown.inputs["pixel_values"].shape
    assert not torch.equal(blank.inputs["pixel_values"], shown.inputs["pixel_values"])


def test_none_is_a_text_only_chat_and_never_reaches_the_vision_tower(loaded, questions, monkeypatch):
    def refuse(*_, **__):
        pytest.fail("the vision tower was used")

    monkeypatch.setattr(type(loaded.model.model), "get_image_features", refuse)
    samples, opener = apply_control("none", questions.samples[:3], refuse)
    batch = prepare(loaded, samples, opener, PROMPT)
    assert {"input_ids", "attention_mask"} >= set(batch.inputs) - {"mm_token_type_ids"}
    for b, (sample, order) in enumerate(zip(batch.samples, batch.orders, strict=True)):
        chat = [{"role": "user", "content": prompts.user_text(sample, order)}]
        expected = loaded.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        assert batch.inputs["input_ids"][b][batch.inputs["attention_mask"][b].bool()].tolist() == list(expected)
    assert len(answer(loaded, batch, PROMPT)) == 3


def test_a_model_that_ignores_the_image_shows_no_change_and_another_does(loaded, questions, monkeypatch):
    """Features without content stand for a model that makes nothing of the image."""
    shown = [prepare(loaded, questions.samples[:6], questions.opener, PROMPT)]
    blank = [prepare(loaded, *apply_control("blank", questions.samples[:6], questions.opener), PROMPT)]

    def logprobs(batches):
        return np.array([a.logprobs for a in answer(loaded, batches[0], PROMPT)])

    assert np.abs(logprobs(shown) - logprobs(blank)).max() > 1e-4
    real = type(loaded.model.model).get_image_features

    def ignored(self, *args, **kwargs):
        output = real(self, *args, **kwargs)
        output.pooler_output = [torch.zeros_like(features) for features in output.pooler_output]
        return output

    monkeypatch.setattr(type(loaded.model.model), "get_image_features", ignored)
    np.testing.assert_array_equal(logprobs(shown), logprobs(blank))


@pytest.mark.parametrize("control", ["blank", "none", "swapped"])
def test_answers_do_not_depend_on_batch_size_or_shards(loaded, questions, control):
    one_by_one = answers(loaded, questions, control, 1)
    for other in (answers(loaded, questions, control, 24), answers(loaded, questions, control, 5, shards=3)):
        for sample_id, a in one_by_one.items():
            np.testing.assert_allclose(a.logprobs, other[sample_id].logprobs, atol=1e-4)
            assert a.prediction == other[sample_id].prediction
