"""Experts that can't be watched are refused by name, in whatever layer they stand; dense models load."""

import pytest
import torch
import transformers
from torch import nn
from transformers import CONFIG_MAPPING, LlamaConfig, LlamaForCausalLM
from transformers.models.auto import modeling_auto as auto

from culture_neurons.errors import ModelError
from culture_neurons.models import branches
from culture_neurons.models.adapters import adapt

TINY = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GEMMA4 = {
    "head_dim": 8, "global_head_dim": 8, "vocab_size_per_layer_input": 50, "hidden_size_per_layer_input": 0,
    "layer_types": ["full_attention"] * 3, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 8,
}  # fmt: skip
GEMMA3N = {
    "head_dim": 8, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 50, "laurel_rank": 4,
    "num_kv_shared_layers": 0, "layer_types": ["full_attention"] * 3,
}  # fmt: skip
LATENT = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
#: Class of the model without its ending -> options, the first layer with experts, what is found there, and why not.
MIXTURES = {
    "Lfm2Moe": ({"num_experts": 4, "num_dense_layers": 1, "layer_types": ["conv", "full_attention", "conv"]}, 1,
                "feed_forward.experts (Lfm2MoeExperts)", "feed_forward.experts has no activation module"),
    "Doge": ({"is_moe": True, "num_experts": 4, "num_experts_per_tok": 1}, 0, "mlp.router_gate (Linear)",
             "these are no routed experts"),
    "Llama4/Text": ({"num_local_experts": 4, "head_dim": 8}, 0, "feed_forward.experts (Llama4TextExperts)",
                    "feed_forward.experts holds weights 4 x 16 x 48 and 4 x 24 x 16"),
    "GptOss": ({"num_local_experts": 4, "head_dim": 8}, 0, "mlp.router (GptOssTopKRouter)",
               "these are no routed experts"),
}  # fmt: skip
#: Mixtures that are built as their configuration comes, without memory, and where their first experts are.
PLAIN = {
    "Mixtral": (0, "mlp.experts (MixtralExperts)"), "Qwen3Moe": (0, "mlp.experts (Qwen3MoeExperts)"),
    "DeepseekV2": (0, "mlp.experts (DeepseekV2Experts)"), "Olmoe": (0, "mlp.experts (OlmoeExperts)"),
    "GraniteMoe": (0, "block_sparse_moe (GraniteMoeMoE)"),
    "GraniteMoeShared": (0, "block_sparse_moe (GraniteMoeSharedMoE)"),
    "GraniteMoeHybrid": (0, "block_sparse_moe (GraniteMoeHybridMoE)"),
    "Phimoe": (0, "mlp.router (PhimoeTopKRouter)"), "Glm4Moe": (1, "mlp.experts (Glm4MoeExperts)"),
    "GptOss": (0, "mlp.router (GptOssTopKRouter)"), "Jamba": (1, "feed_forward.router (Linear)"),
    "Llama4/Text": (0, "feed_forward.experts (Llama4TextExperts)"), "MiniMax": (0, "mlp.experts (MiniMaxExperts)"),
    "Ernie4_5_Moe": (1, "mlp.gate.moe_statics (Ernie4_5_MoeStatics)"), "JetMoe": (0, "mlp.router (JetMoeTopKGating)"),
    "NemotronH": (1, "mixer.experts (NemotronHExperts)"), "Qwen3Next": (0, "mlp.experts (Qwen3NextExperts)"),
    "FlexOlmo": (0, "mlp.experts (FlexOlmoExperts)"), "LongcatFlash": (0, "mlp.experts (LongcatFlashExperts)"),
}  # fmt: skip
#: Dense models of families that have mixtures too, or further branches.
DENSE = {
    "Gemma4/Text": GEMMA4, "Qwen2Moe": {"mlp_only_layers": [0, 1, 2]}, "Doge": {}, "HunYuanDenseV1": {"head_dim": 8},
    "DeepseekV3": LATENT | {"first_k_dense_replace": 3}, "Granite": {}, "Ernie4_5": {}, "Olmo2": {}, "Cohere2": {},
    "SmolLM3": {}, "SeedOss": {"head_dim": 8}, "Ministral": {"head_dim": 8},
    "Gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8}, "Qwen3_5/Text": {"head_dim": 8},
}  # fmt: skip


def build(name: str, options: dict) -> nn.Module:
    name, _, text = name.partition("/")
    config = getattr(transformers, f"{name}{text}Config")(**options)
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def refused(model: nn.Module) -> str:
    with pytest.raises(ModelError) as error:
        adapt(model)
    return str(error.value)


