"""GGUF files into ordinary model folders: read once with transformers, saved as safetensors with the tokenizer.

Weights are dequantised: a weight of four bits becomes the number that it stands for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import decoders, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from culture_neurons.errors import CultureNeuronsError, ModelError
from culture_neurons.files import first_line

#: Fields of a GGUF file that name a special token -> what transformers calls it.
_SPECIAL = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
#: How a file's tokenizer splits a text before it looks for tokens (`tokenizer.ggml.pre`). transformers does not read
#: it, and splits as GPT-2 did, or as the models of the architecture do. Where that is another way, the right one.
_SPLITS = {
    "smollm": pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ]),
}  # fmt: skip
_AS_READ = {("llama", "gpt-2"), ("qwen2", "qwen2"), ("qwen3", "qwen2")}


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself.

    licence        as the file states it, "" where it does not
    quantisation   type of tensors -> how many are stored in it
    split          how its byte-level tokenizer splits texts (`tokenizer.ggml.pre`); "" for a tokenizer of another kind
    special        attribute of a tokenizer of transformers -> token
    scaling        what scales its positions, a tensor's or a field's name; "" where nothing does
    """

    architecture: str
    licence: str
    quantisation: dict[str, int]
    split: str
    special: dict[str, str]
    scaling: str


def read_header(path: Path, label: str = "") -> Header:
    """Read what stands in front of the tensors. Raises ModelError where there is no file, or it is no GGUF file.

    `label` names the file in messages, if not its path.
    """
    import gguf  # where a model comes from another place it need not be installed

    label = label or str(path)
    with _reading(label):
        with path.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                raise ModelError(f"{label}: is no GGUF file (it does not begin with GGUF)")
        reader = gguf.GGUFReader(path)

        def text(name: str) -> str:
            field = reader.get_field(name)
            return str(field.contents()) if field else ""

        tokens, special = reader.get_field("tokenizer.ggml.tokens"), {}
        for name, attribute in _SPECIAL.items():
            number = reader.get_field(f"tokenizer.ggml.{name}_token_id")
            if number and tokens:
                special[attribute] = str(tokens.contents(int(number.contents())))
        types = Counter(tensor.tensor_type.name for tensor in reader.tensors)
        byte_level = text("tokenizer.ggml.model") == "gpt2"
        split = (text("tokenizer.ggml.pre") or "default") if byte_level else ""
        architecture, licence = text("general.architecture"), text("general.license")
        scaling = [tensor.name for tensor in reader.tensors if tensor.name.startswith("rope_")]
        if text(kind := f"{architecture}.rope.scaling.type") not in ("", "none"):
            scaling.append(kind)
        return Header(architecture, licence, dict(sorted(types.items())), split, special, "".join(scaling[:1]))


def convert(path: Path, folder: Path, dtype: str = "float32", label: str = "") -> Header:
    """Write the model of a GGUF file to `folder`, with weights of `dtype`; what the file says of itself.

    Raises ModelError, with `label` or the path, when it is no GGUF file, is damaged, of an architecture that
    transformers can't read from one, or holds what transformers would leave out without a word.
    """
    label = label or str(path)
    header = read_header(path, label)
    if header.scaling:
        raise ModelError(f"{label}: scales positions ({header.scaling}), and transformers does not read that from GGUF")
    hf_logging.disable_progress_bar()
    # transformers also reads what else lies beside the file: adapters, and parts of a tokenizer.
    with TemporaryDirectory() as alone, _reading(label):
        (Path(alone) / "model.gguf").symlink_to(path.resolve())
        where: dict[str, Any] = {"pretrained_model_name_or_path": alone, "gguf_file": "model.gguf"}
        model, info = AutoModelForCausalLM.from_pretrained(
            **where, dtype=getattr(torch, dtype), output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(**where)
    if missing := sorted(info["missing_keys"]):
        # transformers fills them with random numbers.
        raise ModelError(f"{label}: lacks {len(missing)} weights, {missing[0]!r} the first")
    stored, weights = sum(header.quantisation.values()), len(list(model.parameters()))
    if stored > weights:
        raise ModelError(f"{label}: has {stored} tensors, of which transformers reads {weights}; biases, for example")
    repair_tokenizer(tokenizer, header)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return header


def knows_split(header: Header) -> bool:
    """Whether the file's tokenizer is known to split texts here as it should."""
    return not header.split or header.split in _SPLITS or (header.architecture, header.split) in _AS_READ


def repair_tokenizer(tokenizer: PreTrainedTokenizerBase, header: Header) -> None:
    """Give a tokenizer what transformers does not read from a GGUF file, or reads wrong.

    Of the architecture llama it takes the first special token for the last one as well, and no padding; no token is
    added, as all of these are in the vocabulary. To decode, it would take away a space in front and write every "▁",
    which means nothing in a byte-level vocabulary, as a space.
    """
    for attribute, token in header.special.items():
        setattr(tokenizer, attribute, token)
    if header.split:
        tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    if header.split in _SPLITS:
        tokenizer.backend_tokenizer.pre_tokenizer = _SPLITS[header.split]
    # Otherwise each load warns that what transformers itself has set is ignored.
    tokenizer.clean_up_tokenization_spaces = False


@contextmanager
def _reading(label: str) -> Iterator[None]:
    """What readers raise for a file that they can't read becomes an error of one line."""
    try:
        yield
    except CultureNeuronsError:
        raise
    except FileNotFoundError:
        raise ModelError(f"{label}: no such file") from None
    except Exception as error:  # of the system, NumPy, gguf and transformers: the bytes may be anything
        raise ModelError(f"{label}: can't be read as a model in GGUF ({first_line(error)})") from None
