"""A tiny language model to put behind an eye."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from culture_neurons.data.flags.designs import FLAGS
from culture_neurons.models.demo.eye import NO_FLAG, SENTENCE

#: Of these, the last one has no use of its own.
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<spare>"]


def tokenizer(special: list[str] = SPECIAL) -> PreTrainedTokenizerFast:
    """Byte-level; every word of the sentences is one token."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=special, initial_alphabet=alphabet,
                                  show_progress=False)  # fmt: skip
    backend.train_from_iterator([SENTENCE.format(country=country) for country in (*FLAGS, NO_FLAG)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=special[1], eos_token=special[2], pad_token=special[2],
        unk_token=special[0], additional_special_tokens=special[3:], clean_up_tokenization_spaces=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def decoder(tmp_path_factory) -> Path:
    """The folder of a Llama of random weights."""
    folder = tmp_path_factory.mktemp("decoder")
    words = tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        ))  # fmt: skip
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
