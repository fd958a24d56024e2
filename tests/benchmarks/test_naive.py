from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import naive
from culture_neurons.data import images
from culture_neurons.data.readers import synthetic
from culture_neurons.errors import ConfigError
from culture_neurons.models import loading, option_scores
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.demo import architectures
from culture_neurons.models.forward import forward
from culture_neurons.models.hooks import record
from culture_neurons.models.inference import on_device
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.types import NeuronMask, Sample
from tests.models.conftest import byte_tokenizer, language_model


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    source = synthetic.read({"samples_per_culture": 3})
    samples = [
        Sample(r.sample_id, r.culture, r.category, r.question, tuple(r.options), int(r.label), "evaluate", r.image,
               r.image_id)
        for r in source.rows.head(4).itertuples()
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    model, processor = architectures.build("qwen2.5-vl", seed=3, layers=2, hidden=32, intermediate=48)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return loading.load({"name": "m", "path": str(folder)}), samples, images.opener(source.images)


def test_loop_and_engine_answer_alike(asked):
    loaded, samples, opener = asked
    masks = [NeuronMask("a", "act_fn", [0] * 20, range(20)), NeuronMask("b", "act_fn", [1] * 48, range(48))]
    found = naive.evaluate(loaded, samples, opener, Prompt(), masks)
    with evaluator(loaded, masks, Prompt()) as evaluate:
        answers = evaluate(prepare(loaded, samples, opener, Prompt()))
    assert len(found) == 8
    for (index, sample_id), (prediction, logprobs) in found.items():
        a = answers[index][[s.sample_id for s in samples].index(sample_id)]
        assert a.prediction == prediction
        np.testing.assert_allclose(a.logprobs, logprobs, atol=1e-4)


@pytest.mark.parametrize("score", option_scores.SCORES)
def test_loop_and_engine_answer_alike_by_texts(asked, score):
    _, samples, _ = asked
    tokenizer = byte_tokenizer([sample.question for sample in samples])
    loaded = language_model("llama", tokenizer, torch.float32)
    prompt = Prompt(answer="options", score=score)
    texts = ("one", "two and more", "3")
    samples = [Sample(s.sample_id, "c", "k", s.question, texts, 0, neutral="Which one is it") for s in samples]
    masks = [NeuronMask("a", "act_fn", [0] * 20, range(20)), NeuronMask("b", "act_fn", [1] * 40, range(40))]
    found = naive.evaluate(loaded, samples, None, prompt, masks)
    with evaluator(loaded, masks, prompt) as evaluate:
        answers = evaluate(prepare(loaded, samples, None, prompt))
    assert len(found) == 8
    for index, of_mask in enumerate(answers):
        for sample, a in zip(samples, of_mask, strict=True):
            prediction, logprobs = found[index, sample.sample_id]
            assert a.prediction == prediction
            np.testing.assert_allclose(a.logprobs, logprobs, atol=1e-4)
    assert np.abs(found[0, samples[0].sample_id][1] - found[1, samples[0].sample_id][1]).max() > 0.01


@pytest.mark.parametrize("score", ["sum", "pmi"])
def test_loop_and_engine_answer_alike_by_texts_about_pictures(asked, score):
    loaded, samples, opener = asked
    samples = [replace(sample, neutral="Which") for sample in samples]
    prompt, masks = Prompt(answer="options", score=score), [NeuronMask("a", "act_fn", [0] * 20, range(20))]
    found = naive.evaluate(loaded, samples, opener, prompt, masks)
    with evaluator(loaded, masks, prompt) as evaluate:
        (answers,) = evaluate(prepare(loaded, samples, opener, prompt))
    for sample, a in zip(samples, answers, strict=True):
        np.testing.assert_allclose(a.logprobs, found[0, sample.sample_id][1], atol=1e-4)
    blind = [replace(sample, image=None, image_id="", image_size=None) for sample in samples]
    other = naive.evaluate(loaded, blind, opener, prompt, masks)
    assert not np.allclose(other[0, samples[0].sample_id][1], found[0, samples[0].sample_id][1], atol=1e-3)


def test_loop_needs_contexts():
    loaded = language_model("llama", byte_tokenizer([]), torch.float32)
    samples = [Sample("s", "c", "k", "Which", ("one", "two"), 0)]
    with pytest.raises(ConfigError, match="no context before the option 'one'; expected one, also a neutral one"):
        naive.evaluate(loaded, samples, None, Prompt(answer="options"), [NeuronMask("a", "act_fn", [0], [0])])


def test_raw_activations_give_the_recorded_sums(asked):
    loaded, samples, opener = asked
    batch = prepare(loaded, samples, opener, Prompt())
    weights = batch.inputs["attention_mask"].bool()
    raw = naive.RawRecorder(loaded.adapter)
    with torch.inference_mode(), record(loaded.adapter) as recorder:
        recorder.start(weights)
        forward(loaded, on_device(loaded, batch))
        _, fired, positive_sum = recorder.collect()
    expected = raw.collect(weights)
    raw.close()
    np.testing.assert_array_equal(fired, expected[0])
    np.testing.assert_allclose(positive_sum, expected[1], rtol=1e-5, atol=1e-6)
