"""Routed experts are found by numbers; recorded for the tokens that reach them, and ablated, against float64 loops."""

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers.models.mixtral.modeling_mixtral import MixtralExperts, MixtralSparseMoeBlock

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models import experts
from culture_neurons.models.adapters import adapt
from culture_neurons.models.hooks import ablate, record
from culture_neurons.types import NeuronMask, OwnMasks
from tests.families.experts import Experts as Reference
from tests.families.experts import experts_of, neurons, output

TINY = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 10}


def build(name="Mixtral", seed=0, **options):
    torch.manual_seed(seed)
    config = getattr(transformers, f"{name}Config")(**TINY | {"num_local_experts": 4} | options)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval().requires_grad_(False)
    for parameter in model.parameters():  # the usual weights are so small that nothing depends on the tokens
        parameter.mul_(4 if parameter.ndim > 1 else 1)
    return model


#: Experts in every layer; in one of three, with a shared one beside them.
MODELS = {
    "all": ("Mixtral", {}, (96, 96, 96), (4, 4, 4)),
    "some": ("Qwen2Moe", MOE | {"mlp_only_layers": [0, 2], "shared_expert_intermediate_size": 6}, (24, 40, 24),
             (0, 4, 0)),
}  # fmt: skip


@pytest.fixture(params=MODELS)
def case(request):
    name, options, *sizes = MODELS[request.param]
    return build(name, **options), *sizes


def ids(*shape):
    return torch.randint(3, 50, shape, generator=torch.Generator().manual_seed(1))


def run(model, given, **more):
    with torch.no_grad():
        return model(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False, **more).logits


def test_calls_are_those_of_the_loop_of_the_library():
    index = torch.tensor([[2, 0], [0, 5], [3, 2], [2, 3]])
    mask, expected = nn.functional.one_hot(index, 6).permute(2, 1, 0), []
    for expert in mask.sum(dim=(-1, -2)).nonzero()[:, 0].tolist():
        expected.append((expert, torch.where(mask[expert])[1].tolist()))
    expected = [call for call in expected if call[0] < 5]  # 5 stands for no expert
    assert [(expert, tokens.tolist()) for expert, tokens in experts.calls(index, 5)] == expected
    assert expected[1] == (2, [0, 3, 2])


def test_experts_are_found_beside_dense_layers(case):
    model, widths, counts = case
    adapter = adapt(model)
    assert (adapter.widths, adapter.n_neurons) == (widths, max(widths))
    assert adapter.expert_axis.counts == counts
    assert adapter.unseen == (() if 0 not in counts else ("mlp.shared_expert",))
    assert model.config._experts_implementation == "eager"


def reference(model, given):
    """g, float64 [layer, token, neuron], and which experts tokens reach [layer with experts, token, expert]."""
    seen = {}
    layers = list(model.model.layers)
    routed = {i: experts_of(layer) for i, layer in enumerate(layers) if hasattr(layer.mlp, "experts")}
    modules = {i: routed[i].module if i in routed else layer.mlp for i, layer in enumerate(layers)}
    handles = [m.register_forward_pre_hook(lambda m, args, i=i: seen.__setitem__(i, args)) for i, m in modules.items()]
    run(model, given)
    for handle in handles:
        handle.remove()
    g, reached = [], []
    for i, module in modules.items():
        if i in routed:
            values, reaches = neurons(routed[i], *seen[i][:2])
            g.append(values.double())
            reached.append(reaches)
        else:
            x = seen[i][0].double().flatten(0, 1)
            g.append(nn.functional.silu(x @ module.gate_proj.weight.double().T))
    return g, reached


