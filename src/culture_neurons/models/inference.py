"""Asking a model multiple-choice questions.

The answer is read in one forward pass: the log-probabilities of the option letters at the position where the answer
starts, over the whole vocabulary (`letters`), or those of the options' texts (`option_scores`). `answer: generate` is
the protocol of Zhao et al. (arXiv 2510.24942): greedy decoding of at most 20 tokens, parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from culture_neurons.data import prompts
from culture_neurons.models import finite
from culture_neurons.models.forward import forward, logits_at, naming_image_tokens
from culture_neurons.models.inputs import Batch, Prompt
from culture_neurons.models.letters import Letters
from culture_neurons.models.loading import Loaded
from culture_neurons.models.option_scores import TextReader
from culture_neurons.models.packing import packed
from culture_neurons.models.readings import Reader, Reading
from culture_neurons.models.vision import keep_image_features


@dataclass(frozen=True)
class Answer:
    """What a model answered: indices and log-probabilities (nats) are in the original order of the options."""

    prediction: int
    well_formed: bool
    logprobs: tuple[float, ...]


@torch.inference_mode()
def answer(loaded: Loaded, batch: Batch, prompt: Prompt) -> list[Answer]:
    """Answer every sample of a batch; logits are computed only at positions where something is read."""
    batch, _ = packed(loaded, batch)
    reader = reader_of(loaded, batch)
    inputs = on_device(loaded, batch)
    with keep_image_features(loaded.model, batch.image_of):
        reading, texts = ask(loaded, inputs, prompt, reader)
    return answers(loaded, batch, reader, reading, texts)


def right_answer(loaded: Loaded, batch: Batch) -> torch.Tensor:
    """log P(y) [sample] of one forward pass, with y the right option: its letter, with or without a space before it,
    among all tokens at the last position; or its text among those of the options (`option_scores`). Gradients go
    through it, where they are enabled."""
    inputs = on_device(loaded, batch)
    reader = reader_of(loaded, batch)
    with keep_image_features(loaded.model, batch.image_of):
        reading = reader.read(logits_at(loaded, inputs, reader.positions))
    right = [order.index(sample.label) for sample, order in zip(batch.samples, batch.orders, strict=True)]
    return reading.by_option.gather(1, torch.tensor(right, device=reading.by_option.device)[:, None])[:, 0]


def reader_of(loaded: Loaded, batch: Batch) -> Reader:
    """What reads the options of a batch: their texts, or their letters."""
    if batch.reads is not None:
        return TextReader(batch.reads)
    return Letters(loaded, max(len(order) for order in batch.orders))


def ask(
    loaded: Loaded, inputs: Mapping[str, torch.Tensor], prompt: Prompt, reader: Reader
) -> tuple[Reading, list[str] | None]:
    """One whole forward pass, or a generation: what is read where the answer starts, and the generated texts."""
    if prompt.answer != "generate":
        return reader.read(logits_at(loaded, inputs, reader.positions)), None
    with naming_image_tokens(loaded):
        output = loaded.model.generate(
            **inputs, max_new_tokens=prompt.max_new_tokens, do_sample=False, temperature=None, top_p=None, top_k=None,
            # Saved generation settings (Qwen's penalise repetition) apply to greedy decoding too, unless overruled.
            repetition_penalty=1.0, no_repeat_ngram_size=0,
            pad_token_id=loaded.tokenizer.pad_token_id, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
    new = output.sequences[:, inputs["input_ids"].shape[1] :]
    return reader.read(output.logits[0][:, None]), list(loaded.tokenizer.batch_decode(new, skip_special_tokens=True))


def answers(
    loaded: Loaded,
    batch: Batch,
    reader: Reader,
    reading: Reading,
    texts: Sequence[str] | None = None,
    under: str = "",
) -> list[Answer]:
    """What a reading means for each sample; `under` says in an error what is in force (`finite.nonfinite_error`).

    An option may have the probability 0, and so the log-probability -inf. Raises ModelError, naming sample and layer,
    where that is so of all options of a sample, or where a log-probability is no number or +inf: then the model's own
    numbers are not finite.
    """
    by_option, best = reading.by_option.cpu().numpy(), reading.best.cpu().numpy()
    bad = np.isnan(by_option).any(axis=1) | np.isposinf(by_option).any(axis=1) | np.isneginf(by_option).all(axis=1)
    if bad.any():
        quantity = "the log-probabilities"
        raise finite.nonfinite_error(
            loaded, batch, int(bad.argmax()), quantity, lambda: forward(loaded, on_device(loaded, batch)), under
        )
    return [
        _answer(order, by_option[b], int(best[b]), reader, None if texts is None else texts[b])
        for b, order in enumerate(batch.orders)
    ]


def _answer(order: tuple[int, ...], by_option: np.ndarray, best: int, reader: Reader, text: str | None) -> Answer:
    n = len(order)
    logprobs = np.empty(n, dtype=np.float32)
    logprobs[list(order)] = by_option[:n]
    if text is None:
        position = int(by_option[:n].argmax())
        well_formed = reader.is_well_formed(best, n)
    else:
        position = prompts.parse_answer(text, n)
        well_formed = position >= 0
    return Answer(order[position] if position >= 0 else -1, well_formed, tuple(logprobs.tolist()))


def on_device(loaded: Loaded, batch: Batch) -> dict[str, torch.Tensor]:
    """The inputs on the device of the model's first layer; floating-point ones in the model's dtype."""
    device, dtype = loaded.model.device, loaded.model.dtype
    return {key: value.to(device, dtype if value.is_floating_point() else None) for key, value in batch.inputs.items()}
