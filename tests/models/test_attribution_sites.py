"""Attributions of models whose layers differ, against activations and gradients kept by hand."""

import numpy as np
import pytest
import torch

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models import projection_checks
from culture_neurons.models.attribution import attribute, attributor
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inputs import Batch
from culture_neurons.models.projections import ATTENTION
from culture_neurons.types import NeuronMask
from tests.models import families, site_models

# Mllama's vision tower calls its own layers by a name that this version of transformers gives up.
pytestmark = pytest.mark.filterwarnings("ignore:`hidden_state` is deprecated:FutureWarning")
SITES = ("gate_proj", *ATTENTION)
CASES = [(name, False) for name in site_models.MODELS] + [("mllama", True)]


@pytest.fixture(scope="module")
def model():
    """name -> a model of `site_models`, made once."""
    made = {}
    return lambda name: made.setdefault(name, site_models.load(name))


def one_of(batch, i):
    """One question of a batch, without its padding."""
    own = batch.inputs["attention_mask"][i].bool()
    inputs = {}
    for name, value in batch.inputs.items():
        inputs[name] = value[i : i + 1]
        if value.shape[1] == len(own) and name != "pixel_values":
            inputs[name] = inputs[name][:, own]
    return Batch(batch.questions[i : i + 1], inputs, None, ())


def naive(loaded, batch):
    """P(y) of one question, and {(site, layer): s_u}: all that projections put out is kept with its gradient."""
    kept, handles = {}, []

    def keep(module, args, output):
        if output.requires_grad:
            output.retain_grad()
        else:
            output.requires_grad_()
        kept[module] = output

    modules = {
        module for layer in loaded.adapter.layers for module, _ in site_models.by_hand(loaded.name, layer).values()
    }
    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        with torch.enable_grad():
            logits = loaded.model(**batch.inputs, use_cache=False).logits[0, -1]
            p = torch.softmax(logits.float(), dim=0)[10 + batch.questions[0].sample.label]
            p.backward()
    finally:
        for handle in handles:
            handle.remove()
    scores = {}
    for i, layer in enumerate(loaded.adapter.layers):
        for site, (module, units) in site_models.by_hand(loaded.name, layer).items():
            scores[site, i] = torch.zeros(len(units))
            if module in kept:
                product = (kept[module] * kept[module].grad).detach().flatten(0, -2)
                scores[site, i] = p.detach() * torch.stack([product[:, u].max() for u in units])
    return float(p.detach()), scores


@pytest.mark.parametrize(("name", "images"), CASES)
def test_attributions_equal_those_by_hand(model, name, images):
    loaded, batch = model(name), site_models.batch(images=images)
    with attributor(loaded, SITES) as hooks:
        p, scores = attribute(loaded, batch, hooks)
    for i in range(len(batch.questions)):
        expected_p, expected = naive(loaded, one_of(batch, i))
        assert p[i] == pytest.approx(expected_p, rel=1e-5)
        biggest = max(float(values.abs().max()) for values in expected.values())
        for site, values in scores.items():
            for layer in range(loaded.adapter.n_layers):
                units = expected.get((site, layer), torch.zeros(0)).numpy()
                np.testing.assert_allclose(values[i, layer, : len(units)], units, atol=1e-5 * biggest, rtol=1e-4)
                assert np.isnan(values[i, layer, len(units) :]).all()
        nonzero = [bool((values != 0).any()) for values in expected.values()]
        # Without an image, a layer of cross-attention does not run.
        assert sum(nonzero) == len(nonzero) - 2 * (name == "mllama" and not images)


def test_padding_whose_states_are_zero_gives_no_gradient():
    """Gemma 3n takes the root of states' lengths behind its last layer: at 0, its slope is infinite."""
    loaded = families.load("Gemma3nText", **families.SHARING["Gemma3nText"])
    batch = families.batch(loaded, images=False)
    assert not loaded.model.get_input_embeddings().weight[0].any()
    with attributor(loaded, ["gate_proj"]) as hooks:
        _, together = attribute(loaded, batch, hooks)
        for i in range(len(batch.questions)):
            _, alone = attribute(loaded, one_of(batch, i), hooks)
            biggest = np.abs(alone["gate_proj"]).max()
            np.testing.assert_allclose(together["gate_proj"][i], alone["gate_proj"][0], atol=1e-4 * biggest)


