"""Images that a processor refuses: one line names the sample, whatever the processor raises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from culture_neurons.errors import DataError, ModelError
from culture_neurons.models import calibration
from culture_neurons.models.batching import batches
from culture_neurons.models.inputs import Prompt, count_tokens, prepare, process, render
from culture_neurons.models.loading import load

PROMPT = Prompt(seed=5)
STRIP = (1093, 5)


@pytest.fixture(scope="module")
def qwen(folders):
    return load({"name": "qwen", "path": folders["qwen2.5-vl"]})


def sized(questions, sizes):
    """Samples with images of these sizes, and their opener."""
    samples = [replace(s, image_size=size, image_id=f"i{i}", image={"bytes": str(i).encode()})
               for i, (s, size) in enumerate(zip(questions.samples, sizes, strict=False))]  # fmt: skip
    return samples, lambda reference: Image.new("RGB", sizes[int(reference["bytes"])])


def refused(sample) -> str:
    return rf"^model 'qwen': its processor refuses sample '{sample.sample_id}', an image of 1093 × 5 pixels \(.*218"


def test_lengths_name_the_sample_whose_image_is_refused(qwen, questions):
    samples, opener = sized(questions, [(56, 56), STRIP, (30, 40)])
    rendered = render(qwen, samples, PROMPT)
    for work in (lambda: count_tokens(qwen, rendered), lambda: process(qwen, rendered, opener),
                 lambda: batches(qwen, samples, PROMPT, 2),
                 lambda: calibration.spread_samples(qwen, samples, PROMPT, 2),
                 lambda: prepare(qwen, [replace(s, image_size=None) for s in samples], opener, PROMPT)):  # fmt: skip
        with pytest.raises(ModelError, match=refused(samples[1])) as caught:
            work()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [IndexError("list index out of range"), ZeroDivisionError(), RuntimeError("shape")])
def test_whatever_a_processor_raises_names_the_sample(qwen, questions, monkeypatch, error):
    samples, opener = sized(questions, [(56, 56), (30, 40), STRIP])
    rendered = render(qwen, samples, PROMPT)
    count, real = type(qwen.processor)._get_num_multimodal_tokens, type(qwen.processor).__call__

    def counting(self, image_sizes):
        if STRIP[::-1] in image_sizes:
            raise error
        return count(self, image_sizes=image_sizes)

    def processing(self, **arguments):
        if STRIP in [image.size for image in arguments["images"]]:
            raise error
        return real(self, **arguments)

    monkeypatch.setattr(type(qwen.processor), "_get_num_multimodal_tokens", counting)
    monkeypatch.setattr(type(qwen.processor), "__call__", processing)
    shown = str(error) or type(error).__name__
    for work in (lambda: count_tokens(qwen, rendered), lambda: process(qwen, rendered, opener)):
        with pytest.raises(ModelError, match=rf"sample '{samples[2].sample_id}', an image of 1093 × 5 .*\({shown}\)"):
            work()


def test_what_is_refused_only_together_names_the_batch(qwen, questions, monkeypatch):
    real = type(qwen.processor).__call__

    def processing(self, **arguments):
        if len(arguments["text"]) > 1:
            raise ValueError("no two at once")
        return real(self, **arguments)

    monkeypatch.setattr(type(qwen.processor), "__call__", processing)
    samples, opener = sized(questions, [(56, 56)] * 6)
    with pytest.raises(
        ModelError, match=rf"the samples '{samples[0].sample_id}', .* in one batch \(no two.*batch_size: 1$"
    ):
        prepare(qwen, samples, opener, PROMPT)


def test_short_memory_is_no_refusal(qwen, questions, monkeypatch):
    def processing(self, **arguments):
        raise MemoryError

    monkeypatch.setattr(type(qwen.processor), "__call__", processing)
    with pytest.raises(MemoryError):
        prepare(qwen, questions.samples[:2], questions.opener, PROMPT)


def test_an_image_that_cannot_be_opened_names_its_sample(qwen, questions):
    broken = replace(questions.samples[1], image={"bytes": b"none"}, image_id="broken")
    with pytest.raises(DataError, match=rf"^sample '{broken.sample_id}': embedded image: unreadable image"):
        prepare(qwen, [questions.samples[0], broken], questions.opener, PROMPT)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (3, 300), (300, 3), (1, 4), (200, 1)])
def test_odd_images_are_processed_by_every_architecture(loaded, questions, size):
    samples, opener = sized(questions, [size, (56, 56)])
    rendered = render(loaded, samples, PROMPT)
    mask = process(loaded, rendered, opener).inputs["attention_mask"]
    assert (count_tokens(loaded, rendered) == mask.sum(1).numpy()).all()
