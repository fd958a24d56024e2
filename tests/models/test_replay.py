import itertools
import logging

import accelerate
import numpy as np
import pytest
import torch

from culture_neurons.models import replay
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.forward import forward
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import answer, on_device
from culture_neurons.models.inputs import Prompt
from culture_neurons.models.replay import Replay
from culture_neurons.types import NeuronMask, OwnMasks
from tests.conftest import slow_but
from tests.models import families
from tests.models.families import LAYERS, NEURONS

PROMPT = Prompt()
HALF, ALL = np.arange(NEURONS // 2), np.arange(NEURONS)
MASKS = [
    NeuronMask("none", "act_fn", [], []),
    NeuronMask("everywhere", "act_fn", np.repeat(range(LAYERS), len(HALF)), np.tile(HALF, LAYERS)),
    NeuronMask("first", "act_fn", [0] * len(HALF), HALF),
    NeuronMask("twice", "act_fn", [1] * len(HALF), HALF, 2.0),  # all of them, and a norm behind the MLP undoes it
    NeuronMask("second", "act_fn", [1] * len(HALF), HALF),
    NeuronMask("last", "act_fn", [LAYERS - 1] * len(ALL), ALL),
    NeuronMask("last, a few", "act_fn", [LAYERS - 1] * 3, range(3)),
    OwnMasks([NeuronMask("c0", "act_fn", [1] * len(HALF), HALF), NeuronMask("c1", "act_fn", [2], [4], 3.0)]),
]
PROJECTED = [
    NeuronMask("up", "up_proj", [1] * len(ALL), ALL, -1.0),
    NeuronMask("gate", ["gate_proj"] * len(HALF) + ["act_fn"], [0] * len(HALF) + [2], [*HALF, 1]),
    *MASKS[:2],
]


def run_whole_passes(loaded, batch, masks=MASKS):
    """Answers of whole passes with the ordinary hooks, one mask after the other; and those of no hook at all."""
    masked = []
    with ablate(loaded.adapter, masks) as hooks:
        hooks.ask([sample.culture for sample in batch.samples])
        for i in range(len(masks)):
            hooks.use(i)
            masked.append(answer(loaded, batch, PROMPT))
    return masked, answer(loaded, batch, PROMPT)


DTYPES = [torch.float32, torch.bfloat16, torch.float16]
FAMILIES = [*families.TEXT, *families.EYES]


@pytest.mark.parametrize(
    ("name", "dtype"),
    # The dtypes take turns; every family in every dtype is slow.
    slow_but([(name, DTYPES[i % 3]) for i, name in enumerate(FAMILIES)], itertools.product(FAMILIES, DTYPES)),
)
def test_answers_under_masks_are_those_of_whole_passes_to_the_last_bit(name, dtype, caplog):
    caplog.set_level(logging.INFO)
    loaded = families.in_dtype(families.load(name), dtype)
    images = name in families.EYES
    if dtype == torch.float32:
        check(loaded, families.batch(loaded, images), PROJECTED, repeat=False)
    check(loaded, families.batch(loaded, images), MASKS, repeat=dtype == torch.float32)
    assert "can't be replayed" not in caplog.text  # whether less can be left out hangs on the processor


def check(loaded, batch, masks, repeat):
    """Answers under masks; `repeat`: also when replays are not compared any more, as in the first batch."""
    expected, baseline = run_whole_passes(loaded, batch, masks)
    with evaluator(loaded, masks, PROMPT) as evaluate:
        actual = evaluate(batch)
        assert not repeat or evaluate(batch) == actual
    assert actual == expected
    names = [getattr(mask, "culture", "own") for mask in masks]
    unchanged = {name for name, answers in zip(names, actual, strict=True) if answers == baseline}
    assert {"none"} <= unchanged <= {"none", "last, a few"}
    assert np.isfinite([a.logprobs for answers in actual for a in answers]).all()


@pytest.mark.parametrize("name", families.SHARING)
def test_layers_that_share_keys_and_values_run_whole_passes(name, caplog):
    loaded = families.load(name, **families.SHARING[name])
    batch = families.batch(loaded, images=False)
    expected, _ = run_whole_passes(loaded, batch)
    with evaluator(loaded, MASKS, PROMPT) as evaluate:
        assert evaluate(batch) == expected
        assert evaluate(batch) == expected
    assert caplog.text.count("can't be replayed (its layers share keys and values); every mask runs whole") == 1


def hooked(loaded, hook):
    """Its answers to one batch under masks, with a hook on the layer in the middle, and those of whole passes."""
    batch = families.batch(loaded, images=False)
    handle = loaded.adapter.layers[1].register_forward_pre_hook(hook)
    try:
        with evaluator(loaded, MASKS, PROMPT) as evaluate:
            actual = evaluate(batch)
        return actual, run_whole_passes(loaded, batch)[0]
    finally:
        handle.remove()


def test_layer_that_writes_into_what_is_kept_runs_whole_passes(caplog):
    actual, expected = hooked(families.load("Llama"), lambda module, args: (args[0].add_(0.5),))
    assert actual == expected
    assert "can't be replayed (under an empty mask, " in caplog.text


def test_layer_that_runs_twice_runs_whole_passes(caplog):
    loaded = families.load("Llama")
    first_layer = loaded.adapter.layers[0]

    def run(module, args):
        positions = torch.arange(args[0].shape[1])[None]
        return (first_layer(args[0], position_embeddings=loaded.model.model.rotary_emb(args[0], positions)),)

    actual, expected = hooked(loaded, run)
    assert actual == expected
    assert "of its layer 0 don't run once each); every mask runs whole" in caplog.text


def test_model_for_which_less_can_be_left_out_is_replayed_all_the_same(monkeypatch, caplog):
    loaded = families.load("Llama")
    batch = families.batch(loaded, images=False)
    expected, _ = run_whole_passes(loaded, batch)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(replay, "with_additive_mask", lambda decoder, *_: [(decoder, lambda **_: 0 / decoder)])
    with evaluator(loaded, MASKS, PROMPT) as evaluate:
        assert evaluate(batch) == expected
        assert evaluate(batch) == expected
    assert caplog.text.count("Llama: replays leave out layers alone (TypeError: ") == 1
    assert "whole forward passes" not in caplog.text


@pytest.mark.parametrize("name", ["Phi3", "Gemma2", "Qwen3VL"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_replay_from_every_layer_gives_the_logits_of_a_whole_pass(name, dtype):
    loaded = families.in_dtype(families.load(name), dtype)
    inputs = on_device(loaded, families.batch(loaded, images=name in families.EYES))
    with torch.inference_mode():
        expected = forward(loaded, inputs).logits[:, -1:]
        passes = Replay(loaded, inputs)
        for layer in range(LAYERS):
            passes.advance(layer)
            assert all(torch.equal(passes.logits(only), expected) for only in (True, True, False))
    assert not any("forward" in vars(module) for module in loaded.model.modules())


def test_skipped_layers_do_not_run():
    loaded = families.load("Mistral")
    runs = []
    for layer in range(LAYERS):
        mlp = loaded.adapter.mlps[layer]
        mlp.down_proj.register_forward_pre_hook(lambda module, args, layer=layer: runs.append(layer))
    with torch.inference_mode():
        passes = Replay(loaded, families.batch(loaded, images=False).inputs)
        passes.advance(2)
        assert runs == [0, 1]
        passes.logits()
        passes.logits()
    assert runs == [0, 1, 2, 2]


def test_weights_on_disk_are_replayed(tmp_path, caplog):
    """accelerate has functions of its own in the place of forward."""
    loaded = families.load("Llama")
    batch = families.batch(loaded, images=False)
    expected, _ = run_whole_passes(loaded, batch)
    where = dict.fromkeys(["model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"], "cpu")
    where |= {f"model.layers.{i}": "disk" for i in range(LAYERS)}
    accelerate.dispatch_model(loaded.model, where, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True)
    assert next(loaded.adapter.layers[0].parameters()).device.type == "meta"
    with evaluator(loaded, MASKS, PROMPT) as evaluate:
        assert evaluate(batch) == expected
    assert "whole forward passes" not in caplog.text


@pytest.mark.parametrize(("name", "left_out"), [("NemotronH", True), ("NemotronH ends without", False)])
def test_no_position_is_left_out_where_a_layer_without_mlp_comes_last(name, left_out):
    """It reads them all."""
    loaded = families.load(name)
    passes = Replay(loaded, families.batch(loaded, images=False).inputs)
    assert bool(passes._tail) == left_out
