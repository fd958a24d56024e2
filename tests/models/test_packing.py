from dataclasses import replace

import numpy as np
import pytest
import torch

from culture_neurons.models import packing
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.forward import logits_at
from culture_neurons.models.inference import on_device, reader_of
from culture_neurons.models.inputs import Prompt, process, render
from culture_neurons.models.loading import load
from culture_neurons.models.packing import Segment, fill, packed
from culture_neurons.types import NeuronMask, OwnMasks
from tests.models.conftest import language_model

PMI = Prompt(answer="options")


def scores(loaded, batch):
    reader = reader_of(loaded, batch)
    return reader.scores(logits_at(loaded, on_device(loaded, batch), reader.positions)).numpy()


def rendered(loaded, samples, score="pmi"):
    return render(loaded, samples, Prompt(answer="options", score=score))


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("score", ["sum", "pmi"])
def test_scores_are_those_of_rows_of_their_own(one, texts, name, score):
    loaded = language_model(name, one.tokenizer, torch.float64)
    batch = process(loaded, rendered(loaded, texts, score), None)
    fewer, _ = packed(loaded, batch)
    np.testing.assert_allclose(scores(loaded, fewer), scores(loaded, batch), rtol=1e-9)
    if name == "gemma3":  # it can't take branches
        assert fewer is batch
        return
    tokens = int(batch.inputs["attention_mask"].sum())
    assert int(fewer.inputs["attention_mask"].sum()) == tokens
    assert len(fewer.inputs["input_ids"]) == -(-tokens // fewer.inputs["input_ids"].shape[1])


def test_options_of_one_token_are_packed_too(one, texts):
    loaded = language_model("llama", one.tokenizer, torch.float64)
    words = [loaded.tokenizer.convert_ids_to_tokens(i) for i in range(len(loaded.tokenizer))]
    short = [w for w in words if w.isalpha() and len(loaded.tokenizer(w, add_special_tokens=False)["input_ids"]) == 1]
    samples = [replace(sample, options=tuple(short[4 * i : 4 * i + 4])) for i, sample in enumerate(texts)]
    batch = process(loaded, rendered(loaded, samples, "sum"), None)
    assert "branch" not in batch.inputs
    fewer, _ = packed(loaded, batch)
    assert len(fewer.inputs["input_ids"]) < len(batch.inputs["input_ids"])
    np.testing.assert_allclose(scores(loaded, fewer), scores(loaded, batch), rtol=1e-9)


def test_rows_hold_one_culture_each_and_its_neutral_contexts(one, texts):
    loaded = language_model("llama", one.tokenizer, torch.float64)
    samples = [replace(sample, culture=f"c{i % 3}", neutral="Which") for i, sample in enumerate(texts)]
    batch = process(loaded, rendered(loaded, samples), None)
    fewer, cultures = packed(loaded, batch, by_culture=True)
    np.testing.assert_allclose(scores(loaded, fewer), scores(loaded, batch), rtol=1e-9)
    spans, of = fewer.reads.spans, fewer.reads
    for q, sample in enumerate(samples):
        for number in (*of.of_option[q], *of.of_neutral[q]):
            assert number < 0 or cultures[spans.row[number, 0]] == sample.culture


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_every_question_is_under_the_mask_of_its_own_culture(one, texts, name):
    loaded = language_model(name, one.tokenizer, torch.float64)
    samples = [replace(sample, culture=f"c{i % 3}", neutral="Which") for i, sample in enumerate(texts)]
    masks = [NeuronMask(f"c{c}", "act_fn", np.array([0, 1, 1]), np.array([c, c, c + 7])) for c in range(2)]
    batch = process(loaded, rendered(loaded, samples), None)
    nothing = NeuronMask("none", "act_fn", np.array([], int), np.array([], int))
    with evaluator(loaded, [OwnMasks(masks)], PMI) as evaluate:
        (own,) = evaluate(batch)
    with evaluator(loaded, [*masks, nothing], PMI) as evaluate:
        by_mask = evaluate(batch)
    for q, sample in enumerate(samples):  # the third culture has no mask
        expected = by_mask[int(sample.culture[1:])][q].logprobs
        np.testing.assert_allclose(own[q].logprobs, expected, rtol=1e-6)
    assert any(own[q].logprobs != by_mask[2][q].logprobs for q in range(len(samples)))


@pytest.mark.parametrize("architecture", ["qwen2.5-vl", "llava-next-mistral"])
@pytest.mark.parametrize("cultures", [1, 2])
def test_questions_with_images_and_without_share_rows(folders, questions, architecture, cultures, monkeypatch):
    """Of models that count tokens; each image stays that of its question, also where two questions show one."""
    monkeypatch.setattr(packing, "WIDTHS", (90,))
    loaded = load({"name": architecture, "path": str(folders[architecture]), "dtype": "float32"})
    loaded.model.double()
    samples = [replace(sample, neutral="Which", culture=f"c{i % cultures}")
               for i, sample in enumerate(questions.samples[:6])]  # fmt: skip
    samples[1] = replace(samples[1], image=None, image_id="", image_size=None)
    samples[4] = replace(samples[4], **{key: getattr(samples[2], key) for key in ("image", "image_id", "image_size")})
    batch = process(loaded, rendered(loaded, samples), questions.opener)
    fewer, _ = packed(loaded, batch, by_culture=cultures > 1)
    expected = scores(loaded, batch)
    np.testing.assert_allclose(scores(loaded, fewer), expected, rtol=1e-6)
    assert not np.allclose(expected[0], expected[3], rtol=1e-6)
    if architecture == "qwen2.5-vl":
        assert cultures > 1 or fewer is batch
        return
    assert len(fewer.inputs["input_ids"]) < len(samples)
    assert torch.equal(fewer.inputs["pixel_values"], batch.inputs["pixel_values"])


@pytest.mark.parametrize(
    ("name", "axes"),
    [("token_type_ids", ()), ("cross_attention_mask", (2,))],
)
def test_rows_that_say_more_of_their_tokens_are_left_alone(folders, questions, name, axes):
    loaded = load({"name": "m", "path": str(folders["llava-next-mistral"]), "dtype": "float32"})
    batch = process(loaded, rendered(loaded, questions.samples[:6], "sum"), questions.opener)
    assert packed(loaded, batch)[0] is not batch
    more = torch.ones((*batch.inputs["input_ids"].shape, *axes))
    other = replace(batch, inputs={**batch.inputs, name: more})
    assert packed(loaded, other)[0] is other


def test_letters_are_left_alone(one, texts):
    loaded = language_model("llama", one.tokenizer, torch.float64)
    batch = process(loaded, render(loaded, texts, Prompt()), None)
    same, cultures = packed(loaded, batch)
    assert same is batch
    assert cultures == [sample.culture for sample in texts]


def test_the_longest_goes_first_into_the_first_row_with_room_of_its_group():
    segments = [Segment(0, "a", 3), Segment(1, "a", 7), Segment(2, "b", 2), Segment(3, "a", 5), Segment(4, "a", 2)]
    rows = [[segment.row for segment in row] for row in fill(segments, 8)]
    assert rows == [[1], [3, 0], [2], [4]]
    assert [[s.row for s in row] for row in fill(segments[:2], 2)] == [[1], [0]]  # as wide as the longest


def test_those_with_an_image_keep_their_order_and_come_first():
    lengths, groups = [3, 4, 6, 3, 2], "aaaba"
    images = [Segment(i, group, n, True) for i, (group, n) in enumerate(zip(groups, lengths, strict=True))]
    words = [Segment(8, "a", 1), Segment(9, "a", 4), Segment(7, "b", 5)]
    rows = [[segment.row for segment in row] for row in fill([*words, *images], 8)]
    assert rows == [[0, 1, 8], [2], [3, 7], [4, 9]]


@pytest.mark.parametrize(
    ("lengths", "widths", "rows"),
    [
        ([50, 50, 50, 30, 30], (64, 96, 128), 2),  # 2 x 110 tokens; with the others 4 x 60 and 3 x 80
        ([31] * 5, (64, 96, 128), 3),  # 3 x 62; with the others 2 x 93 and 2 x 124
        ([32] * 4, (64, 128), 2),  # no padding either way: the narrower
        ([150, 20, 20], (64, 128), 2),  # a context that is longer than any
    ],
)
def test_rows_have_the_width_that_leaves_the_least_padding(monkeypatch, lengths, widths, rows):
    monkeypatch.setattr(packing, "WIDTHS", widths)
    segments = [packing.Segment(row, "", length) for row, length in enumerate(lengths)]
    found = packing._tightest(segments)
    assert len(found) == rows
    assert sorted(segment.row for row in found for segment in row) == list(range(len(lengths)))
