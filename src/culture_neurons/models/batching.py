"""Running a model over many samples: batches by length, prepared ahead of a GPU, halved when memory is short."""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import groupby
from typing import TypeVar

import torch

from culture_neurons.models.inputs import Batch, Opener, Prompt, Question, count_tokens, process, render
from culture_neurons.models.loading import Loaded
from culture_neurons.types import Sample

Result = TypeVar("Result")
log = logging.getLogger("culture_neurons")

#: Questions that stay in one job, however many jobs share the work. Batches that are no larger are then the same for
#: every number of jobs, and so is the result, to the last bit. What is in which job does not depend on `batch_size`,
#: which may change between the jobs of a run.
BLOCK = 64


def batches(
    loaded: Loaded, samples: Sequence[Sample], prompt: Prompt, batch_size: int, shard: int = 0, shards: int = 1
) -> list[list[Question]]:
    """The batches of one of `shards` jobs that share the samples; see `plan_batches`."""
    questions = render(loaded, samples, prompt)
    broken = sorted(question.sample.sample_id for question in questions if question.broken)
    if broken:
        log.info(
            "%s: control tokens in %d of %d questions are read as text (%s%s)",
            loaded.name, len(broken), len(questions), ", ".join(map(repr, broken[:5])),
            " ..." if len(broken) > 5 else "",
        )  # fmt: skip
    return plan_batches(questions, count_tokens(loaded, questions), batch_size, shard, shards)


def plan_batches(
    questions: Sequence[Question], tokens: Sequence[int], batch_size: int, shard: int = 0, shards: int = 1
) -> list[list[Question]]:
    """The batches, of at most `batch_size` questions, of job `shard` (from 0) of `shards`.

    Blocks of questions are dealt to the jobs like cards, the longest first, and each is cut into batches.
    """
    length = {q.sample.sample_id: int(n) for q, n in zip(questions, tokens, strict=True)}
    mine = cut_batches(questions, tokens, BLOCK)[shard::shards]
    if batch_size > BLOCK:
        mine = [[q for block in mine for q in block]]
    return [
        batch for block in mine for batch in cut_batches(block, [length[q.sample.sample_id] for q in block], batch_size)
    ]


def cut_batches(questions: Sequence[Question], tokens: Sequence[int], size: int) -> list[list[Question]]:
    """Part questions into groups of at most `size`.

    `tokens` is the length of each. The longest come first, so that memory runs short at the start of a job if at
    all. Questions about one image stay together, unless they are more than a group; splits are never mixed,
    so that a question of `evaluate` has the same neighbours whether the other split is asked or not.
    """
    length = {q.sample.sample_id: int(n) for q, n in zip(questions, tokens, strict=True)}

    def image(question: Question) -> str:
        sample = question.sample
        return sample.image_id if sample.image is not None and sample.image_id else f"\0{sample.sample_id}"

    longest: dict[tuple[str, str], int] = {}
    for q in questions:
        key = q.sample.split, image(q)
        longest[key] = max(longest.get(key, 0), length[q.sample.sample_id])

    def order(q: Question) -> tuple:
        sample = q.sample
        group = longest[sample.split, image(q)]
        return sample.split, sample.image is None, -group, image(q), -length[sample.sample_id], sample.sample_id

    result: list[list[Question]] = []
    previous: tuple[str, bool] | None = None
    for (split, bare, _, _), group in groupby(sorted(questions, key=order), key=lambda q: order(q)[:4]):
        members = list(group)
        for start in range(0, len(members), size):
            piece = members[start : start + size]
            if previous == (split, bare) and len(result[-1]) + len(piece) <= size:
                result[-1] += piece
            else:
                result.append(piece)
            previous = split, bare
    return result


def run_batches(
    loaded: Loaded,
    todo: Sequence[Sequence[Question]],
    opener: Opener,
    prompt: Prompt,
    work: Callable[[Batch], Result],
    content: bool = False,
) -> Iterator[tuple[Batch, Result]]:
    """Do `work` on every batch of `todo` (see `batches`); each input is processed once.

    Where the model has a device of its own, the next batch is processed while it works on the one before.
    A batch for which memory runs out is halved, and no later one is larger in tokens. Raises what `work` raises,
    an out-of-memory error too when it comes for a single sample.
    """
    left = deque(todo)
    limit: int | None = None
    ahead = ThreadPoolExecutor(1, thread_name_prefix="inputs") if prepares_ahead(loaded, prompt) else None
    with ahead or nullcontext():
        coming = None
        while left:
            piece = left.popleft()
            batch = coming.result() if coming is not None else process(loaded, piece, opener, content)
            coming = None
            fits = limit is None or batch.tokens <= limit or len(piece) == 1
            if fits:
                if ahead is not None and left:
                    coming = ahead.submit(process, loaded, left[0], opener, content)
                try:
                    result = work(batch)
                except RuntimeError as error:
                    if len(piece) == 1 or not is_out_of_memory(error):
                        raise
                    fits, limit = False, batch.tokens // 2
                    log.warning(
                        "%s: out of memory with %d questions of %d tokens; going on with half as many",
                        loaded.name, len(piece), batch.tokens // len(piece),
                    )  # fmt: skip
            if fits:
                yield batch, result
                continue
            # Only here is the failed pass let go of: while its error is handled, its frames hold its tensors.
            coming = None
            left.extendleft(reversed(halve(piece)))
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def prepares_ahead(loaded: Loaded, prompt: Prompt) -> bool:
    """Whether the next batch is processed beside the model.

    Not on a CPU, where it would take the cores that the model computes on (and slow it down tenfold now and then: its
    threads wait for each other); and not beside generation, since decoding and a tokenizer that sets up padding
    can't share one tokenizer.
    """
    return loaded.model.device.type != "cpu" and prompt.answer != "generate"


def halve(questions: Sequence[Question]) -> list[list[Question]]:
    """Two batches of about half the size."""
    middle = (len(questions) + 1) // 2
    return [list(questions[:middle]), list(questions[middle:])]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or this machine, has too little memory."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(
        phrase in text for phrase in ("out of memory", "can't allocate memory", "not enough memory")
    )
