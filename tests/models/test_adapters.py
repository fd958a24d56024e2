import pytest
import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

from culture_neurons.errors import ModelError
from culture_neurons.models.adapters import adapt

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


def test_fused_projection_with_the_halves_swapped_is_accepted():
    model = Phi3ForCausalLM(Phi3Config(**TINY))

    def forward(self, x):
        up, gate = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(up * self.activation_fn(gate))

    for layer in model.model.layers:
        layer.mlp.forward = forward.__get__(layer.mlp)
    assert adapt(model).n_neurons == 24


def test_model_without_gated_mlps_is_refused_with_what_is_known():
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50))
    with pytest.raises(ModelError) as error:
        adapt(model)
    message = str(error.value)
    assert model.config.model_type in message
    assert "qwen2_5_vl" in message
    assert "gate_proj/up_proj/down_proj" in message
    assert "models/adapters.py" in message


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
    with pytest.raises(ModelError, match="ran 0 times"):
        adapt(model)


def test_shared_activation_module_is_refused():
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    for layer in model.model.layers:
        layer.mlp.act_fn = model.model.layers[0].mlp.act_fn
    with pytest.raises(ModelError, match="share one activation"):
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
