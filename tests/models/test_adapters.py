import re

import accelerate
import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM, Phi3Config, Phi3ForCausalLM

from culture_neurons.errors import ModelError
from culture_neurons.models import adapters
from culture_neurons.models.adapters import adapt
from culture_neurons.models.attribution import attribute, attributor
from culture_neurons.models.hooks import ablate, record
from culture_neurons.models.recording import activation_sums
from culture_neurons.models.replay import Replay
from culture_neurons.types import NeuronMask
from tests.models import families

TINY = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0,
}  # fmt: skip


def test_decoder_of_each_architecture_is_found_and_not_its_vision_tower(loaded):
    adapter = loaded.adapter
    assert (adapter.n_layers, adapter.n_neurons) == (2, 48)
    decoder = loaded.model.model.language_model
    assert [id(layer) for layer in adapter.layers] == [id(layer) for layer in decoder.layers]


@pytest.mark.parametrize(
    ("config", "model"), [(LlamaConfig, LlamaForCausalLM), (Phi3Config, Phi3ForCausalLM)], ids=["separate", "fused"]
)
def test_unlisted_model_with_gated_mlps_is_recognised_by_structure(config, model):
    adapter = adapt(model(config(**TINY)))
    assert (adapter.n_layers, adapter.n_neurons) == (3, 24)


def test_messages_call_layers_by_their_place_in_the_decoder(monkeypatch):
    """NemotronH's layers with an MLP are the decoder's second, fourth and sixth; the fourth passes its MLP by."""
    loaded = families.load("NemotronH")
    batch = families.batch(loaded, images=False)
    assert loaded.adapter.numbers == [1, 3, 5]
    monkeypatch.setattr(loaded.adapter.decoder_layers[3].mixer, "forward", lambda x: x)
    with pytest.raises(ModelError, match="from gate_proj of layer 3:"), attributor(loaded, ["gate_proj"]) as hooks:
        attribute(loaded, batch, hooks)
    with record(loaded.adapter) as recorder, pytest.raises(ModelError, match=r"no activations came from layers \[3\]:"):
        activation_sums(loaded, batch, "all", recorder)
    replay = Replay(loaded, batch.inputs)
    with torch.no_grad():
        replay.logits()
        replay.advance(1)
        with pytest.raises(ModelError, match="activation of its layer 3 don't run once"):
            replay.logits()


def test_fused_projection_with_the_halves_swapped_is_accepted():
    model = Phi3ForCausalLM(Phi3Config(**TINY))

    def forward(self, x):
        up, gate = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(up * self.activation_fn(gate))

    for layer in model.model.layers:
        layer.mlp.forward = forward.__get__(layer.mlp)
    assert adapt(model).n_neurons == 24


def recorded_and_masked(model, adapter):
    """T, K and S of some tokens, and their logits under a mask."""
    ids = torch.randint(1, 50, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = NeuronMask("a", "act_fn", [1] * 12, range(12))
    with torch.no_grad(), record(adapter) as recorder, ablate(adapter, [mask]) as ablation:
        recorder.start(torch.ones(2, 7, dtype=torch.bool))
        model(ids)
        sums = recorder.collect()
        recorder.start(torch.ones(2, 7, dtype=torch.bool))
        ablation.use(0)
        masked = model(ids).logits.numpy()
        ablation.check()
    return *sums, masked


@pytest.mark.parametrize("up_first", [False, True])
def test_function_of_half_a_fused_projection_is_recorded(up_first):
    torch.manual_seed(0)
    model = Phi3ForCausalLM(Phi3Config(**TINY)).eval()

    def forward(self, x):
        first, second = self.gate_up_proj(x).chunk(2, dim=-1)
        up, gate = (first, second) if up_first else (second, first)
        return self.down_proj(up * (self.activation_fn or nn.functional.silu)(gate))

    results = []
    for layer in model.model.layers:
        layer.mlp.forward = forward.__get__(layer.mlp)
    for _ in range(2):
        adapter = adapt(model)
        results.append(recorded_and_masked(model, adapter))
        for layer in model.model.layers:  # for the second time
            layer.mlp.activation_fn = None
    assert adapter.up_first == up_first
    assert adapter.reads_input(0)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_model_without_mlps_is_refused_with_what_was_found():
    model = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, state_size=4))
    with pytest.raises(ModelError) as error:
        adapt(model)
    message = str(error.value)
    assert message.startswith("model type 'mamba': layer 0 has no MLP\nexpected in each decoder layer: down(")
    assert "found in MambaBlock:\n  mixer: MambaMixer (act SiLUActivation, in_proj Linear 16>64, " in message
    assert "did you mean" not in message


def test_mlp_that_computes_something_else_is_refused():
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    mlp = model.model.layers[0].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)) + mlp.up_proj(x))
    with pytest.raises(ModelError, match="does not compute"):
        adapt(model)


def test_every_layer_is_checked():
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    mlp = model.model.layers[1].mlp  # neither the first nor the last
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)) + mlp.up_proj(x))
    with pytest.raises(ModelError, match="the MLP of layer 1 does not compute"):
        adapt(model)


def test_mlp_that_bypasses_its_activation_module_is_refused():
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    mlp = model.model.layers[-1].mlp
    mlp.forward = lambda x: mlp.down_proj(nn.functional.silu(mlp.gate_proj(x)) * mlp.up_proj(x))
    with pytest.raises(ModelError, match="the MLP of layer 2 runs its activation act_fn 0 times"):
        adapt(model)


