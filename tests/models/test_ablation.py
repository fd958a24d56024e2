import copy
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from culture_neurons.models import ablation, replay
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.adapters import adapt
from culture_neurons.models.batching import batches, run_batches
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import answer, reader_of
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.types import NeuronMask, OwnMasks
from tests.conftest import slow

PROMPT = Prompt(seed=5)
MASKS = [
    NeuronMask("a", "act_fn", [0] * 24 + [1] * 10, [*range(24), *range(10)]),
    NeuronMask("b", "act_fn", [], []),
    NeuronMask("c", "act_fn", [1] * 48, np.arange(48)),
    NeuronMask("d", "act_fn", [], []),
    NeuronMask("e", "act_fn", [0], [7]),
    NeuronMask("f", "act_fn", [0], [7]),
    NeuronMask("g", "act_fn", [0] * 24, range(24), -2.0),
    NeuronMask("h", "act_fn", [0], [7], -2.0),
]


def evaluated(loaded, questions, batch_size, masks=MASKS, prompt=PROMPT):
    """Answers by mask and sample id."""
    result = {}
    with evaluator(loaded, masks, prompt) as evaluate:
        for batch, answers in run_batches(
            loaded, batches(loaded, questions.samples, prompt, batch_size), questions.opener, prompt, evaluate
        ):
            assert len(answers) == len(masks)
            for mask, row in zip(masks, answers, strict=True):
                result |= {(mask.culture, s.sample_id): a for s, a in zip(batch.samples, row, strict=True)}
    return result


def naive(loaded, questions, n, masks=MASKS, prompt=PROMPT):
    """One mask, one sample: the image processed again, a whole forward pass."""
    result = {}
    for sample in questions.samples[:n]:
        for mask in masks:
            batch = prepare(loaded, [sample], questions.opener, prompt)
            with ablate(loaded.model, [mask]) as hooks:
                hooks.use(0)
                result[mask.culture, sample.sample_id] = answer(loaded, batch, prompt)[0]
    return result


@pytest.mark.parametrize("batch_size", [slow(1), 8])
def test_outcomes_equal_a_loop_of_one_mask_and_one_sample(loaded, questions, batch_size):
    got = evaluated(loaded, questions, batch_size)
    assert len(got) == len(MASKS) * len(questions.samples)
    changed = 0
    expected = naive(loaded, questions, 5)
    for key, a in expected.items():
        assert (got[key].prediction, got[key].well_formed) == (a.prediction, a.well_formed)
        np.testing.assert_allclose(got[key].logprobs, a.logprobs, atol=1e-4)
        untouched = expected["b", key[1]]
        changed += not np.allclose(a.logprobs, untouched.logprobs, atol=1e-3)
    assert changed


@pytest.mark.parametrize("way", ["replayed", "whole", "generated"])
def test_own_masks_equal_one_mask_at_a_time(one, questions, way, monkeypatch):
    """One pass for all cultures' masks; the questions of a batch are of several cultures, and share images."""
    if way == "whole":
        monkeypatch.setattr(ablation, "Replay", lambda *_: 0 / one)
    prompt = Prompt(seed=5, answer="generate", max_new_tokens=3) if way == "generated" else PROMPT
    cultures = sorted({sample.culture for sample in questions.samples})
    assert len(cultures) >= 2
    singles = [
        NeuronMask(cultures[0], "act_fn", [0] * 24 + [1] * 10, [*range(24), *range(10)]),
        NeuronMask(cultures[1], "act_fn", [1] * 30, range(30), -1.0),
    ]
    plain = NeuronMask("plain", "act_fn", [0], [7])
    expected = evaluated(one, questions, 4, [*singles, NeuronMask("none", "act_fn", [], [])], prompt)
    with evaluator(one, [OwnMasks(singles), plain], prompt) as evaluate:
        for batch, (answers, _) in run_batches(
            one, batches(one, questions.samples, prompt, 8), questions.opener, prompt, evaluate
        ):
            assert len({sample.culture for sample in batch.samples}) > 1
            for sample, a in zip(batch.samples, answers, strict=True):
                name = sample.culture if sample.culture in cultures[:2] else "none"
                np.testing.assert_allclose(a.logprobs, expected[name, sample.sample_id].logprobs, atol=1e-4)
                assert a.prediction == expected[name, sample.sample_id].prediction


