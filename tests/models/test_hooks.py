import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models.hooks import ablate, record
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.types import NeuronMask, OwnMasks
from tests.models import families

PROMPT = Prompt(seed=5)
TINY = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0,
}  # fmt: skip


@pytest.fixture(params=["separate", "fused"])
def model(request):
    torch.manual_seed(0)
    if request.param == "fused":
        return Phi3ForCausalLM(Phi3Config(**TINY)).eval()
    return LlamaForCausalLM(LlamaConfig(**TINY)).eval()


def ids(*shape):
    return torch.randint(1, 50, shape, generator=torch.Generator().manual_seed(1))


def gates(model, inputs):
    """g of every layer in float64, computed from the input of each MLP: [layer, batch, token, neuron]."""
    seen = []
    handles = [layer.mlp.register_forward_pre_hook(lambda m, a: seen.append((m, a[0]))) for layer in model.model.layers]
    with torch.no_grad():
        model(inputs)
    for handle in handles:
        handle.remove()
    result = []
    for mlp, x in seen:
        weight = mlp.gate_up_proj.weight[:24] if hasattr(mlp, "gate_up_proj") else mlp.gate_proj.weight
        result.append(torch.nn.functional.silu(x.double() @ weight.double().T))
    return torch.stack(result).detach().numpy()