def test_layers_that_give_a_list_are_attributed():
    """GPT-1's."""
    loaded = families.load("OpenAIGPT")
    batch = families.batch(loaded, images=False)
    with attributor(loaded, ["gate_proj"]) as hooks:
        _, scores = attribute(loaded, batch, hooks)
    assert np.isfinite(scores["gate_proj"]).all()
    assert scores["gate_proj"].any()


@pytest.mark.parametrize(("name", "images"), CASES)
def test_masks_act_where_units_were_attributed(model, name, images):
    """The same units, set to zero by hand."""
    loaded, batch = model(name), site_models.batch(images=images)
    rng = np.random.default_rng(0)
    rows, by_module = [], {}
    for layer, module in enumerate(loaded.adapter.layers):
        if name == "mllama" and not images and hasattr(module, "cross_attn"):
            continue
        for site, (projection, units) in site_models.by_hand(name, module).items():
            chosen = rng.choice(len(units), 3, replace=False)
            rows += [(site, layer, int(unit)) for unit in chosen]
            by_module.setdefault(projection, []).extend(units[unit] for unit in chosen)
    site, layer, neuron = map(np.array, zip(*rows, strict=True))

    def zero(module, args, output):
        output = output.clone()
        output[..., by_module[module]] = 0
        return output

    handles = [module.register_forward_hook(zero) for module in by_module]
    expected = loaded.model(**batch.inputs, use_cache=False).logits
    for handle in handles:
        handle.remove()
    plain = loaded.model(**batch.inputs, use_cache=False).logits
    with ablate(loaded.adapter, [NeuronMask("x", site, layer, neuron)]) as ablation:
        ablation.use(0)
        found = loaded.model(**batch.inputs, use_cache=False).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not torch.allclose(found, plain, atol=1e-3)


def test_a_mask_of_units_that_a_layer_does_not_have_is_refused(model):
    loaded = model("gemma4")
    for layer, neuron in ((1, 0), (0, 16)):
        mask = NeuronMask("x", "v_proj", [layer], [neuron])
        message = rf"layer {layer}, neuron {neuron} is outside the model \(4 layers of 0 or 16 neurons at v_proj\)"
        with pytest.raises(ConfigError, match=message), ablate(loaded.adapter, [mask]):
            pass


def test_sites_in_no_layer_are_empty(model, monkeypatch):
    loaded = model("gemma4")
    attentions = [layer.self_attn for layer in loaded.adapter.layers]
    modules = [attention._modules.pop("v_proj", None) for attention in attentions]
    try:
        with attributor(loaded, ["k_proj", "v_proj"]) as hooks:
            assert {site: zeros.shape for site, zeros in hooks.zeros(2).items()} == {
                "k_proj": (2, 4, 16), "v_proj": (2, 4, 0),
            }  # fmt: skip
            assert hooks.present["k_proj"].sum(axis=1).tolist() == [16, 16, 16, 0]
    finally:
        for attention, module in zip(attentions, modules, strict=True):
            attention._modules["v_proj"] = module


def test_a_layer_that_runs_without_its_projection_is_noticed(model, monkeypatch):
    loaded = model("gemma4")
    attention = loaded.adapter.layers[2].self_attn
    monkeypatch.setattr(attention, "forward", lambda hidden_states, *_, **__: (hidden_states, None))
    with (
        pytest.raises(ModelError, match="no gradient came from q_proj of layer 2"),
        attributor(loaded, ["q_proj"]) as hooks,
    ):
        attribute(loaded, site_models.batch(), hooks)


def test_what_does_not_act_as_a_key_is_not_attributed(model, monkeypatch):
    monkeypatch.setattr(projection_checks, "_strange", lambda loaded, by_layer: [1])
    with attributor(model("phi3"), SITES) as hooks:
        assert {site: present.sum(axis=1).tolist() for site, present in hooks.present.items()} == {
            "gate_proj": [24, 24], "q_proj": [64, 0], "k_proj": [16, 0], "v_proj": [16, 0],
        }  # fmt: skip
