"""GGUF files become model folders: right weights, right tokens, and one line for what can't be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from culture_neurons.errors import ModelError
from culture_neurons.models import gguf
from culture_neurons.models.loading import load
from tests import gguf_files

TEXTS = [
    "The capital of Japan is", "in 1984,  12 of the\n\n3", "日本の首都は東京です。", "Столица Японии — Токио",
    "العاصمة ١٢٣", "भारत १२", "café é", "<|im_start|>user\nthe<|im_end|>", "a  7", "", " ", " ▁the",
]  # fmt: skip


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> tuple[torch.nn.Module, gguf.Header, Path]:
    """The model that a file holds, what the file says of itself, and the folder that it became."""
    folder = tmp_path_factory.mktemp("gguf")
    model = gguf_files.write(folder / "tiny.gguf")
    return model, gguf.convert(folder / "tiny.gguf", folder / "model"), folder / "model"


def test_logits_are_those_of_the_dequantised_weights(converted):
    model, _, folder = converted
    loaded = load({"name": "m", "path": str(folder)})
    assert loaded.dtype == "float32"
    assert (loaded.adapter.n_layers, loaded.adapter.n_neurons) == (2, 96)
    ids = torch.tensor([[5, 80, 3, 200, 17, 17, 41]])
    logits = loaded.model(ids).logits
    assert torch.equal(logits, model(ids).logits)
    assert logits.std() > 0.1
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, loaded.model.state_dict()[name]), name


def test_what_the_file_says_of_itself(converted):
    _, header, folder = converted
    assert header.architecture == "llama"
    assert header.licence == "cc0-1.0"
    assert header.quantisation == {"F32": 5, "Q4_1": 15}
    assert header.split == "smollm"
    assert header.special == {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    assert gguf.knows_split(header)
    assert {p.name for p in folder.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}


def test_the_dtype_is_that_of_the_saved_weights(tmp_path):
    model = gguf_files.write(tmp_path / "tiny.gguf")
    gguf.convert(tmp_path / "tiny.gguf", tmp_path / "model", "bfloat16")
    loaded = load({"name": "m", "path": str(tmp_path / "model")})
    assert loaded.dtype == "bfloat16"
    weight = loaded.model.state_dict()["model.layers.1.mlp.down_proj.weight"]
    assert torch.equal(weight, model.state_dict()["model.layers.1.mlp.down_proj.weight"].bfloat16())


def test_tokens_are_the_same_after_saving_and_are_split_as_the_model_was_trained(converted):
    *_, folder = converted
    read = AutoTokenizer.from_pretrained(folder.parent, gguf_file="tiny.gguf")
    gguf.repair_tokenizer(read, converted[1])
    saved = AutoTokenizer.from_pretrained(folder)
    assert len(saved) == len(gguf_files.TOKENS)
    for text in TEXTS:
        assert saved(text).input_ids == read(text).input_ids, text
        assert saved.decode(saved(text).input_ids) == text
    # Each digit stands alone, and takes no space or line break with it, as it would in GPT-2.
    assert saved.tokenize("the  12\n\n3") == ["t", "he", "ĠĠ", "1", "2", "ĊĊ", "3"]
    assert saved.tokenize(" the<|im_end|>") == ["Ġthe", "<|im_end|>"]


def test_special_tokens_are_those_of_the_file_and_none_is_added_for_padding(converted):
    *_, folder = converted
    loaded = load({"name": "m", "path": str(folder)})
    tokenizer = loaded.tokenizer
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert (tokenizer.pad_token_id, tokenizer.padding_side, len(tokenizer)) == (2, "left", len(gguf_files.TOKENS))
    assert loaded.render("the", False) == "<|im_start|>user\nthe<|im_end|>\n<|im_start|>assistant\n"
    batch = tokenizer(["the", " the the"], padding=True, return_tensors="pt")
    assert batch.attention_mask.tolist() == [[1, 1], [1, 1]]
    batch = tokenizer([" the", "the 7"], padding=True, return_tensors="pt")
    alone = loaded.model(**tokenizer(" the", return_tensors="pt")).logits[0, -1]
    torch.testing.assert_close(loaded.model(**batch).logits[0, -1], alone)


def test_what_lies_beside_the_file_is_not_read(converted, tmp_path):
    gguf_files.write(tmp_path / "tiny.gguf")
    for name in ("adapter_config.json", "tokenizer.json", "added_tokens.json", "special_tokens_map.json"):
        (tmp_path / name).write_text('{"pad_token": "<other>", "<other>": 7}', encoding="utf-8")
    (tmp_path / "chat_template.jinja").write_text("other", encoding="utf-8")
    gguf.convert(tmp_path / "tiny.gguf", tmp_path / "model")
    for file in converted[2].iterdir():
        assert (tmp_path / "model" / file.name).read_bytes() == file.read_bytes(), file.name


def test_an_unknown_way_to_split_is_noticed(tmp_path):
    gguf_files.write(tmp_path / "tiny.gguf", split="of-its-own")
    header = gguf.read_header(tmp_path / "tiny.gguf")
    assert header.split == "of-its-own"
    assert not gguf.knows_split(header)


def damaged(folder: Path, kind: str) -> Path:
    """A file that can't be converted."""
    path = folder / "bad.gguf"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "zip":
        path.write_bytes(b"PK\x03\x04" * 100)
    elif kind != "missing":
        what = {
            "architecture": {"architecture": "nosuch"}, "a weight": {"without": "blk.1.ffn_up.weight"},
            "a bias": {"extra": "blk.0.attn_q.bias"}, "positions": {"extra": "rope_freqs.weight"},
            "scaling": {"yarn": True},
        }  # fmt: skip
        gguf_files.write(path, **what.get(kind, {}))
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-3000])
    if kind == "cut in its head":
        path.write_bytes(path.read_bytes()[:900])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"bad\.gguf: no such file"),
        ("folder", r"bad\.gguf: can't be read as a model in GGUF \(.*directory"),
        ("empty", r"bad\.gguf: is no GGUF file"),
        ("zip", r"bad\.gguf: is no GGUF file"),
        ("cut", r"bad\.gguf: can't be read as a model in GGUF"),
        ("cut in its head", r"bad\.gguf: can't be read as a model in GGUF"),
        ("architecture", r"bad\.gguf: can't be read as a model in GGUF \(.*architecture nosuch is not supported"),
        ("a bias", r"bad\.gguf: has 21 tensors, of which transformers reads 20"),
        ("positions", r"bad\.gguf: scales positions \(rope_freqs\.weight\), and transformers does not read that"),
        ("scaling", r"bad\.gguf: scales positions \(llama\.rope\.scaling\.type\), and transformers does not read"),
        ("a weight", r"bad\.gguf: lacks 1 weights, 'model\.layers\.1\.mlp\.up_proj\.weight' the first"),
    ],
)
def test_what_can_not_be_read_is_named_in_one_line(tmp_path, kind, message):
    path = damaged(tmp_path, kind)
    with pytest.raises(ModelError) as error:
        gguf.convert(path, tmp_path / "model")
    assert re.search(message, str(error.value))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()
