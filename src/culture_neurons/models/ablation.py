"""Zero ablation: every mask on every question, the model loaded once and each input processed once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby

import torch

from culture_neurons.models.hooks import Ablation, ablate
from culture_neurons.models.inference import Answer, Letters, Reading, answers, ask, letters_of, on_device
from culture_neurons.models.inputs import Batch, Prompt
from culture_neurons.models.loading import Loaded
from culture_neurons.models.replay import Entered, enter, enter_checked
from culture_neurons.models.vision import image_features_kept
from culture_neurons.types import NeuronMask

log = logging.getLogger("culture_neurons")

#: What a pass gives: the reading at the answer's position, and generated texts if any.
Outcome = tuple[Reading, list[str] | None]


@contextmanager
def evaluator(loaded: Loaded, masks: Sequence[NeuronMask], prompt: Prompt) -> Iterator[Evaluator]:
    """Hooks on the model for as long as batches are evaluated under `masks`."""
    with ablate(loaded.adapter, masks) as ablation:
        yield Evaluator(loaded, masks, prompt, ablation)


class Evaluator:
    """Answers a batch under every mask; see `evaluator`.

    A batch is on the device once and passes through the vision tower once. Log-probabilities come from
    replays of the decoder (`models.replay`), in the order of the masks' first layers: what lies before is
    computed once for all of them. Nothing waits for the device until the last mask has run.
    Masks with the same neurons share one pass; one without neurons is the model as it is.
    """

    def __init__(self, loaded: Loaded, masks: Sequence[NeuronMask], prompt: Prompt, ablation: Ablation) -> None:
        self._loaded, self._prompt, self._ablation = loaded, prompt, ablation
        self._replays: bool | None = None if prompt.answer == "logprob" else False
        seen: dict[tuple[bytes, bytes], int] = {}
        #: Per mask, the first mask with the same neurons.
        self._same = [seen.setdefault((mask.layer.tobytes(), mask.neuron.tobytes()), i) for i, mask in enumerate(masks)]
        #: Per mask, the first layer that it touches.
        self._first = [int(mask.layer.min()) if len(mask) else loaded.adapter.n_layers for mask in masks]

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[list[Answer]]:
        """The answers under each mask: [mask][sample]."""
        letters = letters_of(self._loaded, batch)
        inputs = on_device(self._loaded, batch)
        with image_features_kept(self._loaded.model, batch.image_of):
            entered = self._enter(inputs, batch.same_image)
            readings = self._replayed(entered, letters) if entered else self._whole(inputs, letters)
        found = {i: answers(self._loaded, batch, letters, *reading) for i, reading in readings.items()}
        return [found[i] for i in self._same]

    def _enter(self, inputs: Mapping[str, torch.Tensor], same: Sequence[int]) -> Entered | None:
        """The batch at the first decoder layer; None when whole passes are needed. The first batch decides."""
        self._ablation.use(None)
        if self._replays is not None:
            return enter(self._loaded, inputs, same) if self._replays else None
        entered = enter_checked(self._loaded, inputs, same)
        self._replays = entered is not None
        if not self._replays:
            log.warning(
                "%s: its decoder can't be entered half-way; every mask runs whole forward passes", self._loaded.name
            )
        return entered

    def _replayed(self, entered: Entered, letters: Letters) -> dict[int, Outcome]:
        readings: dict[int, Outcome] = {}
        by_layer = sorted(set(self._same), key=lambda i: (self._first[i], i))
        for layer, group in groupby(by_layer, key=self._first.__getitem__):
            indices = list(group)
            self._ablation.use(None)
            entered.advance(layer)
            if len(indices) > 1:
                entered.keep()
            for index in indices:
                self._ablation.use(index)
                readings[index] = letters.read(entered.logits()), None
                self._ablation.check(first=layer)
        return readings

    def _whole(self, inputs: Mapping[str, torch.Tensor], letters: Letters) -> dict[int, Outcome]:
        readings = {}
        for index in sorted(set(self._same)):
            self._ablation.use(index)
            readings[index] = ask(self._loaded, inputs, self._prompt, letters)
            self._ablation.check()
        return readings
