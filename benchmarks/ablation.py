"""Evaluation of 8 and of 32 masks on the demo's models: the engine against a naive loop, answers compared."""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from benchmarks import demo, naive
from benchmarks.measure import Row, interleaved, ratios
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.batching import batches, run_batches
from culture_neurons.models.inputs import Prompt
from culture_neurons.models.loading import Loaded

PROMPT = Prompt()
BATCH = 64
#: Questions of one naive run, by number of masks: it takes a few seconds.
NAIVE = {8: 24, 32: 12}
RUNS = 7


def run() -> list[Row]:
    """All rows of this benchmark."""
    return [row for name in demo.MODELS for n_masks in NAIVE for row in compare(name, n_masks)]


def compare(name: str, n_masks: int) -> list[Row]:
    """Time per question and mask both ways, and how far their answers differ."""
    loaded = demo.model(name)
    samples, opener = demo.questions()
    few = samples[:: len(samples) // NAIVE[n_masks]][: NAIVE[n_masks]]
    masks = demo.masks(name, n_masks)
    answers: dict = {}
    expected: dict = {}

    def engine() -> float:
        start = time.perf_counter()
        with evaluator(loaded, masks, PROMPT) as evaluate:
            for batch, found in run_batches(loaded, batches(loaded, samples, PROMPT, BATCH), opener, PROMPT, evaluate):
                for index, row in enumerate(found):
                    answers.update({(index, s.sample_id): a for s, a in zip(batch.samples, row, strict=True)})
        return (time.perf_counter() - start) / len(samples) / n_masks

    def loop() -> float:
        start = time.perf_counter()
        expected.update(naive.evaluate(loaded, few, opener, PROMPT, masks))
        return (time.perf_counter() - start) / len(few) / n_masks

    found = interleaved({"engine": engine, "naive": loop}, RUNS)
    same = [answers[key].prediction == prediction for key, (prediction, _) in expected.items()]
    apart = max(np.abs(np.asarray(answers[key].logprobs) - logprobs).max() for key, (_, logprobs) in expected.items())
    title = f"{name}, {n_masks} masks"
    middle, low, high = ratios(found, "naive", "engine")
    return [
        Row(f"{title}: naive loop", 1e3 * statistics.median(found["naive"]), "ms",
            f"per question and mask, {len(few)} questions"),
        Row(f"{title}: engine", 1e3 * statistics.median(found["engine"]), "ms",
            f"per question and mask, {len(samples)} questions in batches of {BATCH}"),
        Row(f"{title}: **speed-up**", middle, "×", f"{low:.1f} to {high:.1f}"),
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
        # Layers that hand back what is kept do not count.
        if "forward" not in vars(module):
            spent += time.perf_counter() - begun

    handles = [layer.register_forward_pre_hook(begin) for layer in loaded.adapter.layers]
    handles += [layer.register_forward_hook(end) for layer in loaded.adapter.layers]
    start = time.perf_counter()
    with evaluator(loaded, masks, PROMPT) as evaluate:
        list(run_batches(loaded, batches(loaded, samples, PROMPT, BATCH), opener, PROMPT, evaluate))
    total = time.perf_counter() - start
    for handle in handles:
        handle.remove()
    return spent / total
