"""How ablations are evaluated without an engine: one mask and one question at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from culture_neurons.models.hooks import ablate
from culture_neurons.models.inputs import Opener, Prompt, prepare
from culture_neurons.models.letters import letter_tokens
from culture_neurons.models.loading import Loaded
from culture_neurons.types import NeuronMask, Sample


def evaluate(
    loaded: Loaded, samples: Sequence[Sample], opener: Opener, prompt: Prompt, masks: Sequence[NeuronMask]
) -> dict[tuple[int, str], tuple[int, np.ndarray]]:
    """Prediction and log-probabilities by mask number and sample id.

    For each mask and question anew: prompt and image are processed, the vision tower runs, and logits of the
    whole vocabulary are made at every position.
    """
    found = {}
    with ablate(loaded.adapter, masks) as ablation:
        for index in range(len(masks)):
            ablation.use(index)
            for sample in samples:
                batch = prepare(loaded, [sample], opener, prompt)
                with torch.inference_mode():
                    logits = loaded.model(**batch.inputs).logits[0]
                found[index, sample.sample_id] = _read(loaded, logits, batch.orders[0])
    return found


def _read(loaded: Loaded, logits: torch.Tensor, order: Sequence[int]) -> tuple[int, np.ndarray]:
    """The most likely option, and each option's log-probability, at the last position of [token, vocabulary]."""
    logprobs = logits.float().log_softmax(dim=-1)[-1]
    by_letter = [float(logprobs[ids].logsumexp(dim=0)) for ids in letter_tokens(loaded, len(order))]
    result = np.empty(len(order))
    result[list(order)] = by_letter
    return int(result.argmax()), result


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