def test_sums_and_tokens_equal_a_naive_reference(case):
    model, widths, counts = case
    given = ids(4, 7)
    weights = torch.rand(4, 7, generator=torch.Generator().manual_seed(2)) > 0.4
    with record(model, negative_sum=True) as recorder, torch.no_grad():
        recorder.start(weights)
        run(model, given)
        tokens, fired, positive, negative = recorder.collect()
    g, reached = reference(model, given)
    assert tokens.shape == (4, 1 + sum(counts))
    assert fired.shape == (4, 3, max(widths))
    for b in range(4):
        rows = (torch.arange(28) // 7 == b) & weights.flatten()
        assert tokens[b].tolist() == [int(weights[b].sum()), *(n for r in reached for n in r[rows].sum(dim=0).tolist())]
        for layer, values in enumerate(g):
            n, mine = widths[layer], values[rows]
            np.testing.assert_array_equal(fired[b, layer, :n], (mine > 0).sum(dim=0))
            np.testing.assert_allclose(positive[b, layer, :n], mine.clamp_min(0).sum(dim=0), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(negative[b, layer, :n], mine.clamp_max(0).sum(dim=0), rtol=1e-5, atol=1e-6)
            assert not fired[b, layer, n:].any()


def test_each_prompt_loses_the_neurons_of_its_own_mask(case):
    model, widths, _ = case
    masks = [
        NeuronMask(name, "act_fn", np.repeat([0, 1], 12), np.r_[start:24:2, start : widths[1] : widths[1] // 12][:24])
        for name, start in (("a", 0), ("b", 1))
    ]
    given = ids(3, 6)
    with ablate(model, [OwnMasks(masks), masks[1], NeuronMask("none", "act_fn", [], [])]) as ablation:
        ablation.ask(["b", "a", "of no mask"])
        results = []
        for i in range(3):
            ablation.use(i)
            results.append(run(model, given))
            ablation.check()
    plain = run(model, given)
    expected = {"": plain}
    for mask in masks:
        changed = build(MODELS["all" if widths[0] == 96 else "some"][0],
                        **MODELS["all" if widths[0] == 96 else "some"][1])  # fmt: skip
        adapt(changed)
        for layer, neuron in zip(mask.layer, mask.neuron, strict=True):
            mlp = changed.model.layers[layer].mlp
            if hasattr(mlp, "experts"):
                m = mlp.experts.down_proj.shape[2]
                mlp.experts.down_proj[neuron // m, :, neuron % m] = 0
            else:
                mlp.down_proj.weight[:, neuron] = 0
        expected[mask.culture] = run(changed, given)
    for row, name in enumerate(["b", "a", ""]):
        torch.testing.assert_close(results[0][row], expected[name][row], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[1], expected["b"], rtol=1e-4, atol=1e-5)
    assert torch.equal(results[2], plain)
    assert float((expected["a"] - plain).abs().max()) > 1e-2


def test_a_mask_outside_of_a_narrow_layer_is_refused():
    name, options, *_ = MODELS["some"]
    model = build(name, **options)
    with pytest.raises(ConfigError, match="layer 0, neuron 24 is outside the model"), \
            ablate(model, [NeuronMask("a", "act_fn", [1, 0], [24, 24])]):  # fmt: skip
        pass


class Experts(nn.Module):
    """Experts in another way than Mixtral's: what differs is `way`."""

    def __init__(self, way="", plain=False, hidden=16, width=10):
        super().__init__()
        torch.manual_seed(0)
        self.some = nn.Parameter(torch.randn(5, width * (1 if plain else 2), hidden))
        self.other = nn.Parameter(torch.randn(5, hidden, width))
        self.function = nn.SiLU()
        self.way, self.plain = way, plain

    def forward(self, x, index, p):
        result, pairs = torch.zeros_like(x), torch.nn.functional.one_hot(index, 5).permute(2, 1, 0)
        for expert in range(5):
            place, token = torch.where(pairs[expert])
            if self.way == "by token":
                token, place = torch.where(pairs[expert].T)
            if not len(token) and self.way != "all run":
                continue
            a = nn.functional.linear(x[token], self.some[expert])
            gate, up = (a, 1) if self.plain else a.chunk(2, dim=-1)
            if self.way == "up first":
                gate, up = up, gate
            g = self.function(gate)
            h = g * (up + 1) if self.way == "plus one" else g * up
            h = nn.functional.normalize(h) if self.way == "norm" else h
            result.index_add_(0, token, nn.functional.linear(h, self.other[expert]) * p[token, place, None])
        return result


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("way", ["", "up first"])
def test_experts_are_told_by_their_numbers_under_any_name(way, plain):
    layer = nn.ModuleDict({"block": nn.ModuleDict({"bank": Experts("" if plain else way, plain)})})
    found = experts.find(layer)
    assert (found.name, found.activation, found.count, found.width) == ("block.bank", "function", 5, 10)


@pytest.mark.parametrize(
    ("way", "why"),
    [("by token", "does not compute"), ("norm", "does not compute"), ("plus one", "does not compute"),
     ("all run", "don't run one after the other")],
)  # fmt: skip
def test_experts_that_compute_something_else_are_none(way, why):
    assert why in experts.find(nn.ModuleDict({"bank": Experts(way)}))


def test_the_reference_computes_what_the_module_does():
    module = Experts()
    x, p = torch.randn(7, 16), torch.rand(7, 2)
    index = torch.tensor([[0, 3], [4, 0], [1, 3], [3, 0], [2, 4], [0, 1], [1, 2]])
    given = Reference(module, module.some, module.other, module.function)
    torch.testing.assert_close(output(given, x, index, p), module(x, index, p), rtol=1e-4, atol=1e-4)


def test_experts_with_a_second_bank_beside_them_are_refused():
    model = build()
    model.model.layers[1].bank = nn.ParameterList([nn.Parameter(torch.zeros(4, 16, 8))])
    with pytest.raises(ModelError, match=r"layer 1 holds experts: bank\.0, of shape 4 x 16 x 8\nthese stand beside"):
        adapt(model)


def test_tokens_in_another_order_than_sample_by_sample_are_refused(monkeypatch):
    def forward(self, hidden):
        flat = hidden.transpose(0, 1).reshape(-1, hidden.shape[-1])
        _, p, index = self.gate(flat)
        return self.experts(flat, index, p).view(hidden.shape[1], hidden.shape[0], -1).transpose(0, 1)

    model = build()
    adapt(model)
    monkeypatch.setattr(MixtralSparseMoeBlock, "forward", forward)
    with pytest.raises(ModelError, match="experts of layer 0 read tokens in an unknown order"):
        adapt(model)


def test_experts_that_run_in_another_way_later_are_an_error():
    model = build()
    adapter = adapt(model)
    model.set_experts_implementation("batched_mm")
    with record(adapter) as recorder:
        recorder.start(torch.ones(1, 5, dtype=torch.bool))
        with pytest.raises(ModelError, match="don't run one after the other"):
            run(model, ids(1, 5))


def test_experts_of_another_batch_than_announced_are_an_error():
    model = build()
    with record(model) as recorder:
        recorder.start(torch.ones(2, 5, dtype=torch.bool))
        with pytest.raises(ModelError, match="experts read 5 tokens; expected all of"):
            run(model, ids(1, 5))
    with ablate(model, [OwnMasks([NeuronMask("a", "act_fn", [0], [0])])]) as ablation:
        ablation.ask(["a", "a"])
        ablation.use(0)
        with pytest.raises(ModelError, match="masks for 2 prompts, but 5 tokens reach the experts"):
            run(model, ids(1, 5))


def test_hooks_leave_nothing_behind():
    model = build()
    adapter, before = adapt(model), run(model, ids(2, 5))
    with record(adapter), ablate(adapter, [NeuronMask("a", "act_fn", [0], [0])]):
        pass
    assert torch.equal(run(model, ids(2, 5)), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules() if isinstance(m, MixtralExperts))
