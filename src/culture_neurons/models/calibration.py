"""How long one model takes per question on the device at hand, for every kind of work.

A few batches stand for all questions. They are drawn from the batches of a real job, by length: the batches, longest
first, are parted into equal strata, and the middle one of each is run. It counts as often as the tokens of its
stratum, padding included, hold its own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from culture_neurons import seeds
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.attribution import attribute, attributor
from culture_neurons.models.batching import plan_batches, run_batches
from culture_neurons.models.devices import devices_of
from culture_neurons.models.hooks import record
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Batch, Opener, Prompt, Question, contexts, count_tokens, process, render
from culture_neurons.models.loading import Loaded
from culture_neurons.models.projections import Site
from culture_neurons.models.recording import NEED_CONTENT, activation_sums
from culture_neurons.types import NeuronMask, Sample

#: Ablation is run with so many masks, which parts what a batch costs once from what each mask costs.
FEW, MANY = 2, 6
#: Kinds of work that are timed; `ablate` is what a question costs before its first mask, `ablate_mask` what each adds.
WORK = ("prepare", "answer", "record", "ablate", "ablate_mask")
#: Each kind of work is timed so often.
REPEATS = 2
#: Passes that a question of a stratum takes in all: to fit, to time answers and recording, to write, and masks after a
#: warm-up; a first batch under masks is also compared with whole passes. Without masks everything is timed once.
PASSES = 3 + 2 * MANY + 2 * REPEATS + (2 + REPEATS) * (FEW + MANY)
PASSES_WITHOUT_MASKS = 5
#: The share of a run's passes that measuring it may take, and that of a run too small for a question of each stratum,
#: in which to load the model takes as long as all else.
SHARE, SMALL_SHARE = 10, 20
#: Strata that the batches are parted into, and the questions of one from which on there are several: in smaller batches
#: a question takes longer.
STRATA, BATCH = 3, 8
#: Bytes of recorded sums that are kept, so that a file of them can be written.
_KEPT = 128 << 20


@dataclass(frozen=True)
class Stratum:
    """A batch, and how many times it stands for itself."""

    questions: Sequence[Question]
    weight: float


@dataclass(frozen=True)
class Spread:
    """The batches to run.

    strata      middle batches of the strata, long ones first
    longest     the batch for which memory runs short first; where parts of batches are run, the first of them
    questions   how many questions the strata stand for
    """

    strata: Sequence[Stratum]
    longest: Sequence[Question]
    questions: int


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    seconds      per kind of WORK, float64 [repeat]: seconds per question, as the mean over all questions; and
                 `attribute`, where there are sites to attribute
    tokens       of a question: the mean over all, and the most that was seen
    batch_size   of the largest batch that fitted into memory
    questions    how many were run
    recorded     T [sample] and sums [sample, layer, neuron] of some questions (`recording.activation_sums`)
    """

    seconds: Mapping[str, np.ndarray]
    tokens: tuple[float, int]
    batch_size: int
    questions: int
    recorded: Sequence[tuple[np.ndarray, ...]]