def test_masks_at_projections_equal_the_loop(one, questions, caplog):
    """What is kept from pass to pass must not be that of another mask."""
    sites = np.array(["k_proj", "gate_proj", "v_proj", "act_fn"])
    masks = [
        NeuronMask("b", "act_fn", [], []),
        NeuronMask("p", np.repeat(sites, 8), [0, 1] * 16, np.tile(np.arange(8), 4)),
        NeuronMask("q", "q_proj", [1] * 16, np.arange(16), 3.0),
        NeuronMask("r", "k_proj", [1] * 16, np.arange(16), 3.0),
        NeuronMask("s", "act_fn", [1] * 48, np.arange(48)),
    ]
    expected = naive(one, questions, 4, masks)
    got = evaluated(one, questions, 8, masks)
    for key, a in expected.items():
        np.testing.assert_allclose(got[key].logprobs, a.logprobs, atol=1e-4)
    assert "whole forward passes" not in caplog.text
    first = questions.samples[0].sample_id
    assert not np.allclose(expected["q", first].logprobs, expected["r", first].logprobs, atol=1e-6)


def test_generated_answers_under_masks_equal_the_loop(one, questions):
    prompt = Prompt(seed=5, answer="generate", max_new_tokens=3)
    got = evaluated(one, questions, 8, MASKS[:3], prompt)
    for key, a in naive(one, questions, 3, MASKS[:3], prompt).items():
        assert got[key].prediction == a.prediction
        np.testing.assert_allclose(got[key].logprobs, a.logprobs, atol=1e-4)


def test_what_no_mask_changes_is_computed_once(loaded, questions):
    """Per batch: vision, and each layer's attention, before a mask acts; then what follows, once per distinct mask."""
    inner = loaded.model.model
    tower = inner.visual if hasattr(inner, "visual") else inner.vision_tower
    layers = loaded.adapter.layers
    counted = {"tower": tower, "attention 0": layers[0].self_attn, "attention 1": layers[1].self_attn}
    counted |= {"gate 0": layers[0].mlp.gate_proj, "down 0": layers[0].mlp.down_proj}
    runs = dict.fromkeys(counted, 0)

    def count(name):
        def hook(module, args, output):
            # What is kept is handed out by a stand-in; a real run is seen by its own sum.
            runs[name] += getattr(module.forward, "__name__", "") != "<lambda>"

        return hook

    handles = [module.register_forward_hook(count(name)) for name, module in counted.items()]
    try:
        batch = prepare(loaded, questions.samples[:8], questions.opener, PROMPT)
        with evaluator(loaded, MASKS, PROMPT) as evaluate:
            evaluate(batch)  # the first batch also compares with whole passes
            runs |= dict.fromkeys(runs, 0)
            evaluate(batch)
    finally:
        for handle in handles:
            handle.remove()
    # Masks a, e, g and h act in layer 0, c in layer 1, b nowhere: d and f equal others. Layer 0 runs for a, e, g and h
    # (its attention and gate for the first of them), and its MLP to go on to layer 1; layer 1 for them, and for c, and
    # what is kept of it serves b.
    assert runs == {"tower": 1, "attention 0": 1, "gate 0": 1, "down 0": 5, "attention 1": 5}


def test_model_is_left_as_it_was_after_an_error(loaded, questions, monkeypatch):
    batch = prepare(loaded, questions.samples[:2], questions.opener, PROMPT)
    before = answer(loaded, batch, PROMPT)
    monkeypatch.setattr(loaded.model.model.language_model.norm, "forward", None, raising=False)
    with pytest.raises(TypeError), evaluator(loaded, MASKS, PROMPT) as evaluate:
        evaluate(batch)
    monkeypatch.undo()
    assert answer(loaded, batch, PROMPT) == before
    for module in (m for layer in loaded.adapter.layers for m in layer.modules()):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)


def test_model_that_cannot_be_replayed_runs_whole_passes(one, questions, monkeypatch, caplog):
    expected = evaluated(one, questions, 8)
    monkeypatch.setattr(ablation, "Replay", lambda *_: 0 / one)
    with caplog.at_level(logging.WARNING):
        got = evaluated(one, questions, 8)
    assert "whole forward passes" in caplog.text
    for key, a in expected.items():
        assert got[key].prediction == a.prediction
        np.testing.assert_allclose(got[key].logprobs, a.logprobs, atol=1e-4)


