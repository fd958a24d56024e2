"""Ablation: every mask on every question, the model loaded once and each input processed once."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby

import torch

from culture_neurons.errors import ModelError
from culture_neurons.models.batching import out_of_memory
from culture_neurons.models.hooks import Ablation, ablate, parts_of
from culture_neurons.models.inference import Answer, Letters, Reading, answers, ask, letters_of, on_device
from culture_neurons.models.inputs import Batch, Prompt
from culture_neurons.models.loading import Loaded
from culture_neurons.models.replay import Entered, enter
from culture_neurons.models.vision import image_features_kept
from culture_neurons.types import NeuronMask, OwnMasks

log = logging.getLogger("culture_neurons")

#: What a pass gives: the reading at the answer's position, and generated texts if any.
Outcome = tuple[Reading, list[str] | None]


@contextmanager
def evaluator(loaded: Loaded, masks: Sequence[NeuronMask | OwnMasks], prompt: Prompt) -> Iterator[Evaluator]:
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

    def __init__(
        self, loaded: Loaded, masks: Sequence[NeuronMask | OwnMasks], prompt: Prompt, ablation: Ablation
    ) -> None:
        self._loaded, self._prompt, self._ablation = loaded, prompt, ablation
        # What is kept of a layer, its attention and projections, is what masks at other sites change.
        elsewhere = any((part.site != "act_fn").any() for mask in masks for part in parts_of(mask))
        self._whole_only = prompt.answer != "logprob" or elsewhere
        #: Ways through the decoder, parted or not, whose answers were compared with those of a whole pass.
        self._compared: set[bool] = set()
        #: Prefixes are shared by questions that may have different masks, where each has its own.
        self._shared = not any(isinstance(mask, OwnMasks) for mask in masks)
        seen: dict[Hashable, int] = {}
        #: Per mask, the first mask that does the same.
        self._same = [seen.setdefault(_key(mask), i) for i, mask in enumerate(masks)]
        self._distinct = sorted(set(self._same))
        self._size = [sum(map(len, parts_of(mask))) for mask in masks]
        self._under = [_under(mask) for mask in masks]
        #: Per mask, the first layer that it touches.
        self._first = [
            min((int(part.layer.min()) for part in parts_of(mask) if len(part)), default=loaded.adapter.n_layers)
            for mask in masks
        ]

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[list[Answer]]:
        """The answers under each mask: [mask][sample]."""
        letters = letters_of(self._loaded, batch)
        inputs = on_device(self._loaded, batch)
        self._ablation.ask([sample.culture for sample in batch.samples])
        same = batch.same_image if self._shared else None
        with image_features_kept(self._loaded.model, batch.image_of):
            readings = self._replayed(inputs, letters, same)
            if readings is None:
                readings = self._whole(inputs, letters, self._distinct)
        found = {}
        for i, reading in readings.items():
            self._ablation.use(i)  # so that a pass which looks for a layer has the mask in force too
            found[i] = answers(self._loaded, batch, letters, *reading, under=self._under[i])
        return [found[i] for i in self._same]

    def _replayed(
        self, inputs: Mapping[str, torch.Tensor], letters: Letters, same: Sequence[int] | None
    ) -> dict[int, Outcome] | None:
        """Readings from replays; None, from then on, once they are found to be wrong.

        The first batch of each way through the decoder decides: its largest mask runs a whole pass as well. They
        differ for a model that does more than normalise and project after its last layer (such as capping its
        logits), or whose layers pass on more than hidden states.
        """
        if self._whole_only:
            return None
        parted: bool | None = None
        try:
            self._ablation.use(None)
            entered = enter(self._loaded, inputs, same)
            parted = entered.parted
            readings = self._through(entered, letters)
        except (ModelError, RuntimeError, TypeError, AttributeError, IndexError) as error:
            if parted in self._compared or out_of_memory(error):
                raise
        else:
            if parted in self._compared or self._right(readings, inputs, letters):
                self._compared.add(parted)
                return readings
        self._whole_only = True
        log.warning(
            "%s: its decoder can't be entered half-way; every mask runs whole forward passes", self._loaded.name
        )
        return None

    def _right(self, readings: Mapping[int, Outcome], inputs: Mapping[str, torch.Tensor], letters: Letters) -> bool:
        """Whether a whole pass under the largest mask gives the same log-probabilities."""
        largest = max(self._distinct, key=self._size.__getitem__)
        expected = self._whole(inputs, letters, [largest])[largest][0]
        return _agree(readings[largest][0], expected, self._loaded.dtype)

    def _through(self, entered: Entered, letters: Letters) -> dict[int, Outcome]:
        readings: dict[int, Outcome] = {}
        by_layer = sorted(self._distinct, key=lambda i: (self._first[i], i))
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

    def _whole(
        self, inputs: Mapping[str, torch.Tensor], letters: Letters, indices: Sequence[int]
    ) -> dict[int, Outcome]:
        readings = {}
        for index in indices:
            self._ablation.use(index)
            readings[index] = ask(self._loaded, inputs, self._prompt, letters)
            self._ablation.check()
        return readings


def _key(mask: NeuronMask | OwnMasks) -> Hashable:
    """Equal for masks that do the same."""
    if isinstance(mask, OwnMasks):
        return tuple((part.culture, *_key(part)) for part in mask.masks)
    return mask.site.tobytes(), mask.layer.tobytes(), mask.neuron.tobytes(), mask.factor if len(mask) else None


def _under(mask: NeuronMask | OwnMasks) -> str:
    """For messages."""
    if isinstance(mask, OwnMasks):
        return " under the masks of their own cultures"
    return f" under the mask of {mask.culture!r} ({len(mask)} neurons)"


def _agree(found: Reading, expected: Reading, dtype: str) -> bool:
    """Whether log-probabilities agree to 1e-4 of their scale (half precision: 5e-2)."""
    tolerance = 1e-4 if dtype in ("float32", "float64") else 5e-2
    apart = (found.by_letter.to(expected.by_letter.device) - expected.by_letter).abs().max()
    return bool(apart <= tolerance * expected.by_letter.abs().max().clamp_min(1))
