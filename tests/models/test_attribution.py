"""Attributions against a loop over single units of single samples, in float64."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models.attribution import Attributor, attribute, attributor
from culture_neurons.models.inference import reader_of
from culture_neurons.models.inputs import Batch, Prompt, prepare
from culture_neurons.models.loading import Loaded, load
from culture_neurons.models.projections import Projection, projections
from culture_neurons.types import PROJECTIONS, Sample
from tests.conftest import slow_but
from tests.models.conftest import TEXT, language_model

PROMPT = Prompt(seed=5)
SAMPLES = [
    Sample("a", "x", "t", "What do people eat first?", ("rice", "bread", "soup", "figs"), 1),
    Sample("b", "y", "t", "Where?", ("here", "there"), 0),
    Sample("c", "x", "t", "Which of these is a drink that guests get on the second day?", ("tea", "milk", "salt"), 2),
]


@pytest.fixture(params=TEXT)
def text_model(request, one) -> Loaded:
    """An untrained language model in float64."""
    return language_model(request.param, one.tokenizer, torch.float64)


def place(loaded, site, layer):
    """The module of a site and the unit with which it begins, written down by hand."""
    module = loaded.adapter.layers[layer]
    if loaded.name in ("phi3", "glm4") and site in ("gate_proj", "up_proj"):
        return module.mlp.gate_up_proj, 0 if site == "gate_proj" else 40
    if loaded.name == "phi3":
        return module.self_attn.qkv_proj, {"q_proj": 0, "k_proj": 24, "v_proj": 36}[site]
    return getattr(module.mlp if site in ("gate_proj", "up_proj") else module.self_attn, site), 0


def naive(loaded, sample, opener, site, layer, unit):
    """One sample, one unit: a number is added to what it puts out at each token, and the gradient is with respect to
    these numbers."""
    batch = prepare(loaded, [sample], opener, PROMPT)
    module, start = place(loaded, site, layer)
    tokens = batch.inputs["input_ids"].shape[1]
    added, seen = torch.zeros(tokens, dtype=torch.float64, requires_grad=True), []

    def add(module, args, output):
        seen.append(output[0, :, start + unit].detach().clone())
        one_hot = torch.zeros(output.shape[-1], dtype=torch.float64)
        one_hot[start + unit] = 1
        return output + added[None, :, None] * one_hot

    handle = module.register_forward_hook(add)
    try:
        inputs = {k: v.double() if v.is_floating_point() else v for k, v in batch.inputs.items()}
        logits = loaded.model(**inputs, use_cache=False).logits[0, -1]
    finally:
        handle.remove()
    ids = reader_of(loaded, batch).tokens[batch.orders[0].index(sample.label)]
    p = torch.softmax(logits, dim=0)[ids].sum()
    (gradient,) = torch.autograd.grad(p, added)
    return p.item() * float((seen[0] * gradient).max())


def attributed(loaded, samples, opener, batch_size, sites=PROJECTIONS):
    """By sample id: P(y) and the attributions by site."""
    by_sample = {}
    with attributor(loaded, sites) as hooks:
        for start in range(0, len(samples), batch_size):
            batch = prepare(loaded, samples[start : start + batch_size], opener, PROMPT)
            p, scores = attribute(loaded, batch, hooks)
            for i, sample in enumerate(batch.samples):
                by_sample[sample.sample_id] = float(p[i]), {site: values[i] for site, values in scores.items()}
    return by_sample


def assert_equals_the_loop(loaded, samples, opener, batch_size):
    by_sample, rng, some = attributed(loaded, samples, opener, batch_size), np.random.default_rng(0), []
    for sample in samples:
        for site, values in by_sample[sample.sample_id][1].items():
            assert values.dtype == np.float64
            for layer in range(len(values)):
                for unit in rng.choice(values.shape[1], 3, replace=False):
                    expected = naive(loaded, sample, opener, site, layer, int(unit))
                    assert values[layer, unit] == pytest.approx(expected, rel=1e-6, abs=1e-18), (site, layer, unit)
                    some.append(expected)
    # In the last layer only the last token matters, and a product there may be negative: the maximum then is 0.
    assert np.mean(np.abs(some) > 1e-12) > 0.6


@pytest.mark.parametrize("text_model", slow_but(["phi3", "gemma3"], TEXT), indirect=True)
def test_attributions_equal_a_loop_over_units_of_language_models(text_model):
    assert_equals_the_loop(text_model, SAMPLES, lambda image: None, 3)


def test_attributions_equal_a_loop_over_units_with_images(loaded, questions):
    double = Loaded(loaded.name, loaded.model.double(), loaded.processor, loaded.adapter, "r", "float64")
    try:
        assert_equals_the_loop(double, questions.samples[:2], questions.opener, 2)
    finally:
        loaded.model.float()


def test_neither_batches_nor_their_order_change_attributions(one, questions):
    samples = questions.samples[:7]
    alone = attributed(one, samples, questions.opener, 1)
    for other in (samples, samples[::-1]):
        for sample_id, (p, scores) in attributed(one, other, questions.opener, 4).items():
            assert p == pytest.approx(alone[sample_id][0], rel=1e-4)
            for site, values in scores.items():
                scale = np.abs(alone[sample_id][1][site]).max()
                np.testing.assert_allclose(values, alone[sample_id][1][site], atol=1e-4 * scale)


def test_the_padding_side_of_a_tokenizer_changes_nothing(folders, questions, tmp_path):
    """Batches are padded on the left, whatever the folder says: there the answer stands at the last position."""
    by_side = {}
    for side in ("left", "right"):
        folder = Path(shutil.copytree(folders["llava-next-qwen2"], tmp_path / side))
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"padding_side": side}), encoding="utf-8")
        assert PreTrainedTokenizerFast.from_pretrained(folder).padding_side == side
        loaded = load({"name": side, "path": str(folder)})
        by_side[side] = attributed(loaded, questions.samples[:4], questions.opener, 4)
    for sample_id, (p, scores) in by_side["left"].items():
        assert by_side["right"][sample_id][0] == p
        for site, values in scores.items():
            np.testing.assert_array_equal(by_side["right"][sample_id][1][site], values)


def test_padding_is_no_part_of_the_maximum():
    """A unit whose products are all negative keeps its negative maximum, however long the others' prompts are."""
    module = torch.nn.Linear(3, 2)
    hooks = Attributor({"gate_proj": (Projection(module, 0, 2),)})
    a, gradient = torch.randn(2, 2, 5, 2, generator=torch.Generator().manual_seed(0)).unbind()
    counts = torch.tensor([[False, False, True, True, True], [True] * 5])
    a[0, :2] = 0
    gradient[0, 2:] = -a[0, 2:]
    hooks.start(counts)
    expected = (a * gradient)[0, 2:].max(dim=0).values
    assert (expected < 0).all()
    for flat in (False, True):  # OPT's MLP puts out all tokens of a batch in one row
        given = (values.flatten(0, 1) if flat else values for values in (a, gradient))
        hooks._score([("gate_proj", 0, Projection(module, 0, 2))], *given)
        torch.testing.assert_close(hooks._scores.pop(("gate_proj", 0))[0], expected)


