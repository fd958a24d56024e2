"""Texts that branch off a context in models with positions of three axes, against a row for each text, in float64."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from culture_neurons.models import inputs, shared_contexts
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.attribution import attribute, attributor
from culture_neurons.models.forward import forward
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, process, render
from culture_neurons.models.loading import load
from culture_neurons.models.option_rows import PADDING, Continued, lay_out
from culture_neurons.models.positions import branch_positions, can_branch
from culture_neurons.types import NeuronMask
from tests.models import families
from tests.models.conftest import gradients_of_rows

#: Patches of each image (time, height, width); four of them make a token.
GRIDS = torch.tensor([[1, 4, 8], [1, 8, 2]])
CONTEXTS = [[21, 52, *[families.IMAGE] * 8, 53, 22, 23], [31, 32, 33, 52, *[families.IMAGE] * 4, 53]]
TEXTS = [[[41, 42, 43], [44, 45]], [[46, 47], [48, 49, 40, 41], [42]]]


def inputs_of(rows, images):
    """Inputs of rows that begin with contexts, whose images are those of `images`, in this order."""
    ids = torch.from_numpy(rows.ids)
    pixels = torch.rand(int(GRIDS.prod(dim=1).sum()), 96, generator=torch.Generator().manual_seed(0)).double()
    by_image = pixels.split(GRIDS.prod(dim=1).tolist())
    return {
        "input_ids": ids, "attention_mask": torch.from_numpy(rows.branch != PADDING).long(),
        "mm_token_type_ids": (ids == families.IMAGE).long(), "branch": torch.from_numpy(rows.branch),
        "pixel_values": torch.cat([by_image[i] for i in images]), "image_grid_thw": GRIDS[images],
    }  # fmt: skip


def log_probabilities(loaded, rows, given):
    """Sum over each text's tokens, float64 [text]."""
    keep = int(rows.spans.position.max())
    with torch.inference_mode():
        logp = forward(loaded, given, keep).logits[:, -keep:].log_softmax(dim=-1)
    spans = zip(rows.spans.row, rows.spans.position, rows.spans.token, strict=True)
    return [
        sum(float(logp[r, keep - p, t]) for r, p, t in zip(*span, strict=True) if t >= 0) for span in spans
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Qwen2VL", "Qwen2_5_VL", "Qwen3VL"])
def test_branches_behind_images_of_two_sizes_are_rows_of_their_own(name):
    loaded = families.in_dtype(families.load(name), torch.float64)
    shared = lay_out([Continued(context, texts) for context, texts in zip(CONTEXTS, TEXTS, strict=True)])
    got = log_probabilities(loaded, shared, inputs_of(shared, [0, 1]))
    expected = []
    for i, texts in enumerate(TEXTS):
        for text in texts:
            row = lay_out([Continued(CONTEXTS[i], [text])])
            given = inputs_of(row, [i])
            del given["branch"]  # the model itself says where the tokens of this row lie
            expected += log_probabilities(loaded, row, given)
    np.testing.assert_allclose(got, expected, atol=1e-9)
    assert np.ptp(got) > 0.1


def test_positions_of_a_context_with_an_image_by_hand():
    loaded = families.load("Qwen2_5_VL")
    rows = lay_out([Continued(CONTEXTS[1], TEXTS[0]), Continued([7], [[41, 42]])])
    given = inputs_of(rows, [1])
    time, height, width = branch_positions(loaded, given, given["branch"]).tolist()
    # Three words and the image's start; 4 x 1 tokens; its end behind the largest position. Both texts go on from there.
    assert time == [[0, 1, 2, 3, 4, 4, 4, 4, 8, 9, 10, 9], [0] * 10 + [0, 1]]
    assert height == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 9], [0] * 10 + [0, 1]]
    assert width == time


