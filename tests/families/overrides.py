"""What the generic sizes of `shrinking` do not fit, by model type: fields, and those of nested configurations.

Where a family has dense models and mixtures of experts under one model type, the dense one is taken.
"""

from __future__ import annotations

from typing import Any

from tests.families.words import FREE, NUMBER

#: Sections of three-axis positions: together half of a head.
_MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2],
                              "partial_rotary_factor": 1.0}}  # fmt: skip
_SHARING = {"layer_types": ["sliding_attention", "full_attention"] * 2}
_HALVES = {"layer_types": ["linear_attention", "full_attention"] * 2}

OVERRIDES: dict[str, dict[str, Any]] = {
    "chameleon": {"vocabulary_map": {"<image>": NUMBER["<image>"],
                                     **{f"IMGIMG{letter}Z": FREE[i] for i, letter in enumerate("ABCDEFGH")}}},
    "chameleon_vqgan": {"num_embeddings": 8, "base_channels": 32, "channel_multiplier": [1, 1], "latent_channels": 32},
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"] * 2},
    "deepseek_vl_hybrid": {"high_res_vision_config": {"output_channels": 32}},
    "diffusion_gemma_text": {"num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 24},
    "diffusion_gemma": {"vision_config": {"class": "gemma4_vision"}},
    "emu3": {"vocabulary_map": {name: NUMBER[name] for name in ("<image>", "<|extra_200|>")}},
    "emu3_vqgan": {"base_channels": 32, "channel_multiplier": [1, 1], "latent_channels": 32},
    "gemma4_unified_vision": {"mm_embed_dim": 32, "mm_posemb_size": 280, "output_proj_dims": 32,
                              "pooling_kernel_size": 2},
    "gemma4_vision": {"pooling_kernel_size": 2},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "num_kv_shared_layers": 4,
                                         "vocab_size_per_layer_input": 0}},
    "gemma4_text": _SHARING, "gemma4_unified_text": _SHARING,
    "hunyuan_vl_text": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 1, 1]}},
    "qwen2_5_omni_thinker": {"vision_start_token_id": NUMBER["<|vision_start|>"]},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": NUMBER["<|vision_start|>"]},
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "xmod": {"default_language": "en_XX"},
    "bamba": {"attn_layer_indices": [1, 3]},
    "blt": {"encoder_hash_byte_group_vocab": 40, "num_hidden_layers": 4},
    "cosmos3_edge_text": _MROPE,
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8}},
    "ernie4_5_vl_moe_text": _MROPE,
    "gemma3n_text": {"intermediate_size": [24] * 4, "activation_sparsity_pattern": [0.0] * 4},
    "glm4v_text": _MROPE,
    "glm4v_moe_text": _MROPE,
    "glm_ocr_text": _MROPE,
    "fuyu": {"patch_size": 4, "image_size": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granite4_vision": {"text_config": {"class": "granite"}, "deepstack_layer_map": [[0, 0], [1, 1]],
                        "downsample_rate": "1/2", "spatial_target_layers": [0, 1, 2, 3]},
    "granitemoehybrid": {"num_local_experts": 0, "shared_intermediate_size": 24, **_HALVES},
    "hunyuan_vl_vision": {"max_image_size": 64, "min_image_size": 8, "img_max_token_num": 64},
    "jamba": {"num_experts": 1, "attn_layer_period": 2, "attn_layer_offset": 1},
    "janus_vqgan": {"base_channels": 32, "channel_multiplier": [1, 1], "latent_channels": 32},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "llama4_vision_model": {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32},
    "mamba2": {"head_dim": 16, "n_groups": 1},
    "minicpm3": {"dim_model_base": 32},  # what its logits are divided by goes with the width: else P is 1e-27
    "mllama_text_model": {"cross_attention_layers": [1, 3]},
    "mllama_vision_model": {"vision_output_dim": 96, "num_global_layers": 1},
    "modernbert-decoder": {"initializer_range": 0.1},  # its last projections begin far smaller than others
    "moshi": {"ffn_dim": 48, "sliding_window": 512},  # of ffn_dim, half is gate; its cache keeps less than its window
    "muse_glimmer": {"out_hidden_size": 128, "projector_hidden_size": 32},
    "musicgen": {"text_encoder": {"class": "t5"}, "audio_encoder": {"class": "encodec"}},
    "musicgen_melody": {"text_encoder": {"class": "t5"}, "audio_encoder": {"class": "encodec"}},
    "paddleocr_vl_text": _MROPE,
    # Its processor writes 256 tokens for an image, whatever its size.
    "phi4_multimodal": {"vision_config": {"image_size": 128, "crop_size": 128}, "max_position_embeddings": 1024},
    "qwen2_5_omni_text": _MROPE,
    "qwen2_5_vl_text": _MROPE,
    "qwen2_vl_text": _MROPE,
    "qwen3_moe": {"num_experts": 4}, "qwen3_vl_moe_text": {"num_experts": 4},
    "vision-encoder-decoder": {"encoder": {"class": "vit"}, "decoder": {"class": "gpt2"}},
    "xlstm": {"chunk_size": 64},
    "zamba": {"attention_hidden_size": 64, "attention_head_dim": 16,
              "layers_block_type": ["linear_attention", "hybrid", "hybrid", "linear_attention"]},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"]},
    "zaya": {"num_experts_per_tok": 1},
}
