"""Evaluation of 8 and of 32 masks on the demo's models: the engine against a naive loop, answers compared.

The naive loop runs in a process of its own, with the C library's allocator as it comes, as a script would; and
once more with the engine's setting of the allocator, so that what this setting alone does can be seen.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np
import torch

from benchmarks import demo, naive
from benchmarks.measure import Row, interleaved, ratios
from culture_neurons.models import loading
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.batching import run as run_batches
from culture_neurons.models.inputs import Prompt
from culture_neurons.models.loading import Loaded

PROMPT = Prompt()
BATCH = 64
#: Questions of one naive run, by number of masks: it takes a few seconds.
NAIVE = {8: 24, 32: 12}
RUNS = 5


def run() -> list[Row]:
    """All rows of this benchmark."""
    return [row for name in demo.MODELS for n_masks in NAIVE for row in compare(name, n_masks)]


def compare(name: str, n_masks: int) -> list[Row]:
    """Time per question and mask of the engine and of both loops, and how far their answers differ."""
    loaded = demo.model(name)
    samples, opener = demo.questions()
    masks = demo.masks(name, n_masks)
    answers: dict = {}

    def engine() -> float:
        start = time.perf_counter()
        with evaluator(loaded, masks, PROMPT) as evaluate:
            for batch, found in run_batches(loaded, samples, opener, PROMPT, BATCH, evaluate):
                for index, row in enumerate(found):
                    answers.update({(index, s.sample_id): a for s, a in zip(batch.samples, row, strict=True)})
        return (time.perf_counter() - start) / len(samples) / n_masks

    with _worker(name, n_masks, False) as plain, _worker(name, n_masks, True) as tuned:
        last: dict = {}

        def loop(connection: Connection) -> float:
            connection.send("run")
            taken, found = connection.recv()
            last.update(found)
            return taken

        found = interleaved({"engine": engine, "naive": lambda: loop(plain), "tuned": lambda: loop(tuned)}, RUNS)
    same = [answers[key].prediction == prediction for key, (prediction, _) in last.items()]
    apart = max(np.abs(np.asarray(answers[key].logprobs) - logprobs).max() for key, (_, logprobs) in last.items())
    title = f"{name}, {n_masks} masks"
    middle, low, high = ratios(found, "naive", "engine")
    with_setting, *_ = ratios(found, "tuned", "engine")
    return [
        Row(f"{title}: naive loop", 1e3 * statistics.median(found["naive"]), "ms",
            f"per question and mask, {NAIVE[n_masks]} questions"),
        Row(f"{title}: engine", 1e3 * statistics.median(found["engine"]), "ms",
            f"per question and mask, {len(samples)} questions in batches of {BATCH}"),
        Row(f"{title}: **speed-up**", middle, "×",
            f"{low:.1f} to {high:.1f}; {with_setting:.1f} when the loop has the engine's allocator setting too"),
        Row(f"{title}: equal predictions", 100 * float(np.mean(same)), "%",
            f"{len(same)} compared; log-probabilities differ by at most {apart:.0e}"),
        Row(f"{title}: decoder's own share", 100 * decoder_share(loaded, n_masks), "%",
            "of the engine's time, in the decoder layers"),
    ]  # fmt: skip


def decoder_share(loaded: Loaded, n_masks: int) -> float:
    """Share of an evaluation's time that is spent inside decoder layers."""
    samples, opener = demo.questions()
    masks = demo.masks(loaded.name, n_masks)
    spent, begun = 0.0, 0.0

    def begin(*_: object) -> None:
        nonlocal begun
        begun = time.perf_counter()

    def end(module: torch.nn.Module, *_: object) -> None:
        nonlocal spent
        # Stand-ins that only note how a layer is called do not count.
        if "forward" not in vars(module):
            spent += time.perf_counter() - begun

    handles = [layer.register_forward_pre_hook(begin) for layer in loaded.adapter.layers]
    handles += [layer.register_forward_hook(end) for layer in loaded.adapter.layers]
    start = time.perf_counter()
    with evaluator(loaded, masks, PROMPT) as evaluate:
        list(run_batches(loaded, samples, opener, PROMPT, BATCH, evaluate))
    total = time.perf_counter() - start
    for handle in handles:
        handle.remove()
    return spent / total


@contextmanager
def _worker(name: str, n_masks: int, tuned: bool) -> Iterator[Connection]:
    """A process that runs the naive loop each time it is asked."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, name, n_masks, tuned), daemon=True)
    process.start()
    try:
        yield here
    finally:
        here.send(None)
        process.join(30)


def _serve(connection: Connection, name: str, n_masks: int, tuned: bool) -> None:
    if not tuned:
        loading.keep_freed_memory = lambda: False
    loaded = demo.model(name)
    samples, opener = demo.questions()
    masks = demo.masks(name, n_masks)
    few = samples[:: max(1, len(samples) // NAIVE[n_masks])][: NAIVE[n_masks]]
    while connection.recv() is not None:
        start = time.perf_counter()
        found = naive.evaluate(loaded, few, opener, PROMPT, masks)
        connection.send(((time.perf_counter() - start) / len(few) / n_masks, found))