def test_a_method_that_takes_no_mask_of_a_context_is_not_asked():
    def without_mask(input_ids, mm_token_type_ids, image_grid_thw=None):
        raise AssertionError

    assert can_branch(SimpleNamespace(model=SimpleNamespace()))
    assert not can_branch(SimpleNamespace(model=SimpleNamespace(get_rope_index=without_mask)))


@pytest.fixture(scope="module")
def qwen(folders):
    loaded = load({"name": "qwen", "path": folders["qwen2.5-vl"], "dtype": "float32"})
    for parameter in loaded.model.parameters():  # the usual weights are so small that nothing depends on the tokens
        parameter.mul_(4 if parameter.ndim > 1 else 1)
    return replace(loaded, model=loaded.model.double(), dtype="float64")


@pytest.fixture(scope="module")
def pictures(questions):
    """Questions with images of two sizes and options of several tokens, two of them about one image, and an opener."""
    samples = [
        replace(
            s, neutral="Which one is", image_id=f"i{max(i, 1)}", image={"bytes": str(max(i, 1)).encode()}, label=i % 3,
            question=s.question + " indeed" * (i % 3),
            options=tuple(f"{o}{' and more' * ((i + k) % 3)}" for k, o in enumerate(s.options[: 3 + i % 2])),
        )
        for i, s in enumerate(questions.samples[:5])
    ]  # fmt: skip

    def opener(reference):
        i = int(reference["bytes"])
        return Image.new("RGB", ((56, 56), (112, 28))[i % 2], (40 * i, 90, 200 - 30 * i))

    return samples, opener


@pytest.fixture(params=["sum", "pmi"])
def batches(request, qwen, pictures, monkeypatch):
    """The prompt, and the questions as a batch whose options share contexts and as one whose options do not."""
    samples, opener = pictures
    prompt = Prompt(answer="options", score=request.param)
    assert shared_contexts.shares_contexts(qwen)
    questions = render(qwen, samples, prompt)
    shared = process(qwen, questions, opener)
    monkeypatch.setattr(inputs, "shares_contexts", lambda _: False)
    apart = process(qwen, questions, opener)
    assert (shared.reads.question >= 0).sum() == len(samples)
    assert (apart.reads.question >= 0).sum() == sum(len(sample.options) for sample in samples)
    assert len(set(map(tuple, shared.inputs["image_grid_thw"].tolist()))) == 2
    return prompt, shared, apart


def assert_same_answers(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert one.prediction == other.prediction
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=2e-6)  # they are handed out in float32


def test_answers_are_those_of_rows_of_their_own(qwen, batches):
    prompt, shared, apart = batches
    assert_same_answers(answer(qwen, shared, prompt), answer(qwen, apart, prompt))


def test_masks_act_as_on_rows_of_their_own(qwen, batches, caplog):
    prompt, shared, apart = batches
    masks = [NeuronMask(str(i), "act_fn", np.array([i % 2, 1]), np.array([3 * i, 40])) for i in range(4)]
    with evaluator(qwen, masks, prompt) as evaluate:
        got = evaluate(shared)
        assert evaluate(shared) == got  # replays without their comparison with a whole pass
    with evaluator(qwen, masks, prompt) as evaluate:
        expected = evaluate(apart)
    for one, other in zip(got, expected, strict=True):
        assert_same_answers(one, other)
    plain = answer(qwen, shared, prompt)
    assert any(a.logprobs != b.logprobs for a, b in zip(got[0], plain, strict=True))
    assert "whole forward passes" not in caplog.text


def test_attributions_are_those_of_gradients_through_rows_of_their_own(qwen, pictures, batches):
    _, shared, _ = batches
    with attributor(qwen, ["gate_proj"]) as hooks:
        probability, values = attribute(qwen, shared, hooks)
    for q, question in enumerate(shared.questions):
        p, expected = gradients_of_rows(qwen, [question], pictures[1])
        assert probability[q] == pytest.approx(p)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(values["gate_proj"][q] / scale, expected / scale, atol=1e-5)
