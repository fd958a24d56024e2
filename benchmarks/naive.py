"""How ablations are evaluated without an engine: one mask and one question at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from culture_neurons.errors import ConfigError
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inputs import Opener, Prompt, prepare, render
from culture_neurons.models.letters import letter_tokens
from culture_neurons.models.loading import Loaded
from culture_neurons.models.option_rows import continuation
from culture_neurons.models.option_scores import MEAN, PMI
from culture_neurons.types import NeuronMask, Sample


def evaluate(
    loaded: Loaded, samples: Sequence[Sample], opener: Opener, prompt: Prompt, masks: Sequence[NeuronMask]
) -> dict[tuple[int, str], tuple[int, np.ndarray]]:
    """Prediction and log-probabilities by mask number and sample id.

    For each mask and question anew: prompt and image are processed, the vision tower runs, and logits of the
    whole vocabulary are made at every position. Texts of options (`answer: options`) are asked one at a time, in passes
    of their own.
    """
    ask = _texts if prompt.answer == "options" else _letters
    found = {}
    with ablate(loaded.adapter, masks) as ablation, torch.inference_mode():
        for index in range(len(masks)):
            ablation.use(index)
            for sample in samples:
                logprobs = ask(loaded, sample, opener, prompt)
                found[index, sample.sample_id] = int(logprobs.argmax()), logprobs
    return found


def _letters(loaded: Loaded, sample: Sample, opener: Opener, prompt: Prompt) -> np.ndarray:
    """The log-probability of each option's letter at the last position."""
    batch = prepare(loaded, [sample], opener, prompt)
    order = batch.orders[0]
    logprobs = loaded.model(**batch.inputs).logits[0].float().log_softmax(dim=-1)[-1]
    result = np.empty(len(order))
    result[list(order)] = [float(logprobs[ids].logsumexp(dim=0)) for ids in letter_tokens(loaded, len(order))]
    return result


def _texts(loaded: Loaded, sample: Sample, opener: Opener, prompt: Prompt) -> np.ndarray:
    """The log-probability of each option's text among those of the question; a neutral context has no image."""
    (question,) = render(loaded, [sample], prompt)
    image = None if sample.image is None else opener(sample.image)
    options = question.options
    assert options is not None
    scores = []
    for text in options.texts:
        score = _log_probability(loaded, question.text, text, image)
        if options.score == MEAN:
            score /= len(text)
        if options.score == PMI:
            score -= _log_probability(loaded, options.neutral, text)
        scores.append(score)
    return np.array(scores) - np.logaddexp.reduce(scores)


def _log_probability(loaded: Loaded, context: str, text: str, image: Any = None) -> float:
    """log P(text | context), summed over the tokens of the text, of one pass of both and the image."""
    if not context:
        raise ConfigError(f"naive loop: no context before the option {text!r}; expected one, also a neutral one")
    shown = {} if image is None else {"images": [image]}
    process = loaded.tokenizer if image is None else loaded.processor
    first = process(text=[context], **shown, return_tensors="pt")["input_ids"].shape[1]
    inputs = process(text=[context + continuation(" ", context, text)], **shown, return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    logprobs = loaded.model(**inputs).logits[0].float().log_softmax(dim=-1)
    return sum(float(logprobs[place - 1, ids[place]]) for place in range(first, len(ids)))


class RawRecorder:
    """A hook that keeps every activation, as first scripts do; sums are made from them at the end."""

    def __init__(self, adapter: Any) -> None:
        self._kept: list[torch.Tensor] = []
        self._handles = [
            activation.register_forward_hook(lambda module, args, output: self._kept.append(output.detach().clone()))
            for activation in adapter.activations
        ]

    def collect(self, weights: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """K and S [sample, layer, neuron] of one forward pass."""
        g = torch.stack(self._kept, dim=1).float().cpu()  # (sample, layer, token, neuron)
        self._kept.clear()
        positive = torch.where(weights[:, None, :, None], g, 0.0).clamp_min(0)
        return (positive > 0).sum(dim=2).numpy(), positive.sum(dim=2).numpy()

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
