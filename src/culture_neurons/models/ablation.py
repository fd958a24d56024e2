"""Zero ablation: every mask on every question, the model loaded once and each input processed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import Answer, Batch, Prompt, answer, on_device
from culture_neurons.models.loading import Loaded
from culture_neurons.types import NeuronMask


def evaluate(
    loaded: Loaded, batches: Iterable[Batch], masks: Sequence[NeuronMask], prompt: Prompt
) -> Iterator[tuple[Batch, list[list[Answer]]]]:
    """For each batch, the answers under each mask: [mask][sample].

    Batches run in the outer loop, so that only one batch of inputs is held; its images pass through
    the vision tower once, because masks touch the decoder only. A mask without neurons is the model
    as it is; all such masks share one forward pass per batch.
    """
    with ablate(loaded.adapter, masks) as ablation:
        for batch in batches:
            batch = replace(batch, inputs=on_device(loaded, batch))
            untouched: list[Answer] | None = None
            answers = []
            with image_features_kept(loaded.model):
                for index, mask in enumerate(masks):
                    if len(mask) == 0 and untouched is not None:
                        answers.append(untouched)
                        continue
                    ablation.use(index)
                    answers.append(answer(loaded, batch, prompt))
                    ablation.check()
                    if len(mask) == 0:
                        untouched = answers[-1]
            yield batch, answers


@contextmanager
def image_features_kept(model: nn.Module) -> Iterator[None]:
    """Inside, the model computes the features of the same image tensor once; outside, it is as it was.

    Numbers don't change: the same tensors are handed out again. A model that has no
    `get_image_features` (a language model) is left alone.
    """
    inner: Any = getattr(model, "model", model)
    compute = getattr(inner, "get_image_features", None)
    if compute is None:
        yield
        return
    last: tuple[Any, Any] = (None, None)

    def once(pixel_values: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal last
        if last[0] is not pixel_values:
            last = pixel_values, compute(pixel_values, *args, **kwargs)
        return last[1]

    inner.get_image_features = once
    try:
        yield
    finally:
        del inner.get_image_features