def limit(passes: int | None) -> tuple[int | None, bool]:
    """How many questions of a run of so many passes are measured at most, and whether under masks too.

    None: the run's size is not known, and whole batches are measured.
    """
    if passes is None:
        return None, True
    most = passes // (SHARE * PASSES)
    if most >= STRATA:
        return most, True
    return max(1, passes // (SMALL_SHARE * PASSES_WITHOUT_MASKS)), False


def spread_samples(
    loaded: Loaded, samples: Sequence[Sample], prompt: Prompt, batch_size: int, strata: int = STRATA,
    most: int | None = None,
) -> Spread:  # fmt: skip
    """Choose batches that stand for all samples; there may be fewer batches than strata.

    `most` is how many questions may be run, at least one: of a run so small that to measure its whole batches would
    take as long as the run, there are fewer strata, and parts of their batches, if possible of BATCH or more.
    """
    questions = render(loaded, samples, prompt)
    tokens = count_tokens(loaded, questions)
    length = {q.sample.sample_id: int(n) for q, n in zip(questions, tokens, strict=True)}

    def longest(batch: Sequence[Question]) -> int:
        return max(length[question.sample.sample_id] for question in batch)

    def padded(batch: Sequence[Question]) -> int:
        return len(batch) * longest(batch)

    def middle(part: Sequence[Sequence[Question]]) -> Sequence[Question]:
        # The fullest: a batch that is left over may be too small to tell anything.
        return part[max(range(len(part)), key=lambda i: (len(part[i]), -abs(i - len(part) // 2)))][:size]

    size = None  # questions of a batch: all
    if most is not None:
        strata = min(strata, max(1, most // BATCH))
        size = max(1, most // strata)
    batches = sorted(plan_batches(questions, tokens, batch_size), key=longest, reverse=True)
    parts = [[batches[i] for i in part] for part in np.array_split(np.arange(len(batches)), strata) if len(part)]
    chosen = [Stratum(middle(part), sum(map(padded, part)) / padded(middle(part))) for part in parts]
    is_full_batch = size is None or size >= batch_size
    return Spread(chosen, max(batches, key=padded) if is_full_batch else chosen[0].questions, len(questions))


def random_masks(widths: Sequence[int], size: int) -> list[NeuronMask]:
    """Masks of `size` neurons anywhere in a model whose layers have so many, the same ones every time; at most half of
    all neurons."""
    total, first = sum(widths), np.cumsum([0, *widths[:-1]])
    masks = []
    for i in range(MANY):
        # What a mask costs does not depend on its size; masks of all neurons would be equal and share a pass.
        flat = np.sort(seeds.generator("calibration", i).choice(total, min(size, total // 2), replace=False))
        layer = np.searchsorted(first, flat, side="right") - 1
        masks.append(NeuronMask("calibration", "act_fn", layer, flat - first[layer]))
    return masks


def measure(
    loaded: Loaded,
    batches: Spread,
    opener: Opener,
    prompt: Prompt,
    rule: str,
    mask_size: int,
    repeats: int = REPEATS,
    negative_sum: bool = False,
    sites: Sequence[str] | Mapping[str, Site] = (),
    options: bool = False,
    under_masks: bool = True,
) -> Measurement:
    """Run each kind of work on the batches, after a warm-up in which batches are halved until they fit into memory.

    rule          token rule of recording
    mask_size     neurons per mask
    repeats       of each kind of work, one right after the other
    negative_sum  whether N is recorded too
    sites         projections to attribute, by name or as `projection_checks.find_sites` found them
    options       whether texts of right options are recorded too
    under_masks   whether masks are run; without, each counts as a whole pass

    Raises what the work raises, an out-of-memory error for a single question too.
    """
    masks = random_masks(loaded.adapter.widths, mask_size)
    content = rule in NEED_CONTENT

    def recorded(batch: Batch) -> Batch:
        if batch.reads is None and not options:
            return batch
        return process(loaded, contexts(batch.questions, options), opener, content)

    def everything(batch: Batch) -> None:
        answer(loaded, batch, prompt)
        with record(loaded.adapter, negative_sum) as recorder:
            activation_sums(loaded, recorded(batch), rule, recorder)
        if under_masks:
            with evaluator(loaded, masks, prompt) as evaluate:
                evaluate(batch)
        if sites:
            with attributor(loaded, sites) as hooks:
                attribute(loaded, batch, hooks)

    def fitting(questions: Sequence[Question]) -> list[Batch]:
        return [batch for batch, _ in run_batches(loaded, [questions], opener, prompt, everything, content)]

    fitted: dict[int, list[Batch]] = {}  # by identity: the longest batch may be that of a stratum
    for questions in (batches.longest, *(stratum.questions for stratum in batches.strata)):
        if id(questions) not in fitted:
            fitted[id(questions)] = fitting(questions)
    largest = max(len(batch.questions) for batch in fitted[id(batches.longest)])
    strata = [(stratum.weight, fitted[id(stratum.questions)]) for stratum in batches.strata]
    devices = devices_of(loaded)

    def mean(work: Callable[[Batch], Any]) -> float:
        """Seconds per question."""
        total = sum(weight * sum(seconds(work, batch, devices) for batch in pieces) for weight, pieces in strata)
        return total / batches.questions

    def timed(work: Callable[[Batch], Any]) -> np.ndarray:
        """Seconds per question, float64 [repeat]."""
        return np.array([mean(work) for _ in range(repeats)])

    per_question = {"prepare": timed(lambda batch: process(loaded, batch.questions, opener, content))}
    per_question["answer"] = timed(lambda batch: answer(loaded, batch, prompt))
    with record(loaded.adapter, negative_sum) as recorder:
        of = {id(batch): recorded(batch) for _, pieces in strata for batch in pieces}
        per_question["record"] = timed(lambda batch: activation_sums(loaded, of[id(batch)], rule, recorder))
    if under_masks:
        each_number = []
        for n in (FEW, MANY):
            with evaluator(loaded, masks[:n], prompt) as evaluate:
                for batch in itertools.chain.from_iterable(pieces for _, pieces in strata):
                    evaluate(batch)  # the first batch of each kind also compares replays with whole passes
                each_number.append(timed(evaluate))
        per_question["ablate"], per_question["ablate_mask"] = fixed_and_each(*each_number)
    else:
        per_question["ablate"], per_question["ablate_mask"] = np.zeros(repeats), per_question["answer"].copy()
    if sites:
        with attributor(loaded, sites) as hooks:
            per_question["attribute"] = timed(partial(attribute, loaded, hooks=hooks))

    counts = [(weight, [batch.inputs["attention_mask"].sum(dim=1) for batch in pieces]) for weight, pieces in strata]
    everyone = sum(weight * sum(int(n.sum()) for n in lengths) for weight, lengths in counts) / batches.questions
    most = max(int(n.max()) for _, lengths in counts for n in lengths)
    return Measurement(
        per_question,
        (float(everyone), most),
        largest,
        sum(len(batch.questions) for _, pieces in strata for batch in pieces),
        _recorded(loaded, [[recorded(pieces[0])] for _, pieces in strata], rule, negative_sum),
    )


def fixed_and_each(few: np.ndarray, many: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds before the first mask and per mask, [repeat], from those with FEW and MANY masks; never negative."""
    each = np.maximum(0.0, (many - few) / (MANY - FEW))
    return np.maximum(0.0, few - FEW * each), each


def seconds(work: Callable[[Batch], Any], batch: Batch, devices: Sequence[torch.device]) -> float:
    """How long `work` takes on a batch, with all that it leaves to the devices."""
    _wait(devices)
    start = time.perf_counter()
    work(batch)
    _wait(devices)
    return time.perf_counter() - start


def _wait(devices: Sequence[torch.device]) -> None:
    """Until the devices have done what they were given."""
    for device in devices:
        if device.type != "cpu":
            torch.accelerator.synchronize(device)


def _recorded(
    loaded: Loaded, strata: Sequence[Sequence[Batch]], rule: str, negative_sum: bool
) -> list[tuple[np.ndarray, ...]]:
    """Sums of some questions of each stratum."""
    kept = max(1, _KEPT // (12 * loaded.adapter.n_layers * loaded.adapter.n_neurons * len(strata)))
    result = []
    with record(loaded.adapter, negative_sum) as recorder:
        for pieces in strata:
            sums = activation_sums(loaded, pieces[0], rule, recorder)
            result.append(tuple(values[:kept].copy() for values in sums))
    return result