def test_letters_are_read_from_the_whole_vocabulary(loaded, questions):
    batch = prepare(loaded, questions.samples[:4], questions.opener, PROMPT)
    letters = reader_of(loaded, batch)
    logits = torch.randn(4, len(loaded.tokenizer), generator=torch.Generator().manual_seed(1))
    reading = letters.read(logits.bfloat16()[:, None])
    p = logits.bfloat16().double().softmax(dim=-1)
    expected = torch.stack([p[:, ids].sum(dim=-1).log() for ids in letters.tokens], dim=1)
    torch.testing.assert_close(reading.by_option.double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(reading.best, p.argmax(dim=-1))


@pytest.fixture
def compared(monkeypatch):
    """What replays are compared under, as it happens."""
    labels, compare = [], ablation._compare
    monkeypatch.setattr(ablation, "_compare", lambda *args: labels.append(args[2]) or compare(*args))
    return labels


def test_batch_that_is_too_large_for_memory_decides_nothing(one, questions, monkeypatch, compared, caplog):
    """The first batch runs out of memory in its replay: the next one still replays."""
    batch = prepare(one, questions.samples[:3], questions.opener, PROMPT)

    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with evaluator(one, MASKS[:2], PROMPT) as evaluate:
        with monkeypatch.context() as patch:
            patch.setattr(ablation, "Replay", short)
            with pytest.raises(torch.OutOfMemoryError):
                evaluate(batch)
        evaluate(batch)
        evaluate(batch)
    assert compared == ["under a mask of 34 neurons", "under an empty mask"]
    assert "whole forward passes" not in caplog.text


def test_first_batch_of_every_kind_is_compared(one, questions, compared, caplog):
    """With padding, without, and of one question alone."""
    picture = questions.opener(questions.samples[0].image)
    padded = prepare(one, questions.samples[:5], questions.opener, PROMPT)
    alike = [replace(questions.samples[0], sample_id=str(i)) for i in range(3)]
    even = prepare(one, alike, lambda image: picture, Prompt(seed=5))
    alone = prepare(one, alike[:1], lambda image: picture, PROMPT)
    assert not padded.inputs["attention_mask"].all()
    assert even.inputs["attention_mask"].all()
    with evaluator(one, MASKS, PROMPT) as evaluate:
        counts = []
        for batch in (padded, padded, even, even, alone, padded, alone):
            compared.clear()
            evaluate(batch)
            counts.append(len(compared))
    assert counts == [2, 0, 2, 0, 2, 0, 0]  # a mask, and none
    assert "whole forward passes" not in caplog.text


@pytest.mark.parametrize(("attribute", "value", "expected"), [("layer_idx", 7, 2), ("is_sliding", True, 3)])
def test_masks_that_start_at_layers_of_every_structure_are_compared(
    one, questions, compared, attribute, value, expected
):
    """Two layers that differ in an index run the same code, and two that differ in a flag need not."""
    loaded = replace(one, model=copy.deepcopy(one.model))
    loaded = replace(loaded, adapter=adapt(loaded.model))
    first, second = (layer.self_attn for layer in loaded.adapter.layers[:2])
    setattr(first, attribute, type(value)())
    setattr(second, attribute, value)
    with evaluator(loaded, MASKS, PROMPT) as evaluate:
        evaluate(prepare(loaded, questions.samples[:3], questions.opener, PROMPT))
    assert len(compared) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_difference_in_the_last_bit_ends_replays(one, questions, dtype, monkeypatch, caplog):
    """What is kept is one unit in the last place too large at one position."""
    loaded = replace(one, model=copy.deepcopy(one.model).to(dtype), dtype=str(dtype).removeprefix("torch."))
    loaded = replace(loaded, adapter=adapt(loaded.model))
    batch = prepare(loaded, questions.samples[:4], questions.opener, PROMPT)
    handing_back = replay.returning

    def wrong(module, output):
        if isinstance(output, torch.Tensor):
            output = output.clone()
            output[0, -1] = torch.nextafter(output[0, -1], torch.full_like(output[0, -1], torch.inf))
        return handing_back(module, output)

    mask = NeuronMask("c", "act_fn", [1] * 48, np.arange(48))
    monkeypatch.setattr(replay, "returning", wrong)
    with evaluator(loaded, [mask], PROMPT) as evaluate:
        (outcomes,) = evaluate(batch)
        evaluate(batch)
    assert caplog.text.count("every mask runs whole forward passes") == 1
    assert "one: its layers can't be replayed (under " in caplog.text
    with ablate(loaded.adapter, [mask]) as hooks:
        hooks.use(0)
        assert outcomes == answer(loaded, batch, PROMPT)