def test_shared_activation_module_is_taken_for_a_function():
    """Its hook would not know which layer it runs for."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**TINY)).eval()
    results = []
    for shared in (False, True):
        if shared:
            for layer in model.model.layers:
                layer.mlp.act_fn = model.model.layers[0].mlp.act_fn
        adapter = adapt(model)
        assert adapter.reads_input(1) == shared
        results.append(recorded_and_masked(model, adapter))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_shared_mlp_is_refused():
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    model.model.layers[2].mlp = model.model.layers[0].mlp
    with pytest.raises(ModelError, match="several layers share one MLP"):
        adapt(model)


def test_layers_of_different_width_are_refused():
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    mlp = model.model.layers[1].mlp
    mlp.gate_proj, mlp.up_proj, mlp.down_proj = nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(8, 16)
    with pytest.raises(ModelError, match=r"different widths \[8, 24\]"):
        adapt(model)


def test_adapting_leaves_no_hook_and_no_gradient(one):
    adapt(one.model)
    assert all(not a._forward_hooks for a in one.adapter.activations)
    assert torch.is_grad_enabled()


def test_layers_without_mlp_must_hold_nothing_but_what_mixes_tokens():
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    layer = model.model.layers[1]
    del layer.mlp
    adapter = adapt(model)
    assert [list(adapter.decoder_layers).index(x) for x in adapter.layers] == [0, 2]
    layer.strange = nn.Sequential(nn.Linear(16, 24), nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 16))
    with pytest.raises(ModelError, match="layer 1 has no MLP") as error:
        adapt(model)
    assert "  strange: Sequential (0 Linear 16>24, 1 Linear 24>24, " in str(error.value)


class Unusual(nn.Module):
    """A layer whose parts have unusual names."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Linear(16, 16)
        self.thinking = nn.ModuleDict({"wide": nn.Linear(16, 24), "bend": nn.GELU(), "narrow": nn.Linear(24, 16)})
        self.thinking.forward = lambda x: self.thinking["narrow"](self.thinking["bend"](self.thinking["wide"](x)))

    def forward(self, x):
        x = x + self.mixing(x)
        return x + self.thinking(x)


class TwoStacks(nn.Module):
    """A model with two lists of such layers, of which it does not say which is the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"model_type": "two_stacks"})()
        self.words = nn.Embedding(50, 16)
        self.eyes = nn.ModuleDict({"blocks": nn.ModuleList(Unusual() for _ in range(2))})
        self.tongue = nn.ModuleDict({"blocks": nn.ModuleList(Unusual() for _ in range(3))})

    def forward(self, ids):
        x = self.words(ids)
        for block in self.tongue["blocks"]:
            x = block(x)
        return x


def test_advice_for_a_decoder_that_is_not_known_works_when_followed(monkeypatch):
    torch.manual_seed(0)
    model = TwoStacks()
    with pytest.raises(ModelError) as error:
        adapt(model)
    message = str(error.value)
    assert "which of its 2 lists of layers is the decoder is not known" in message
    assert "found in TwoStacks:\n  words: Embedding" in message
    *_, advice = message.splitlines()
    assert advice.startswith("add the decoder's to DECODER_LAYERS in models/adapters.py: ")
    lines = {path: model_type for model_type, path in re.findall(r'"(\w+)": "([\w.]+)"', advice)}
    assert lines == {"eyes.blocks": "two_stacks", "tongue.blocks": "two_stacks"}
    monkeypatch.setitem(adapters.DECODER_LAYERS, lines["tongue.blocks"], "tongue.blocks")
    adapter = adapt(model)
    assert (adapter.n_layers, adapter.n_neurons) == (3, 24)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad(), record(adapter) as recorder:
        recorder.start(torch.ones(1, 3, dtype=torch.bool))
        model(ids)
        _, fired, positive_sum = recorder.collect()
    with torch.no_grad():
        x = model.words(ids)
        x = x + model.tongue["blocks"][0].mixing(x)
        g = nn.functional.gelu(model.tongue["blocks"][0].thinking["wide"](x))
    np.testing.assert_array_equal(fired[0, 0], (g > 0).sum(dim=1)[0])
    np.testing.assert_allclose(positive_sum[0, 0], g.clamp_min(0).sum(dim=1)[0], rtol=1e-5)


def test_path_that_does_not_lead_to_layers_is_an_error(monkeypatch):
    monkeypatch.setitem(adapters.DECODER_LAYERS, "two_stacks", "tongue.layers")
    with pytest.raises(ModelError, match=r"says 'tongue\.layers', but there is no list of layers"):
        adapt(TwoStacks())


def test_weights_on_disk_are_checked_too(tmp_path):
    """accelerate brings them in when an MLP runs."""
    loaded = families.load("GPT2")
    where = {"transformer.wte": "cpu", "transformer.wpe": "cpu", "transformer.ln_f": "cpu", "lm_head": "cpu"}
    where |= {f"transformer.h.{i}": "disk" for i in range(3)}
    accelerate.dispatch_model(loaded.model, where, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True)
    mlp = loaded.model.transformer.h[1].mlp
    assert mlp.c_fc.weight.device.type == "meta"
    assert adapt(loaded.model).activations == loaded.adapter.activations
    own = mlp.forward
    mlp.forward = lambda x: 2 * own(x)
    with pytest.raises(ModelError, match="the MLP of layer 1 does not compute"):
        adapt(loaded.model)
