from dataclasses import replace

import numpy as np
import pytest
import torch

from culture_neurons.models import replay, sharing
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import answer, forward, on_device
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.loading import load
from culture_neurons.types import NeuronMask

PROMPT = Prompt(seed=5)
SIZES = [(200, 40), (30, 180), (333, 222), (57, 400)]


@pytest.fixture
def asked(questions):
    """Ten questions: three about each of three images of different shapes, and one about a fourth."""
    samples = [
        replace(s, image={"path": str(i % 4)}, image_id=str(i % 4)) for i, s in enumerate(questions.samples[:12])
    ]
    pictures = [questions.opener(questions.samples[i].image).resize(size) for i, size in enumerate(SIZES)]
    return [s for i, s in enumerate(samples) if i not in (7, 11)], lambda image: pictures[int(image["path"])]


def entered(loaded, inputs, same):
    found = replay.enter(loaded, inputs, same)
    assert found.parted, "the batch was not parted"
    return found


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_parted_batch_gives_the_logits_of_a_whole_pass_from_every_layer(folders, loaded, asked, attention):
    loaded = load({"name": "m", "path": folders[loaded.name], "attn_implementation": attention})
    batch = prepare(loaded, *asked, PROMPT)
    assert not batch.inputs["attention_mask"].all()
    inputs = on_device(loaded, batch)
    with torch.inference_mode():
        expected = forward(loaded, inputs).logits[:, -1]
        found = entered(loaded, inputs, batch.same_image)
        for layer in range(loaded.adapter.n_layers + 1):
            found.advance(layer)
            torch.testing.assert_close(found.logits(), expected, atol=1e-5, rtol=1e-5)
            found.keep()
            torch.testing.assert_close(found.logits(), expected, atol=1e-5, rtol=1e-5)


def test_masks_on_a_parted_batch_answer_as_one_at_a_time(loaded, asked):
    masks = [NeuronMask("a", "act_fn", [0] * 24 + [1] * 10, [*range(24), *range(10)]),
             NeuronMask("b", "act_fn", [1] * 30, range(30)), NeuronMask("c", "act_fn", [0], [7])]  # fmt: skip
    samples, opener = asked
    with evaluator(loaded, masks, PROMPT) as evaluate:
        answers = evaluate(prepare(loaded, samples, opener, PROMPT))
    for index, mask in enumerate(masks):
        for sample, a in zip(samples, answers[index], strict=True):
            with ablate(loaded.adapter, [mask]) as hooks:
                hooks.use(0)
                alone = answer(loaded, prepare(loaded, [sample], opener, PROMPT), PROMPT)[0]
            assert a.prediction == alone.prediction
            np.testing.assert_allclose(a.logprobs, alone.logprobs, atol=1e-4)


def test_shared_tokens_pass_a_layer_once(loaded, asked):
    """The MLP sees one prefix per image and one suffix per question, not whole prompts."""
    batch = prepare(loaded, *asked, PROMPT)
    inputs = on_device(loaded, batch)
    seen = []
    handle = loaded.adapter.mlps[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[:2]))
    try:
        with torch.inference_mode():
            entered(loaded, inputs, batch.same_image).logits()
    finally:
        handle.remove()
    assert [n for n, _ in seen] == [4, 10]
    assert sum(n * tokens for n, tokens in seen) < 0.9 * batch.tokens


def ids(*prompts):
    width = max(map(len, prompts))
    found = np.zeros((len(prompts), width), int)
    for row, prompt in enumerate(prompts):
        found[row, width - len(prompt) :] = prompt
    return found, found > 0


def test_prompts_are_parted_where_they_begin_to_differ():
    tokens, valid = ids([1, 2, 3, 4, 5, 7], [1, 2, 3, 4, 5, 8, 9], [1, 2, 6, 6, 6, 6, 7, 8])
    shared = sharing.part(tokens, valid, [0, 0, 2])
    assert shared.group.tolist() == [0, 0, 1]
    values = torch.from_numpy(tokens)
    assert shared.prefix(values, 0).where(shared.prefix_valid, 0).tolist() == [[0, 1, 2, 3, 4, 5], [1, 2, 6, 6, 6, 6]]
    assert shared.suffix(values, 0).where(shared.suffix_valid, 0).tolist() == [[0, 7], [8, 9], [7, 8]]
    assert shared.prefix(values[None], 1)[0].tolist() == shared.prefix(values, 0).tolist()
    before, after = shared.masks()
    assert before[0, 0].int().tolist()[-1] == [0, 1, 1, 1, 1, 1]
    assert before[0, 0, 0].int().tolist() == [1, 0, 0, 0, 0, 0]  # padding sees itself
    assert after[0, 0].int().tolist() == [[0, 1, 1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 1, 0, 1]]
    assert after[2, 0].int().tolist() == [[1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1]]


def test_each_prompt_keeps_a_token_of_its_own():
    tokens, valid = ids([1, 2, 3, 4], [1, 2, 3, 4])
    shared = sharing.part(tokens, valid, [0, 0])
    assert shared.suffix_valid.tolist() == [[True], [True]]


def test_batch_is_not_parted_where_it_saves_little():
    different = ids([1, 2, 3, 4], [9, 2, 3, 4])
    assert sharing.part(*different, [0, 0]) is None
    assert sharing.part(*ids([1, 2, 3, 4], [1, 2, 3, 5]), [0, 1]) is None


def test_plain_masks_are_told_from_others():
    valid = torch.tensor([[False, True, True], [True, True, True]])
    plain = torch.ones(3, 3, dtype=torch.bool).tril() & valid[:, None, None, :]
    assert sharing.looks_back_only(plain, valid)
    assert sharing.looks_back_only(torch.zeros(plain.shape).masked_fill(~plain, -1e9), valid)
    assert sharing.looks_back_only(None, valid[1:])
    assert not sharing.looks_back_only(None, valid)
    window = plain & ~torch.ones(3, 3, dtype=torch.bool).tril(-2)
    assert not sharing.looks_back_only(window, valid)
    both_ways = valid[:, None, None, :].expand(2, 1, 3, 3)
    assert not sharing.looks_back_only(both_ways, valid)
    assert not sharing.looks_back_only(valid, valid)


def test_prompts_and_tokens_are_found_in_any_layout():
    assert sharing.token_axis(torch.zeros(4, 9, 16), 4, 9) == 0
    assert sharing.token_axis(torch.zeros(3, 4, 9, 16), 4, 9) == 1
    assert sharing.token_axis(torch.zeros(1, 9), 4, 9) == 0
    assert sharing.token_axis(torch.zeros(9), 4, 9) is None
    assert sharing.token_axis("sdpa", 4, 9) is None