@pytest.mark.parametrize("name", MIXTURES)
def test_experts_are_refused_in_whatever_layer_they_stand(name):
    options, layer, sign, why = MIXTURES[name]
    model = build(name, TINY | options)
    message = refused(model)
    assert message.count("\n") == 1
    assert f"model type '{model.config.model_type}': layer {layer} holds experts: {sign}\n{why}" in message
    assert "expected one module of routed experts" in message


@pytest.mark.parametrize("name", PLAIN)
def test_mixtures_that_can_not_be_run_are_refused_by_name(name):
    with torch.device("meta"):
        model = build(name, {"num_hidden_layers": 4})
    assert f": layer {PLAIN[name][0]} holds experts: {PLAIN[name][1]}" in refused(model)


def test_a_mixture_that_sees_images_and_can_not_be_run_is_refused_by_name():
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1]}
    text = TINY | {"num_experts": 4, "head_dim": 8, "rope_scaling": rope}
    with torch.device("meta"):
        model = transformers.Qwen3VLMoeForConditionalGeneration(transformers.Qwen3VLMoeConfig(text_config=text))
    assert "layer 0 holds experts: mlp.experts (Qwen3VLMoeTextExperts)" in refused(model)


def models_of_the_library():
    """Type of configuration -> class of model, of all language models and of all that see images."""
    registries = (auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    return {model_type: name for names in registries for model_type, name in names.items()}


@pytest.mark.slow
@pytest.mark.parametrize("model_type", models_of_the_library())
def test_every_mixture_of_the_library_is_called_one(model_type):
    """As its configuration comes. Those that can't be made so are made in other tests, or need other packages."""
    name = models_of_the_library()[model_type]
    try:
        config = CONFIG_MAPPING[model_type]()
        with torch.device("meta"):
            model = getattr(transformers, name if isinstance(name, str) else name[0])(config)
    except Exception:
        assert model_type not in {x.lower() for x in PLAIN}
        return
    if any(type(module).__name__.endswith(("Experts", "TopKRouter", "TopKGating")) for module in model.modules()):
        message = refused(model)
        assert "holds experts: " in message
        assert "; expected one module of routed experts, each an MLP with an activation module" in message


@pytest.mark.parametrize("name", DENSE)
def test_dense_models_load(name):
    adapter = adapt(build(name, TINY | DENSE[name]))
    assert (adapter.n_layers, adapter.n_neurons, adapter.unseen) == (3, 24, ())


class Bank(nn.Module):
    """Experts as one weight, under a name that does not say so."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))


def llama(child: str = "", module: nn.Module | None = None) -> nn.Module:
    """A tiny Llama, whose second layer has one more module."""
    model = LlamaForCausalLM(LlamaConfig(**TINY))
    if module is not None:
        model.model.layers[1].add_module(child, module)
    return model


@pytest.mark.parametrize(
    ("child", "module", "message"),
    [
        ("bank", Bank(4, 16, 8), "layer 1 holds experts: bank.weight, of shape 4 x 16 x 8"),
        ("branches", nn.ModuleList(nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 16)) for _ in range(2)),
         "layer 1 holds experts: branches, a list of 2 Sequential"),
        ("shared_mlp", llama().model.layers[0].mlp, "layer 1 has a second MLP (shared_mlp) beside mlp"),
    ],
    ids=["weights with three axes", "a list of MLPs", "a second MLP"],
)  # fmt: skip
def test_further_mlps_are_told_by_structure(child, module, message):
    assert message in refused(llama(child, module))


@pytest.mark.parametrize(
    ("child", "module"),
    [
        ("conv", nn.Conv1d(16, 16, 3)), ("scale", Bank(1, 1, 16)), ("router", nn.Identity()),
        ("norms", nn.ModuleList(nn.LayerNorm(16) for _ in range(2))), ("lru", Bank(4, 16, 8)),
        ("gate_adapters", nn.ModuleList(nn.Sequential(nn.Linear(16, 2), nn.Linear(2, 16)) for _ in range(2))),
        ("layer", nn.ModuleList([nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 16)), nn.MultiheadAttention(16, 2)])),
    ],
)  # fmt: skip
def test_what_is_no_mlp_is_not_taken_for_one(child, module):
    model = llama(child, module)
    assert branches.experts(model.model.layers[1]) == ""
    assert adapt(model).n_layers == 3


def test_other_branches_of_a_layer_are_listed():
    unseen = adapt(build("Gemma3n/Text", TINY | GEMMA3N | {"activation_sparsity_pattern": [0.0] * 3})).unseen
    assert unseen == ("altup", "laurel", "per_layer_input_gate", "per_layer_projection")


def test_a_sparse_layer_between_others_is_refused():
    model = build("Gemma3n/Text", TINY | GEMMA3N | {"activation_sparsity_pattern": [0.0, 0.95, 0.0]})
    assert "the MLP of layer 1 does not compute" in refused(model)
