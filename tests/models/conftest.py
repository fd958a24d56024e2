"""Untrained models of the real architectures, two layers each, and questions with images."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Glm4Config,
    Glm4ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from culture_neurons.data import images
from culture_neurons.data.readers import synthetic
from culture_neurons.models import loading
from culture_neurons.models.adapters import adapt
from culture_neurons.models.demo import architectures
from culture_neurons.models.inference import right_answer
from culture_neurons.models.inputs import contexts, process
from culture_neurons.types import Sample
from tests.models import eyes

torch.set_num_threads(1)
SIZES = {"layers": 2, "hidden": 32, "intermediate": 48, "vision_layers": 2, "vision_hidden": 32}
#: Language models, and the sizes that they are made in.
TEXT = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM), "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM),
    "glm4": (Glm4Config, Glm4ForCausalLM), "phi3": (Phi3Config, Phi3ForCausalLM),
}  # fmt: skip
TEXT_SIZES = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 6, "pad_token_id": 0,
}  # fmt: skip


def language_model(name: str, tokenizer, dtype: torch.dtype) -> loading.Loaded:
    """An untrained language model of `TEXT`, with the tokenizer of a demo model."""
    config_class, model_class = TEXT[name]
    torch.manual_seed(1)
    model = model_class(config_class(**TEXT_SIZES, vocab_size=len(tokenizer))).to(dtype).eval().requires_grad_(False)
    for parameter in model.parameters():  # the usual weights are so small that nothing depends on the tokens
        parameter.mul_(4 if parameter.ndim > 1 else 1)
    return loading.Loaded(name, model, tokenizer, adapt(model), "r", str(dtype).removeprefix("torch."))


def text_folder(folder: Path) -> str:
    """Save a tiny Llama with a tokenizer of words and a chat template, and give its folder."""
    words = ["<pad>", "</s>", "<unk>", *"ABCD.?\n", "user", "assistant", "Which", "rice", "bread"]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split("\n", "isolated"),
        pre_tokenizers.Punctuation(),
    ])  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        chat_template="{% for m in messages %}user\n{{ m['content'] }}\n{% endfor %}assistant\n",
    )  # fmt: skip
    config = LlamaConfig(vocab_size=len(words), hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=2)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def byte_tokenizer(texts: list[str], size: int = 400) -> PreTrainedTokenizerFast:
    """A tokenizer of byte pairs, learnt from `texts`: a word and the space before it are one token, as in Llama 3.
    Its chat template is the bare text."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<pad>", "</s>"], initial_alphabet=alphabet,
                                  show_progress=False)  # fmt: skip
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>",
        chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}",
    )  # fmt: skip


def gradients_of_rows(loaded: loading.Loaded, question: list, opener) -> tuple[float, np.ndarray]:
    """P(right option) of one question whose options have a row each, and the attribution of gate_proj, [layer, unit],
    from gradients as PyTorch keeps them."""
    apart = process(loaded, question, opener)
    context = process(loaded, contexts(question), opener).tokens
    kept = []

    def keep(module, args, output):
        output.requires_grad_().retain_grad()
        kept.append(output)

    handles = [mlp.gate_proj.register_forward_hook(keep) for mlp in loaded.adapter.mlps]
    with torch.enable_grad():
        p = right_answer(loaded, apart).exp()[0]
        p.backward()
    for handle in handles:
        handle.remove()
    lengths = apart.inputs["attention_mask"].sum(dim=1).tolist()[: int((apart.reads.question >= 0).sum())]
    result = []
    for a in kept:
        products = [row[len(row) - n :] for row, n in zip((a * a.grad).detach(), lengths, strict=False)]
        # All options follow from one and the same activation at a token of the context.
        shared = sum(product[:context] for product in products)
        tokens = torch.cat([shared, *(product[context:] for product in products)])
        result.append(p.detach() * tokens.amax(dim=0))
    return float(p.detach()), torch.stack(result).numpy()


@pytest.fixture(scope="session")
def questions() -> SimpleNamespace:
    """`samples` and `opener`; questions differ in length, so that batches are padded."""
    source = synthetic.read({"samples_per_culture": 3})
    samples = [
        Sample(r.sample_id, r.culture, r.category, r.question, tuple(r.options), int(r.label), "identify",
               r.image, r.image_id)
        for r in source.rows.itertuples()
    ]  # fmt: skip
    return SimpleNamespace(samples=samples, opener=images.opener(source.images))


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, str]:
    """Saved tiny models by architecture."""
    result = {}
    for architecture in architectures.ARCHITECTURES:
        folder = tmp_path_factory.mktemp("models") / architecture
        model, processor = architectures.build(architecture, seed=3, **SIZES)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        result[architecture] = str(folder)
    return result


@pytest.fixture(scope="session", params=architectures.ARCHITECTURES)
def loaded(request, folders) -> loading.Loaded:
    """One loaded model per architecture."""
    return loading.load({"name": request.param, "path": folders[request.param], "dtype": "float32"})


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    """Loads a model of a family of `eyes`, each once."""
    return cache(lambda name: loading.load({"name": name, "path": eyes.save(name, tmp_path_factory.mktemp(name))}))


@pytest.fixture(scope="session")
def one(folders) -> loading.Loaded:
    """A single loaded model, where one architecture is enough."""
    return loading.load({"name": "one", "path": folders["llava-next-mistral"]})


@pytest.fixture
def texts(questions):
    """Questions as contexts, of unequal lengths, with options of one to several tokens, and a neutral context."""
    return [
        replace(
            s, image=None, image_id="", question=s.question.rstrip("?") + " indeed" * (i % 3),
            neutral="Which " * (i % 2 + 1) + "one is",
            options=tuple(f"{option}{' and more' * ((i + k) % 3)}" for k, option in enumerate(s.options[: 3 + i % 2])),
            label=i % 3,
        )
        for i, s in enumerate(questions.samples[:8])
    ]  # fmt: skip
