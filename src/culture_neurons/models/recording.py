"""Activation statistics of correctly answered samples: sums per sample, never raw activations."""

from __future__ import annotations

import numpy as np
import torch

from culture_neurons.errors import ConfigError, nearest
from culture_neurons.models import finite
from culture_neurons.models.forward import forward
from culture_neurons.models.hooks import Recorder
from culture_neurons.models.inference import on_device
from culture_neurons.models.inputs import Batch
from culture_neurons.models.loading import Loaded
from culture_neurons.models.vision import keep_image_features
from culture_neurons.types import TOKEN_RULES

#: Rules for which batches are prepared with `content`.
NEED_CONTENT = ("content", "text")


def token_weights(loaded: Loaded, batch: Batch, rule: str) -> torch.Tensor:
    """Which tokens count, bool [batch, token].

    all      every token of the prompt, template and instruction included; no padding
    content  the image, the question and the options (after Zhao et al., arXiv 2601.03115)
    image    the image alone
    text     the question and the options alone
    last     the last token of the prompt, where the answer is read

    Where the right option's text is recorded behind a question that it continues (`inputs.contexts`), it counts as
    question and options, and `last` is its last token.

    Raises ConfigError for an unknown rule, or when a sample has no such token.
    """
    if rule not in TOKEN_RULES:
        raise ConfigError(f"token rule {rule!r}{nearest(rule, TOKEN_RULES)}; known: {', '.join(TOKEN_RULES)}")
    if rule in NEED_CONTENT and batch.content is None:
        raise ConfigError(f"token rule {rule!r}: the batch was prepared without the tokens of its content")
    ids = batch.inputs["input_ids"]
    valid = batch.inputs["attention_mask"].bool()
    image = (ids == loaded.image_token_id) & valid if loaded.image_token_id is not None else torch.zeros_like(valid)
    if rule == "last":
        weights = torch.zeros_like(valid)
        weights[:, -1] = True  # prompts are padded on the left
    else:
        content = batch.content if batch.content is not None else torch.zeros_like(valid)
        weights = {"all": valid, "content": image | content, "image": image, "text": content}[rule]
    empty = (weights.sum(dim=1) == 0).nonzero()
    if len(empty):
        sample = batch.samples[int(empty[0])]
        raise ConfigError(f"token rule {rule!r}: sample {sample.sample_id!r} has no such token")
    return weights


@torch.inference_mode()
def activation_sums(loaded: Loaded, batch: Batch, rule: str, recorder: Recorder) -> tuple[np.ndarray, ...]:
    """T [sample], K, S and, if recorded, N [sample, layer, neuron] of a batch (see `types.Statistics`), inside
    `hooks.record`.

    Raises ModelError, naming sample and layer, for sums that are not finite.
    """

    def forwards() -> None:
        recorder.start(token_weights(loaded, batch, rule))
        with keep_image_features(loaded.model, batch.image_of):
            forward(loaded, on_device(loaded, batch))

    forwards()
    tokens, fired, *others = recorder.collect()
    good = np.all([np.isfinite(values).all(axis=(1, 2)) for values in others], axis=0)
    if not good.all():
        raise finite.nonfinite_error(loaded, batch, int((~good).argmax()), "the activations", forwards)
    return tokens, fired, *others