def test_sums_equal_a_naive_float64_reference(model):
    inputs = ids(4, 7)
    weights = torch.rand(4, 7, generator=torch.Generator().manual_seed(2)) > 0.4
    sums = {}
    for negative in (False, True):
        with record(model, negative) as recorder, torch.no_grad():
            recorder.start(weights)
            model(inputs)
            sums[negative] = recorder.collect()
    tokens, fired, positive_sum, negative_sum = sums[True]
    for one, other in zip(sums[False], sums[True][:3], strict=True):
        np.testing.assert_array_equal(one, other)
    g = gates(model, inputs)
    for b in range(4):
        assert tokens[b] == int(weights[b].sum())
        for layer in range(3):
            kept = g[layer, b][weights[b].numpy()]
            np.testing.assert_array_equal(fired[b, layer], (kept > 0).sum(axis=0))
            np.testing.assert_allclose(positive_sum[b, layer], np.maximum(kept, 0).sum(axis=0), rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(negative_sum[b, layer], np.minimum(kept, 0).sum(axis=0), rtol=1e-5, atol=1e-7)
    assert negative_sum.min() < 0
    assert fired.any()
    assert (fired < tokens[:, None, None]).any()


def test_bfloat16_activations_are_summed_in_float32(model):
    model = model.to(torch.bfloat16)
    inputs = ids(2, 40)
    with record(model, negative_sum=True) as recorder, torch.no_grad():
        recorder.start(torch.ones(2, 40, dtype=torch.bool))
        model(inputs)
        _, _, *sums = recorder.collect()
    assert len(sums) == 2
    for values in sums:
        assert values.dtype == np.float32
        assert not np.array_equal(values, torch.from_numpy(values).bfloat16().float().numpy())


def test_layer_that_never_fires_is_an_error(model):
    model.model.layers[1].mlp.forward = lambda x: x
    adapter_error = pytest.raises(ModelError, match=r"layers \[1\]")
    with record(adapter_of(model)) as recorder, torch.no_grad():
        recorder.start(torch.ones(1, 3, dtype=torch.bool))
        model(ids(1, 3))
        with adapter_error:
            recorder.collect()


def adapter_of(model):
    """The adapter without its check, as if a layer were bypassed only later."""
    from culture_neurons.models.adapters import Adapter

    name = "act_fn" if hasattr(model.model.layers[0].mlp, "act_fn") else "activation_fn"
    return Adapter("x", model.model.layers, [getattr(layer.mlp, name) for layer in model.model.layers], 24)


def test_two_forward_passes_without_collecting_are_an_error(model):
    with record(model) as recorder, torch.no_grad():
        recorder.start(torch.ones(1, 3, dtype=torch.bool))
        model(ids(1, 3))
        with pytest.raises(ModelError, match="ran twice"):
            model(ids(1, 3))


def test_forward_pass_without_start_and_weights_of_another_shape_are_errors(model):
    with record(model) as recorder, torch.no_grad():
        with pytest.raises(ModelError, match="without"):
            model(ids(1, 3))
        recorder.start(torch.ones(1, 4, dtype=torch.bool))
        with pytest.raises(ModelError, match="token weights"):
            model(ids(1, 3))


@pytest.mark.parametrize("context", [record, lambda model: ablate(model, [])], ids=["record", "ablate"])
def test_hooks_are_gone_after_an_error(model, context):
    with pytest.raises(ZeroDivisionError), context(model):
        raise ZeroDivisionError
    assert all(not module._forward_hooks for module in model.modules())


def masked_by_hand(model, inputs, layer, neurons):
    """The reference: the down projection's columns of the masked neurons set to zero."""
    weight = model.model.layers[layer].mlp.down_proj.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[:, neurons] = 0
        result = model(inputs).logits
        weight.copy_(kept)
    return result


def test_ablation_equals_zeroed_weights_and_leaves_the_model_as_it_was(model):
    inputs = ids(2, 5)
    with torch.no_grad():
        before = model(inputs).logits
    masks = [NeuronMask("a", "act_fn", [1, 1], [3, 20]), NeuronMask("b", "act_fn", [2], [0])]
    with ablate(model, masks) as ablation, torch.no_grad():
        for index, (layer, neurons) in enumerate([(1, [3, 20]), (2, [0])]):
            ablation.use(index)
            torch.testing.assert_close(model(inputs).logits, masked_by_hand(model, inputs, layer, neurons))
        ablation.use(None)
        assert torch.equal(model(inputs).logits, before)
        ablation.check()
    with torch.no_grad():
        assert torch.equal(model(inputs).logits, before)


def test_factor_scales_instead_of_zeroing(model):
    inputs = ids(1, 5)
    neurons = [3, 20]
    masks = [NeuronMask("a", "act_fn", [1, 1], neurons, factor) for factor in (1.0, 2.0, -0.5)]
    down = model.model.layers[1].mlp.down_proj.weight
    with torch.no_grad(), ablate(model, masks) as ablation:
        before = model(inputs).logits
        ablation.use(0)
        assert torch.equal(model(inputs).logits, before)
        for index, factor in ((1, 2.0), (2, -0.5)):
            ablation.use(index)
            masked = model(inputs).logits
            ablation.use(None)
            down[:, neurons] *= factor  # the same, by hand
            torch.testing.assert_close(masked, model(inputs).logits)
            down[:, neurons] /= factor
            assert not torch.allclose(masked, before)


def test_each_prompt_has_the_mask_of_its_own_culture(model):
    inputs = ids(4, 5)
    parts = [NeuronMask("a", "act_fn", [1, 1], [3, 20]), NeuronMask("b", "act_fn", [2, 1], [0, 5], 0.5)]
    cultures = ["b", "a", "none", "b"]
    with torch.no_grad(), ablate(model, [OwnMasks(parts), *parts]) as ablation:
        ablation.ask(cultures)
        ablation.use(0)
        masked = model(inputs).logits
        ablation.check()
        for row, culture in enumerate(cultures):
            ablation.use({"a": 1, "b": 2}.get(culture))
            torch.testing.assert_close(masked[row], model(inputs).logits[row])
        ablation.use(0)
        with pytest.raises(ModelError, match="masks for 4 prompts, but 2 pass"):
            model(inputs[:2])


def test_mask_for_another_model_is_refused(model):
    for layer, neuron in [(3, 0), (0, 24), (-1, 0)]:
        mask = NeuronMask("x", "act_fn", [layer], [neuron])
        with pytest.raises(ConfigError, match="another model"), ablate(model, [mask]):
            pass


def test_mask_that_was_not_applied_is_an_error(model):
    with ablate(model, [NeuronMask("x", "act_fn", [0], [0])]) as ablation:
        ablation.use(0)
        with pytest.raises(ModelError, match="not applied"):
            ablation.check()


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_masks_at_projections_scale_what_these_put_out(one, questions, factor):
    """Against a model whose rows of the weights are scaled."""
    batch = prepare(one, questions.samples[:3], questions.opener, PROMPT)
    chosen = {
        ("gate_proj", 1): [3, 40],
        ("up_proj", 0): [7],
        ("k_proj", 0): [1, 2],
        ("q_proj", 1): [5],
        ("v_proj", 1): [0],
    }
    rows = [(site, layer, unit) for (site, layer), units in chosen.items() for unit in units] + [("act_fn", 0, 7)]
    site, layer, unit = zip(*rows, strict=True)
    with ablate(one.adapter, [NeuronMask("a", np.array(site), layer, unit, factor)]) as ablation:
        ablation.use(0)
        masked = answer(one, batch, PROMPT)
        ablation.check()
        ablation.use(None)
        plain = answer(one, batch, PROMPT)
    kept = {}
    for (site, layer), units in chosen.items():
        part = one.adapter.layers[layer]
        module = getattr(part.mlp if site in ("gate_proj", "up_proj") else part.self_attn, site)
        kept[module] = module.weight.clone()
        module.weight[units] *= factor
    try:
        # g of neuron 7 in layer 0 multiplies what up_proj puts out there.
        down = one.adapter.layers[0].mlp.down_proj
        kept[down] = down.weight.clone()
        down.weight[:, 7] *= factor
        expected = answer(one, batch, PROMPT)
    finally:
        for module, weight in kept.items():
            module.weight.copy_(weight)
    np.testing.assert_allclose([a.logprobs for a in masked], [a.logprobs for a in expected], atol=1e-5)
    assert np.abs(np.subtract([a.logprobs for a in plain], [a.logprobs for a in expected])).max() > 1e-4


def test_masks_of_a_fused_projection_name_its_halves():
    model = Phi3ForCausalLM(Phi3Config(vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
                                       num_attention_heads=2, num_key_value_heads=1, pad_token_id=0))  # fmt: skip
    ids = torch.randint(1, 50, (2, 6), generator=torch.Generator().manual_seed(0))
    seen = {}
    layer = model.eval().model.layers[0]
    sites = np.array(["gate_proj", "up_proj", "q_proj", "k_proj", "v_proj"])
    with torch.no_grad(), ablate(model, [NeuronMask("a", sites, [0] * 5, [3, 5, 15, 0, 7])]) as ablation:
        for module in (layer.mlp.gate_up_proj, layer.self_attn.qkv_proj):  # called after the mask's own hooks
            module.register_forward_hook(lambda module, args, output: seen.update({module: output}))
        ablation.use(0)
        model(ids)
        ablation.check()
    outputs = {"mlp": seen[layer.mlp.gate_up_proj], "qkv": seen[layer.self_attn.qkv_proj]}
    zero = {name: set(np.flatnonzero((value == 0).all(dim=(0, 1)))) for name, value in outputs.items()}
    assert zero == {"mlp": {3, 24 + 5}, "qkv": {15, 16, 24 + 7}}


def test_mask_outside_a_projection_is_refused(one):
    with pytest.raises(ConfigError, match=r"neuron 16 is outside the model \(2 layers of 16 neurons at k_proj\)"):
        ablate(one.adapter, [NeuronMask("a", "k_proj", [0], [16])]).__enter__()


def test_a_plain_mlp_has_no_up_projection():
    """Its gate_proj is what the activation reads: without it, GPT-2's gelu gives nothing."""
    adapter = families.load("GPT2").adapter
    with pytest.raises(ConfigError, match=r"neuron 0 is outside the model \(3 layers of 0 neurons at up_proj\)"):
        ablate(adapter, [NeuronMask("a", "up_proj", [0], [0])]).__enter__()
    with ablate(adapter, [NeuronMask("a", "gate_proj", [0], [0])]) as ablation:
        assert adapter.layers[0].mlp.c_fc in [tap.module for tap in ablation.taps]
