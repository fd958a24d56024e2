"""Families whose MLPs are not those of Llama: plain ones, gated ones under other names, and hybrid decoders.

By name: options of a tiny configuration; then, for a reference that knows nothing of adapters, where the list of layers
is, and in a layer the activation and the projection back to the residual stream. An activation "silu gate" stands for a
function of what `gate` puts out. Layers without such parts have no MLP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

LAYERS = 3


@dataclass(frozen=True)
class Family:
    options: dict[str, Any]
    layers: str
    activation: str
    down: str
    model_class: str = ""
    width: int = 24


WORDS = {"vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_GPT = {"n_embd": 32, "n_layer": LAYERS, "n_head": 4, "n_positions": 64}
_PLAIN = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
_GROUPED = _PLAIN | {"num_key_value_heads": 2, "head_dim": 8}
_DECODER = {"d_model": 32, "decoder_layers": LAYERS, "decoder_attention_heads": 4, "decoder_ffn_dim": 24,
            "max_position_embeddings": 64}  # fmt: skip
_MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 4, "mamba_n_groups": 1, "mamba_expand": 2,
           "mamba_chunk_size": 8}  # fmt: skip
_MAMBA = {"mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False}
_NEMOTRON_H = _GROUPED | {"mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 4, "n_groups": 1,
                          "chunk_size": 8}  # fmt: skip
_NEOX = ("mlp.act", "mlp.dense_4h_to_h")
_FC2 = ("activation_fn", "fc2")
_GATED = ("feed_forward.act_fn", "feed_forward.down_proj")

PLAIN = {
    "GPT2": Family(_GPT | {"n_inner": 24}, "transformer.h", "mlp.act", "mlp.c_proj", "GPT2LMHeadModel"),
    "GPTNeoX": Family(_PLAIN, "gpt_neox.layers", *_NEOX),
    "OPT": Family({"hidden_size": 32, "ffn_dim": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
                   "word_embed_proj_dim": 32, "max_position_embeddings": 64}, "model.decoder.layers", *_FC2),
    "Bloom": Family({"hidden_size": 32, "n_layer": LAYERS, "n_head": 4}, "transformer.h", "mlp.gelu_impl",
                    "mlp.dense_4h_to_h", width=128),
    "Phi": Family(_PLAIN, "model.layers", "mlp.activation_fn", "mlp.fc2"),
    "Falcon": Family({"hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "ffn_hidden_size": 24},
                     "transformer.h", *_NEOX),
    "Nemotron": Family(_GROUPED, "model.layers", "mlp.act_fn", "mlp.down_proj"),
    "Apertus": Family(_GROUPED, "model.layers", "mlp.act_fn", "mlp.down_proj"),
    "Arcee": Family(_GROUPED, "model.layers", "mlp.act_fn", "mlp.down_proj"),
    "Starcoder2": Family(_GROUPED, "model.layers", "mlp.act", "mlp.c_proj"),
    "Mpt": Family({"d_model": 32, "n_layers": LAYERS, "n_heads": 4, "max_seq_len": 64}, "transformer.blocks", "ffn.act",
                  "ffn.down_proj", width=128),
    "XGLM": Family({"d_model": 32, "ffn_dim": 24, "num_layers": LAYERS, "attention_heads": 4,
                    "max_position_embeddings": 64}, "model.layers", *_FC2),
    "GPTJ": Family(_GPT | {"n_inner": 24, "rotary_dim": 4}, "transformer.h", "mlp.act", "mlp.fc_out"),
    "CodeGen": Family(_GPT | {"n_inner": 24, "rotary_dim": 4}, "transformer.h", "mlp.act", "mlp.fc_out"),
    "GPTBigCode": Family(_GPT | {"n_inner": 24}, "transformer.h", "mlp.act", "mlp.c_proj"),
    "GPTNeo": Family({"hidden_size": 32, "intermediate_size": 24, "num_layers": LAYERS, "num_heads": 4,
                      "attention_types": [[["global", "local", "global"], 1]], "max_position_embeddings": 64},
                     "transformer.h", "mlp.act", "mlp.c_proj"),
    "BioGpt": Family(_PLAIN | {"max_position_embeddings": 64}, "biogpt.layers", *_FC2),
    "OpenAIGPT": Family(_GPT, "transformer.h", "gelu_new mlp.c_fc", "mlp.c_proj", "OpenAIGPTLMHeadModel", 128),
    "CTRL": Family(_GPT | {"dff": 24}, "transformer.h", "ffn.1", "ffn.2", "CTRLLMHeadModel"),
    "Persimmon": Family(_PLAIN, "model.layers", *_NEOX),
    "Jais2": Family(_GROUPED, "model.layers", "mlp.act_fn", "mlp.down_proj"),
    "NanoChat": Family(_GROUPED, "model.layers", "mlp.activation_fn", "mlp.fc2"),
    "Bart": Family(_DECODER, "model.decoder.layers", *_FC2),
    "NemotronH": Family(_NEMOTRON_H | {"layers_block_type": ["mamba", "mlp", "attention", "mlp", "mamba", "mlp"]},
                        "model.layers", "mixer.act_fn", "mixer.down_proj"),
    "NemotronH ends without": Family(
        _NEMOTRON_H | {"layers_block_type": ["mlp", "mlp", "attention", "mlp", "mamba"]}, "model.layers",
        "mixer.act_fn", "mixer.down_proj"),
}  # fmt: skip
GATED = {
    "FalconH1": Family(_GROUPED | _MAMBA2 | {"mamba_d_ssm": 64}, "model.layers", *_GATED),
    "Jamba": Family(_GROUPED | _MAMBA | {"num_experts": 1, "num_experts_per_tok": 1, "attn_layer_period": 2,
                                         "attn_layer_offset": 1}, "model.layers", *_GATED),
    "Bamba": Family(_GROUPED | _MAMBA2 | {"attn_layer_indices": [1]}, "model.layers", *_GATED),
    "Lfm2": Family(_GROUPED | {"layer_types": ["conv", "full_attention", "conv"], "block_auto_adjust_ff_dim": False},
                   "model.layers", "silu feed_forward.w1", "feed_forward.w2"),
    "Zamba": Family(_PLAIN | _MAMBA | {"num_hidden_layers": 5, "num_key_value_heads": 4, "attention_head_dim": 16,
                                       "n_mamba_heads": 2,
                                       "layers_block_type": ["hybrid", "mamba", "hybrid", "mamba", "hybrid"]},
                    "model.layers", "shared_transf.feed_forward.act_fn", "shared_transf.feed_forward.down_proj"),
    "RecurrentGemma": Family(_GROUPED | {"intermediate_size": 48, "lru_width": 32, "attention_window_size": 8,
                                         "block_types": ["recurrent", "attention", "recurrent"]},
                             "model.layers", "mlp_block.act_fn", "mlp_block.down_proj"),
    "GraniteMoeHybrid": Family(_GROUPED | _MAMBA2 | {"num_local_experts": 0, "num_experts_per_tok": 0,
                                                     "shared_intermediate_size": 24,
                                                     "layer_types": ["mamba", "attention", "mamba"]},
                               "model.layers", "shared_mlp.activation", "shared_mlp.output_linear"),
    "Moshi": Family(_PLAIN | {"num_key_value_heads": 2, "ffn_dim": 48, "head_dim": 8, "audio_vocab_size": 10},
                    "model.layers", "mlp.activation_fn", "mlp.fc2"),
    "ModernBertDecoder": Family(_PLAIN | {"local_attention": 8}, "model.layers", "mlp.act", "mlp.Wo"),
}  # fmt: skip
ALL = PLAIN | GATED
_FUNCTIONS = {"silu": nn.functional.silu, "gelu_new": lambda x: nn.functional.gelu(x, approximate="tanh")}


def layers_with_mlp(name: str, model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """The layers of a model that have an MLP, each with the projection back to the residual stream."""
    found = []
    for layer in model.get_submodule(ALL[name].layers):
        try:
            found.append((layer, layer.get_submodule(ALL[name].down)))
        except AttributeError:
            continue
    return found


@contextmanager
def neurons(name: str, model: nn.Module) -> Iterator[list[torch.Tensor]]:
    """g of every layer with an MLP in float64, noted in the order in which they run inside."""
    function, _, path = ALL[name].activation.rpartition(" ")
    compute = _FUNCTIONS.get(function)
    seen: list[torch.Tensor] = []

    def note(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        g = output.detach().double()
        seen.append(g if compute is None else compute(g))

    handles = [layer.get_submodule(path).register_forward_hook(note) for layer, _ in layers_with_mlp(name, model)]
    yield seen
    for handle in handles:
        handle.remove()


@contextmanager
def cut(down: nn.Module, neurons: list[int]) -> Iterator[None]:
    """Without what neurons give to the residual stream. Weights won't do: Zamba's layers share them."""

    def zero(module: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        kept = args[0].clone()
        kept[..., neurons] = 0
        return (kept,)

    handle = down.register_forward_pre_hook(zero)
    yield
    handle.remove()
