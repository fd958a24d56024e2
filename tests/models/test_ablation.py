import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from culture_neurons.models import ablation, replay
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.adapters import adapt
from culture_neurons.models.batching import batches, run
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import answer, forward, letters_of, on_device
from culture_neurons.models.inputs import Batch, Prompt, Question, prepare
from culture_neurons.models.loading import Loaded
from culture_neurons.types import NeuronMask, OwnMasks, Sample

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
        for batch, answers in run(
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


@pytest.mark.parametrize("batch_size", [1, 8])
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
        monkeypatch.setattr(ablation, "enter", lambda *_: 0 / one)
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
        for batch, (answers, _) in run(
            one, batches(one, questions.samples, prompt, 8), questions.opener, prompt, evaluate
        ):
            assert len({sample.culture for sample in batch.samples}) > 1
            for sample, a in zip(batch.samples, answers, strict=True):
                name = sample.culture if sample.culture in cultures[:2] else "none"
                np.testing.assert_allclose(a.logprobs, expected[name, sample.sample_id].logprobs, atol=1e-4)
                assert a.prediction == expected[name, sample.sample_id].prediction


def test_own_masks_of_questions_about_one_image_share_no_beginning(one, questions, caplog):
    """Their masks differ, and so do the hidden states of the prompts' common beginning."""
    picture = questions.opener(questions.samples[0].image)
    shared = [replace(s, image={"path": "x"}, image_id="x") for s in questions.samples]
    batch = prepare(one, shared, lambda image: picture, PROMPT)
    cultures = sorted({sample.culture for sample in shared})
    masks = [NeuronMask(c, "act_fn", [0] * 20, range(20 * i, 20 * i + 20)) for i, c in enumerate(cultures[:2])]
    with evaluator(one, [OwnMasks(masks)], PROMPT) as evaluate:
        (found,) = evaluate(batch)
    for i, mask in enumerate(masks):
        with ablate(one.adapter, [mask]) as hooks:
            hooks.use(0)
            expected = answer(one, batch, PROMPT)
        mine = [k for k, sample in enumerate(shared) if sample.culture == cultures[i]]
        assert mine
        for k in mine:
            np.testing.assert_allclose(found[k].logprobs, expected[k].logprobs, atol=1e-4)
    assert "whole forward passes" not in caplog.text


def test_masks_at_projections_equal_the_loop(one, questions, caplog):
    """Keys and projections that are kept from pass to pass must not be those of another mask."""
    sites = np.array(["k_proj", "gate_proj", "v_proj", "act_fn"])
    masks = [
        NeuronMask("b", "act_fn", [], []),
        NeuronMask("p", np.repeat(sites, 8), [0, 1] * 16, np.tile(np.arange(8), 4)),
        NeuronMask("q", "q_proj", [1] * 16, np.arange(16), 3.0),
        NeuronMask("r", "k_proj", [1] * 16, np.arange(16), 3.0),
        # The largest, which alone is compared with a whole pass, does not show what is wrong with the others.
        NeuronMask("s", "act_fn", [1] * 48, np.arange(48)),
    ]
    expected = naive(one, questions, 4, masks)
    got = evaluated(one, questions, 8, masks)
    for key, a in expected.items():
        np.testing.assert_allclose(got[key].logprobs, a.logprobs, atol=1e-4)
    assert "whole forward passes" not in caplog.text  # known from the start, and not found out by a failure
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
            evaluate(batch)  # the first batch also checks that the decoder can be entered
            runs |= dict.fromkeys(runs, 0)
            evaluate(batch)
    finally:
        for handle in handles:
            handle.remove()
    # Masks a, e, g and h act in layer 0, c in layer 1, b nowhere: d and f equal others. Layer 0 runs for keeping and to
    # go on to layer 1 (its attention), for a, e, g and h (its MLP alone); layer 1 for them, c, and to the end for b.
    assert runs == {"tower": 1, "attention 0": 2, "gate 0": 2, "down 0": 6, "attention 1": 6}


def test_model_is_left_as_it_was_after_an_error(loaded, questions, monkeypatch):
    batch = prepare(loaded, questions.samples[:2], questions.opener, PROMPT)
    before = answer(loaded, batch, PROMPT)
    monkeypatch.setattr(loaded.adapter.norm, "forward", None, raising=False)
    with pytest.raises(TypeError), evaluator(loaded, MASKS, PROMPT) as evaluate:
        evaluate(batch)
    monkeypatch.undo()
    assert answer(loaded, batch, PROMPT) == before
    for module in (m for layer in loaded.adapter.layers for m in layer.modules()):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)


def test_decoder_that_cannot_be_entered_runs_whole_passes(one, questions, monkeypatch, caplog):
    expected = evaluated(one, questions, 8)
    monkeypatch.setattr(ablation, "enter", lambda *_: 0 / one)  # as from layers that pass on something else
    with caplog.at_level(logging.WARNING):
        got = evaluated(one, questions, 8)
    assert "whole forward passes" in caplog.text
    for key, a in expected.items():
        assert got[key].prediction == a.prediction
        np.testing.assert_allclose(got[key].logprobs, a.logprobs, atol=1e-4)