def test_widths_and_fused_projections(text_model):
    by_site = projections(text_model.adapter, PROJECTIONS)
    assert {site: {p.width for p in of_site} for site, of_site in by_site.items()} == {
        "gate_proj": {40}, "up_proj": {40}, "q_proj": {24}, "k_proj": {12}, "v_proj": {12},
    }  # fmt: skip
    for site, of_site in by_site.items():
        for layer, projection in enumerate(of_site):
            module, start = place(text_model, site, layer)
            assert (projection.module, projection.start) == (module, start)


def test_the_model_is_left_as_it_was(one, questions):
    batch = prepare(one, questions.samples[:2], questions.opener, PROMPT)
    before = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in one.model.modules())
    with attributor(one, ["gate_proj"]) as hooks:
        attribute(one, batch, hooks)
    wrong = Batch(batch.questions, batch.inputs | {"input_ids": batch.inputs["input_ids"][:, :-1]})
    with pytest.raises((RuntimeError, ValueError)), attributor(one, ["gate_proj"]) as hooks:
        attribute(one, wrong, hooks)
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in one.model.modules()) == before
    assert all(parameter.grad is None for parameter in one.model.parameters())


def test_module_that_is_passed_by_is_noticed(one, questions, monkeypatch):
    attention = one.adapter.layers[1].self_attn
    monkeypatch.setattr(attention, "forward", lambda hidden_states, **_: (hidden_states, None))
    batch = prepare(one, questions.samples[:2], questions.opener, PROMPT)
    with (
        pytest.raises(ModelError, match="no gradient came from v_proj of layer 1"),
        attributor(one, ["v_proj"]) as hooks,
    ):
        attribute(one, batch, hooks)


def test_numbers_that_are_not_finite_name_the_sample(one, questions):
    batch = prepare(one, questions.samples[:3], questions.opener, PROMPT)
    weight = one.adapter.layers[1].mlp.down_proj.weight
    kept = weight[0, 0].item()
    weight[0, 0] = float("nan")
    try:
        with (
            pytest.raises(
                ModelError, match=r"the attributions of sample 'synthetic-00000' are not finite\ndecoder layer 1"
            ),
            attributor(one, ["gate_proj"]) as hooks,
        ):
            attribute(one, batch, hooks)
    finally:
        weight[0, 0] = kept


def test_unknown_sites_are_refused(one):
    with pytest.raises(ConfigError, match="gate_proj"), attributor(one, ["gate_prj"]):
        pass
