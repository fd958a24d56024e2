"""Untrained models whose layers have different projections, and where these are, written down by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import nn

from culture_neurons.models.adapters import adapt
from culture_neurons.models.inputs import Batch, Question
from culture_neurons.models.loading import Loaded
from culture_neurons.types import Sample

HIDDEN, HEADS, HEAD, WORDS = 64, 8, 8, 60
SIZES = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": HEADS, "vocab_size": WORDS,
         "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
GATED = {"intermediate_size": 24, "num_key_value_heads": 2, "head_dim": HEAD}
QWEN35 = SIZES | GATED | {
    "num_hidden_layers": 4,
    "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 4, "linear_value_head_dim": 6,
}  # fmt: skip
GEMMA4 = SIZES | GATED | {
    "num_hidden_layers": 4, "num_kv_shared_layers": 1, "layer_types": ["sliding_attention", "full_attention"] * 2,
    "sliding_window": 4, "hidden_size_per_layer_input": 0, "global_head_dim": 16, "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
}  # fmt: skip
_TOWER = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_global_layers": 1, "attention_heads": 2,
    "image_size": 8, "patch_size": 4, "intermediate_layers_indices": [0], "vision_output_dim": 32, "max_num_tiles": 4,
}  # fmt: skip
MLLAMA = {"vision_config": _TOWER, "image_token_index": 50,
          "text_config": SIZES | GATED | {"num_hidden_layers": 3, "cross_attention_layers": [1]}}  # fmt: skip
#: Configuration, its settings, class of the model, where its layers are.
MODELS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "qwen3_5": ("Qwen3_5TextConfig", QWEN35, "Qwen3_5ForCausalLM", "model.layers"),
    "mllama": ("MllamaConfig", MLLAMA, "MllamaForConditionalGeneration", "model.language_model.layers"),
    "gemma4": ("Gemma4TextConfig", GEMMA4, "Gemma4ForCausalLM", "model.layers"),
    "phi3": ("Phi3Config", SIZES | GATED, "Phi3ForCausalLM", "model.layers"),
    "gpt2": ("GPT2Config", SIZES, "GPT2LMHeadModel", "transformer.h"),
    "gpt_neox": ("GPTNeoXConfig", SIZES | {"intermediate_size": 24}, "GPTNeoXForCausalLM", "gpt_neox.layers"),
    "bloom": ("BloomConfig", SIZES, "BloomForCausalLM", "transformer.h"),
    "mpt": ("MptConfig", SIZES, "MptForCausalLM", "transformer.blocks"),
    "codegen": ("CodeGenConfig", SIZES | {"rotary_dim": 4}, "CodeGenForCausalLM", "transformer.h"),
    "falcon": ("FalconConfig", SIZES | {"multi_query": True}, "FalconForCausalLM", "transformer.h"),
    "falcon-groups": ("FalconConfig", SIZES | {"new_decoder_architecture": True, "num_kv_heads": 2},
                      "FalconForCausalLM", "transformer.h"),
    "opt": ("OPTConfig", SIZES | {"ffn_dim": 24, "word_embed_proj_dim": HIDDEN}, "OPTForCausalLM",
            "model.decoder.layers"),
    "bigcode": ("GPTBigCodeConfig", SIZES | {"multi_query": False}, "GPTBigCodeForCausalLM", "transformer.h"),
}  # fmt: skip


def load(name: str) -> Loaded:
    """A model of `MODELS` in float32, with weights so large that its logits depend on its tokens."""
    config_name, settings, model_name, path = MODELS[name]
    torch.manual_seed(1)
    config = getattr(transformers, config_name)(**settings)
    with warnings.catch_warnings():  # GPT BigCode's module compiles a function in a way that torch gives up
        warnings.simplefilter("ignore", DeprecationWarning)
        make = getattr(transformers, model_name)
    model = make(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(4 if parameter.ndim > 1 else 1)
    if name == "mllama":  # at first its cross-attention is shut
        for layer in model.get_submodule(path):
            for gate in ("cross_attn_attn_gate", "cross_attn_mlp_gate"):
                if hasattr(layer, gate):
                    getattr(layer, gate).fill_(0.7)
    layers = tuple(model.get_submodule(path))
    adapter = adapt(model)
    assert tuple(adapter.layers) == layers
    letters = {letter: i for i, letter in enumerate("ABCD", 10)}
    names = {i: letter for letter, i in letters.items()}
    tokenizer = SimpleNamespace(convert_tokens_to_ids=letters.get, convert_ids_to_tokens=names.get)
    return Loaded(name, model, SimpleNamespace(tokenizer=tokenizer), adapter, "none", "float32")


Outputs = tuple[nn.Module, Sequence[int]]


def _turns(q: int, k: int, v: int, groups: int) -> Callable[[nn.Module], dict[str, Outputs]]:
    """q queries, k keys, v values, and so again `groups` times."""

    def of(module: nn.Module) -> dict[str, Outputs]:
        starts = [group * (q + k + v) for group in range(groups)]
        return {
            "q_proj": (module, [s + i for s in starts for i in range(q)]),
            "k_proj": (module, [s + q + i for s in starts for i in range(k)]),
            "v_proj": (module, [s + q + k + i for s in starts for i in range(v)]),
        }

    return of


def by_hand(name: str, layer: nn.Module) -> dict[str, Outputs]:
    """By site, the module of this layer and which of its outputs are the units; a site that is not there has none."""
    if name == "qwen3_5":
        result = {"gate_proj": (layer.mlp.gate_proj, range(24))}
        if hasattr(layer, "linear_attn"):
            return result | _turns(8, 8, 24, 1)(layer.linear_attn.in_proj_qkv)
        attention = layer.self_attn
        queries = [head * 16 + i for head in range(8) for i in range(8)]  # behind them, the head's gate
        return result | {"q_proj": (attention.q_proj, queries), "k_proj": (attention.k_proj, range(16)),
                         "v_proj": (attention.v_proj, range(16))}  # fmt: skip
    if name == "mllama":
        result = {"gate_proj": (layer.mlp.gate_proj, range(24))}
        if hasattr(layer, "cross_attn"):
            return result | {"q_proj": (layer.cross_attn.q_proj, range(64))}
        attention = layer.self_attn
        return result | {"q_proj": (attention.q_proj, range(64)), "k_proj": (attention.k_proj, range(16)),
                         "v_proj": (attention.v_proj, range(16))}  # fmt: skip
    if name == "gemma4":
        attention, number = layer.self_attn, layer.self_attn.layer_idx
        result = {"gate_proj": (layer.mlp.gate_proj, range(24))}
        result["q_proj"] = (attention.q_proj, range(128 if number % 2 else 64))
        if number < 3:
            result["k_proj"] = (attention.k_proj, range(16))
        if number in (0, 2):  # layer 1 has its keys as values, layer 3 those of layer 1
            result["v_proj"] = (attention.v_proj, range(16))
        return result
    if name == "opt":  # its MLP puts out all tokens of a batch in one row
        attention = layer.self_attn
        return {"gate_proj": (layer.fc1, range(24)), "q_proj": (attention.q_proj, range(64)),
                "k_proj": (attention.k_proj, range(64)), "v_proj": (attention.v_proj, range(64))}  # fmt: skip
    if name == "phi3":
        return {"gate_proj": (layer.mlp.gate_up_proj, range(24))} | _turns(64, 16, 16, 1)(layer.self_attn.qkv_proj)
    plain = {
        "gpt2": lambda: layer.mlp.c_fc, "bigcode": lambda: layer.mlp.c_fc, "mpt": lambda: layer.ffn.up_proj,
        "codegen": lambda: layer.mlp.fc_in,
    }.get(name, lambda: layer.mlp.dense_h_to_4h)()  # fmt: skip
    result = {"gate_proj": (plain, range(24 if name == "gpt_neox" else 256))}
    if name == "codegen":  # four stretches of two heads: queries, values, keys
        parts = _turns(16, 16, 16, 4)(layer.attn.qkv_proj)
        return result | {"q_proj": parts["q_proj"], "k_proj": parts["v_proj"], "v_proj": parts["k_proj"]}
    return result | {
        "gpt2": lambda: _turns(64, 64, 64, 1)(layer.attn.c_attn),
        "gpt_neox": lambda: _turns(8, 8, 8, 8)(layer.attention.query_key_value),
        "bloom": lambda: _turns(8, 8, 8, 8)(layer.self_attention.query_key_value),
        "mpt": lambda: _turns(64, 64, 64, 1)(layer.attn.Wqkv),
        "falcon": lambda: _turns(64, 8, 8, 1)(layer.self_attention.query_key_value),
        "falcon-groups": lambda: _turns(32, 8, 8, 2)(layer.self_attention.query_key_value),
        "bigcode": lambda: _turns(8, 8, 8, 8)(layer.attn.c_attn),
    }[name]()


def batch(n: int = 3, images: bool = False) -> Batch:
    """Questions of different lengths, padded on the left; with `images`, one of four tiles about each (Mllama)."""
    ids = torch.randint(20, 49, (n, 7), generator=torch.Generator().manual_seed(0))
    for i in range(n):
        ids[i, : i % 3] = 0
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    if images:
        pixels = torch.rand(n, 1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        inputs |= {"pixel_values": pixels, "aspect_ratio_ids": torch.full((n, 1), 6),
                   "aspect_ratio_mask": torch.ones(n, 1, 4, dtype=torch.long),
                   "cross_attention_mask": torch.ones(n, 7, 1, 4, dtype=torch.long)}  # fmt: skip
    samples = [Sample(str(i), f"c{i % 2}", "k", "?", ("a",) * 4, i % 4, "evaluate") for i in range(n)]
    return Batch([Question(sample, (0, 1, 2, 3), "", "") for sample in samples], inputs, None, ())
