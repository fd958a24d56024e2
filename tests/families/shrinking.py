"""Small configurations of any family, by the names that the fields of configurations have."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.families.overrides import OVERRIDES
from tests.families.words import FREE, NUMBER, SPECIAL, VOCABULARY

#: Widths. The inner width of MLPs is no other width, so that neurons can't be mistaken for hidden units.
HIDDEN, NEURONS, HEADS, KEYS, HEAD = 32, 24, 4, 2, 8
LAYERS, VISION_LAYERS = 4, 2
POSITIONS = 512
IMAGE, PATCH = 16, 4


def _named(value: Any, names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), value)


#: Name of a field -> its value, wherever a configuration has a field of this name.
SIZES: dict[str, Any] = {
    **_named(HIDDEN, "hidden_size d_model n_embd embed_dim word_embed_proj_dim embedding_size hidden_dim "
                     "out_hidden_size output_hidden_size projection_dim text_hidden_size attention_hidden_size dim "
                     "lru_width encoder_hidden_size emb_dim model_dim query_size vision_hidden_size"),
    **_named(NEURONS, "intermediate_size n_inner ffn_dim d_ff decoder_ffn_dim encoder_ffn_dim dim_ff ffn_hidden_size "
                      "moe_intermediate_size shared_expert_intermediate_size mlp_dim feed_forward_proj_dim "
                      "intermediate_size_mlp expert_ffn_hidden_size shared_intermediate_size feed_forward_size "
                      "moe_shared_expert_intermediate_size dense_intermediate_size"),
    **_named(LAYERS, "num_hidden_layers n_layer n_layers num_layers decoder_layers num_decoder_layers"),
    **_named(HEADS, "num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads "
                    "attention_heads num_decoder_attention_heads num_encoder_attention_heads"),
    **_named(KEYS, "num_key_value_heads num_kv_heads n_kv_heads"),
    **_named(HEAD, "head_dim d_kv attention_head_dim d_head kv_channels qk_nope_head_dim v_head_dim "
                   "linear_key_head_dim linear_value_head_dim index_head_dim global_head_dim qk_rope_head_dim"),
    **_named(LAYERS, "encoder_layers num_encoder_layers"),
    **_named(VOCABULARY, "vocab_size vocab_size_per_layer_input"),
    **_named(POSITIONS, "max_position_embeddings n_positions n_ctx max_seq_len max_sequence_length max_seq_length"),
    **_named(4, "num_experts num_local_experts n_routed_experts moe_num_experts linear_num_value_heads rotary_dim "
                "index_n_heads mamba_dt_rank time_step_rank mamba_n_heads"),
    **_named(2, "num_experts_per_tok top_k moe_k num_experts_per_token moe_topk linear_num_key_heads index_topk "
                "first_k_dense_replace num_kv_shared_layers"),
    **_named(1, "n_group topk_group n_shared_experts num_shared_experts num_dense_layers mamba_n_groups"),
    **_named(16, "q_lora_rank kv_lora_rank mamba_d_head"), "mamba_d_ssm": 64,
    **_named(8, "mamba_d_state state_size hidden_size_per_layer_input laurel_rank sliding_window attention_window_size "
                "attention_chunk_size chunk_size mamba_chunk_size window_size"),
    **_named(0, "pad_token_id"), **_named(1, "bos_token_id"), **_named(2, "eos_token_id"),
}  # fmt: skip
#: What differs in towers of images and of sound.
OF_TOWERS: dict[str, Any] = {
    **_named(VISION_LAYERS, "num_hidden_layers n_layer n_layers num_layers depth"),
    **_named(2, "num_attention_heads num_heads num_key_value_heads"),
    **_named(IMAGE, "image_size input_size"),
    **_named(PATCH, "patch_size"),
    **_named([0, 1], "deepstack_visual_indexes fullatt_block_indexes intermediate_layers_indices "
                    "global_attn_indexes"),
    "head_dim": 16,
}


def shrunk(config: type[PreTrainedConfig], tower: bool = False, **more: Any) -> PreTrainedConfig:
    """A configuration of the class with small sizes, its parts likewise; `more` goes before everything else.

    tower  whether it is that of a tower of images or of sound, and not of text
    """
    own = dict(OVERRIDES.get(config.model_type, {}))
    nested = {name: dict(own.pop(name, {})) for name in config.sub_configs}
    plain = None if config.has_no_defaults_at_init else config()
    sizes = SIZES | (OF_TOWERS if tower else {})
    known = {field.name: field for field in fields(config)}
    chosen: dict[str, Any] = {}
    for name in known:
        before = vars(plain).get(name) if plain is not None else None
        kinds_agree = isinstance(before, str | list | tuple | dict) == isinstance(sizes.get(name), list)
        if name in sizes and kinds_agree and _optional(name, before):
            chosen[name] = sizes[name]
        elif name in ("image_size", "patch_size") and isinstance(before, list | tuple) and len(before) == 2:
            chosen[name] = [sizes[name]] * 2
        elif name not in sizes and isinstance(before, int) and (id_ := _token(name, before)) is not None:
            chosen[name] = id_
    if "kv_lora_rank" in known:  # keys come from a latent that all heads share
        chosen["num_key_value_heads"] = HEADS
    for name, part in config.sub_configs.items():
        kind = type(getattr(plain, name, None)) if part is AutoConfig else part
        if "class" in nested[name]:
            kind = CONFIG_MAPPING[nested[name].pop("class")]
        if kind is not type(None) and nested[name] is not None:
            chosen[name] = shrunk(kind, tower or ("text" not in name and "decoder" not in name), **nested[name])
    return config(**chosen | own | more)


def _optional(name: str, before: Any) -> bool:
    """Whether a field is to be set: what is off by default stays off."""
    return before is not None or name not in ("sliding_window", "q_lora_rank", "attention_chunk_size", "num_experts")


def _token(name: str, before: int) -> int | None:
    """The number of the special token that a field names; that of no word, where the tokenizer has none of that name.
    None for fields that are no numbers of tokens."""
    base, _, kind = name.rpartition("_")
    if kind not in ("id", "index") or isinstance(before, bool):
        return None
    if base in SPECIAL:
        return NUMBER[SPECIAL[base]]
    return FREE[before % len(FREE)] if before >= VOCABULARY else None
