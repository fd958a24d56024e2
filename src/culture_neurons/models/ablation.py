"""Ablation: every mask on every question, the model loaded once and each input processed once."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby

import torch
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models.batching import is_out_of_memory
from culture_neurons.models.forward import logits_at
from culture_neurons.models.hooks import Ablation, ablate
from culture_neurons.models.inference import Answer, answers, ask, on_device, reader_of
from culture_neurons.models.inputs import Batch, Prompt
from culture_neurons.models.loading import Loaded
from culture_neurons.models.mask_places import masks_of
from culture_neurons.models.packing import packed
from culture_neurons.models.readings import Reader, Reading
from culture_neurons.models.replay import Replay
from culture_neurons.models.vision import keep_image_features
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
    replays of the model's own forward pass (`models.replay`), in the order of the masks' first layers: what lies
    before is computed once for all of them. Nothing waits for the device until the last mask has run.
    Masks with the same neurons share one pass; one without neurons is the model as it is.
    """

    def __init__(
        self, loaded: Loaded, masks: Sequence[NeuronMask | OwnMasks], prompt: Prompt, ablation: Ablation
    ) -> None:
        self._loaded, self._prompt, self._ablation = loaded, prompt, ablation
        self._whole_passes_only = prompt.answer == "generate"
        #: Whether replays leave out more than layers (`Replay`); not, once that was found to change a bit.
        self._savings = True
        #: Kinds of replays that were compared with whole passes.
        self._compared: set[Hashable] = set()
        seen: dict[Hashable, int] = {}
        #: Per mask, the first mask that does the same.
        self._same = [seen.setdefault(_key(mask), i) for i, mask in enumerate(masks)]
        self._distinct = sorted(set(self._same))
        self._by_culture = any(isinstance(mask, OwnMasks) for mask in masks)
        self._size = [sum(map(len, masks_of(mask))) for mask in masks]
        self._under = [_under(mask) for mask in masks]
        self._start = [_start(mask, loaded.adapter.n_layers) for mask in masks]

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[list[Answer]]:
        """The answers under each mask: [mask][sample]."""
        batch, cultures = packed(self._loaded, batch, self._by_culture)
        reader = reader_of(self._loaded, batch)
        inputs = on_device(self._loaded, batch)
        self._ablation.ask(cultures)
        with keep_image_features(self._loaded.model, batch.image_of):
            readings = self._replayed(batch, inputs, reader)
            if readings is None:
                readings = self._run_whole_passes(inputs, reader, self._distinct)
        answers_by_mask = {}
        for i, reading in readings.items():
            self._ablation.use(i)  # so that a pass which looks for a layer has the mask in force too
            answers_by_mask[i] = answers(self._loaded, batch, reader, *reading, under=self._under[i])
        return [answers_by_mask[i] for i in self._same]

    def _replayed(self, batch: Batch, inputs: Mapping[str, torch.Tensor], reader: Reader) -> dict[int, Outcome] | None:
        """Readings from replays; None, from then on, where they can't be had or are not those of whole passes."""
        if self._whole_passes_only:
            return None
        try:
            return self._through(
                Replay(self._loaded, inputs, reader.positions, self._savings), _kind(batch), inputs, reader
            )
        except (ModelError, RuntimeError, TypeError, AttributeError, LookupError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            why = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
        why = why.partition("\n")[0]
        if self._savings:
            self._savings = False
            self._compared.clear()
            log.info("%s: replays leave out layers alone (%s)", self._loaded.name, why)
            return self._replayed(batch, inputs, reader)
        self._whole_passes_only = True
        log.warning(
            "%s: its layers can't be replayed (%s); every mask runs whole forward passes", self._loaded.name, why
        )
        return None

    def _through(
        self, replay: Replay, kind: Hashable, inputs: Mapping[str, torch.Tensor], reader: Reader
    ) -> dict[int, Outcome]:
        """Readings of all masks. Raises ModelError where a replay does not give the numbers of a whole pass.

        Compared, on the first batch of a kind: a mask that starts at a layer of each structure, and then, when what is
        kept has advanced past all these layers, no mask.
        """
        readings: dict[int, Outcome] = {}
        new: set[Hashable] = set()
        # The first batch of a kind begins with the model as it is, a whole pass.
        self._ablation.use(None)
        plain = replay.logits() if kind not in {known for known, *_ in self._compared} else None
        # The largest mask of those that start at one place comes last: it shows if an earlier pass spoilt what is kept.
        in_order = sorted(self._distinct, key=lambda i: (self._start[i], self._size[i], i))
        for (layer, activation_only), group in groupby(in_order, key=self._start.__getitem__):
            if layer < self._loaded.adapter.n_layers:
                self._ablation.use(None)
                replay.advance(layer)
            for index in group:
                self._ablation.use(index)
                logits = replay.logits(activation_only)
                self._ablation.check(first=layer, partly=activation_only)
                readings[index] = reader.read(logits), None
            replay_kind = (kind, replay.kind, self._structure(layer), activation_only)
            if replay_kind not in self._compared | new:
                new.add(replay_kind)
                if self._size[index]:
                    plainly = self._logits(inputs, index, reader)
                    _compare(logits, plainly, f"under a mask of {self._size[index]} neurons")
        if new:
            plain = self._logits(inputs, None, reader) if plain is None else plain
            self._ablation.use(None)
            _compare(replay.logits(), plain, "under an empty mask")
        self._compared |= new
        return readings

    def _structure(self, layer: int) -> Hashable:
        """Equal for layers that run the same code; None behind the last one."""
        layers = self._loaded.adapter.layers
        return structure(layers[layer]) if layer < len(layers) else None

    def _logits(self, inputs: Mapping[str, torch.Tensor], index: int | None, reader: Reader) -> torch.Tensor:
        """Logits of a whole pass under a mask; None: of the model as it is."""
        self._ablation.use(index)
        return logits_at(self._loaded, inputs, reader.positions)

    def _run_whole_passes(
        self, inputs: Mapping[str, torch.Tensor], reader: Reader, indices: Sequence[int]
    ) -> dict[int, Outcome]:
        readings = {}
        for index in indices:
            self._ablation.use(index)
            readings[index] = ask(self._loaded, inputs, self._prompt, reader)
            self._ablation.check()
        return readings


def _key(mask: NeuronMask | OwnMasks) -> Hashable:
    """Equal for masks that do the same."""
    if isinstance(mask, OwnMasks):
        return tuple((m.culture, *_key(m)) for m in mask.masks)
    return mask.site.tobytes(), mask.layer.tobytes(), mask.neuron.tobytes(), mask.factor if len(mask) else None


def _under(mask: NeuronMask | OwnMasks) -> str:
    """For messages."""
    if isinstance(mask, OwnMasks):
        return " under the masks of their own cultures"
    return f" under the mask of {mask.culture!r} ({len(mask)} neurons)"


def _start(mask: NeuronMask | OwnMasks, n_layers: int) -> tuple[int, bool]:
    """The first layer that a mask touches (`n_layers`: none), and whether its activation is all that it touches there.

    Otherwise what is kept of that layer, its attention and projections, is what the mask changes.
    """
    masks = [m for m in masks_of(mask) if len(m)]
    first = min((int(m.layer.min()) for m in masks), default=n_layers)
    return first, all((m.site[m.layer == first] == "act_fn").all() for m in masks)


def _kind(batch: Batch) -> Hashable:
    """Equal for batches that take the same way through a model, as far as their inputs tell.

    Names, dtypes and axes of the inputs (with images or without), whether any prompt is padded, and whether there is
    one prompt or several.
    """
    inputs = tuple((name, value.dtype, value.ndim) for name, value in sorted(batch.inputs.items()))
    return inputs, bool(batch.inputs["attention_mask"].all()), len(batch.questions) == 1


def structure(layer: nn.Module) -> Hashable:
    """Of a decoder layer's modules: names, classes, and what their attributes say of the way they run.

    Flags and words count by value (`is_sliding`), all else by its type, so that an index makes no difference.
    """
    return tuple(
        (name, type(module), tuple((key, value if isinstance(value, bool | str) else type(value))
                                   for key, value in sorted(vars(module).items()) if not key.startswith("_")))
        for name, module in layer.named_modules()
    )  # fmt: skip


def _compare(logits: torch.Tensor, expected: torch.Tensor, under: str) -> None:
    """Raise ModelError unless logits are equal, bit for bit."""
    if not bool(((logits == expected) | (logits.isnan() & expected.isnan())).all()):
        apart = (logits.double() - expected.double()).abs().max()
        raise ModelError(f"{under}, logits differ from those of a whole pass by up to {apart:.2g}")