@pytest.mark.parametrize("cap", [None, 0.01])
def test_logits_that_are_capped_after_the_head_are_noticed(cap, caplog):
    """Gemma 2 bends its logits: normalising and projecting does not give them, whole passes do."""
    sizes = {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "head_dim": 8,
             "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0}  # fmt: skip
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(**sizes, final_logit_softcapping=cap)).eval()
    letters = {letter: i for i, letter in enumerate("ABCD")}
    names = {i: letter for letter, i in letters.items()}
    tokenizer = SimpleNamespace(convert_tokens_to_ids=letters.get, convert_ids_to_tokens=names.get)
    loaded = Loaded("g", model, SimpleNamespace(tokenizer=tokenizer), adapt(model), "none", "float32")
    ids = torch.randint(1, 60, (2, 6), generator=torch.Generator().manual_seed(0))
    asked = [Question(Sample(str(i), "c", "k", "?", ("a",) * 4, 0), (0, 1, 2, 3), "", "") for i in range(2)]
    batch = Batch(asked, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    mask = NeuronMask("m", "act_fn", [0] * 8 + [1] * 8, [*range(8)] * 2)
    with evaluator(loaded, [mask], PROMPT) as evaluate:
        answers = evaluate(batch)[0]
    assert ("whole forward passes" in caplog.text) == (cap is not None)
    with ablate(loaded.adapter, [mask]) as hooks:
        hooks.use(0)
        expected = answer(loaded, batch, PROMPT)
    for a, b in zip(answers, expected, strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-5)


def test_entered_decoder_gives_the_logits_of_a_whole_pass_from_every_layer(loaded, questions):
    batch = prepare(loaded, questions.samples[:6], questions.opener, PROMPT)
    inputs = on_device(loaded, batch)
    with torch.inference_mode():
        expected = forward(loaded, inputs).logits[:, -1]
        entered = replay.enter(loaded, inputs)
        for layer in range(loaded.adapter.n_layers + 1):
            entered.advance(layer)
            torch.testing.assert_close(entered.logits(), expected, atol=1e-5, rtol=1e-5)
            entered.keep()
            torch.testing.assert_close(entered.logits(), expected, atol=1e-5, rtol=1e-5)


def test_letters_are_read_from_the_whole_vocabulary(loaded, questions):
    batch = prepare(loaded, questions.samples[:4], questions.opener, PROMPT)
    letters = letters_of(loaded, batch)
    logits = torch.randn(4, len(loaded.tokenizer), generator=torch.Generator().manual_seed(1))
    reading = letters.read(logits.bfloat16())
    p = logits.bfloat16().double().softmax(dim=-1)
    expected = torch.stack([p[:, ids].sum(dim=-1).log() for ids in letters.tokens], dim=1)
    torch.testing.assert_close(reading.by_letter.double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(reading.best, p.argmax(dim=-1))


def counted_passes(monkeypatch):
    """How many forward passes run whole, noted as they come."""
    passes = []
    ask = ablation.ask
    monkeypatch.setattr(ablation, "ask", lambda *a: passes.append(1) or ask(*a))
    return passes


def test_batch_that_is_too_large_for_memory_decides_nothing(one, questions, monkeypatch, caplog):
    """The first batch runs out of memory in its replay: the next one still replays."""
    batch = prepare(one, questions.samples[:3], questions.opener, PROMPT)
    passes, enter = counted_passes(monkeypatch), ablation.enter

    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with evaluator(one, MASKS, PROMPT) as evaluate:
        monkeypatch.setattr(ablation, "enter", short)
        with pytest.raises(torch.OutOfMemoryError):
            evaluate(batch)
        monkeypatch.setattr(ablation, "enter", enter)
        passes.clear()
        evaluate(batch)
        evaluate(batch)
    assert len(passes) == 1  # the comparison of the first batch that fitted
    assert "whole forward passes" not in caplog.text


def test_parted_batches_are_compared_with_a_whole_pass_too(one, questions, monkeypatch, caplog):
    """That whole prompts replay rightly says nothing about prompts that share a beginning."""
    samples, size = questions.samples[:6], (333, 222)
    picture = questions.opener(samples[0].image).resize(size)
    shared = [replace(s, image={"path": "x"}, image_id="x") for s in samples]
    alone = prepare(one, samples[:3], questions.opener, PROMPT)
    parted = prepare(one, shared, lambda image: picture, PROMPT)
    passes = counted_passes(monkeypatch)
    with evaluator(one, MASKS, PROMPT) as evaluate:
        counts = []
        for batch in (alone, alone, parted, parted):
            evaluate(batch)
            counts.append(len(passes))
    assert counts == [1, 1, 2, 2]
    masks = replay.sharing.Shared.masks
    monkeypatch.setattr(replay.sharing.Shared, "masks", lambda self: [torch.ones_like(m) for m in masks(self)])
    with evaluator(one, MASKS, PROMPT) as evaluate:
        evaluate(alone)
        found = evaluate(parted)[0]
    assert "whole forward passes" in caplog.text
    with ablate(one.adapter, MASKS) as hooks:
        hooks.use(0)
        expected = answer(one, parted, PROMPT)
    assert [a.prediction for a in found] == [a.prediction for a in expected]
    np.testing.assert_allclose([a.logprobs for a in found], [a.logprobs for a in expected], atol=1e-5)
