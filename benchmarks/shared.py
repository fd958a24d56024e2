"""Two questions about each image, as in CVQA: masks with and without sharing the hidden states of the image."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from benchmarks import gpu
from benchmarks.measure import Row, interleaved, ratios
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.allocator import keep_freed_memory
from culture_neurons.models.inputs import Batch, Prompt

#: A decoder large enough that its own arithmetic decides.
SIZES = {"hidden_size": 448, "intermediate_size": 1792, "num_hidden_layers": 4, "num_attention_heads": 7,
         "num_key_value_heads": 1}  # fmt: skip
ROPE = {"rope_parameters": gpu.TEXT["rope_parameters"] | {"mrope_section": [8, 12, 12]}}
GRIDS = ((26, 36), (30, 30))
BATCH, RUNS = 12, 5


def run() -> list[Row]:
    """All rows of this benchmark."""
    keep_freed_memory()
    text, vision = gpu.tiny()
    vision = vision | {"out_hidden_size": SIZES["hidden_size"]}
    loaded = gpu.build(torch.device("cpu"), torch.float32, text | SIZES | ROPE, vision)
    batch = gpu.questions(loaded, BATCH, GRIDS)
    apart = replace(batch, image_of=tuple(range(BATCH)))
    masks = gpu.random_masks(loaded, 4)
    last = {}

    def per_mask(name: str, asked: Batch) -> Callable[[], float]:
        def call() -> float:
            taken = []
            for some in (masks[:2], masks):
                with evaluator(loaded, some, Prompt()) as evaluate:
                    evaluate(asked)
                    start = time.perf_counter()
                    last[name] = evaluate(asked)
                    taken.append(time.perf_counter() - start)
            return (taken[1] - taken[0]) / 2

        return call

    found = interleaved({"shared": per_mask("shared", batch), "apart": per_mask("apart", apart)}, RUNS)
    middle, low, high = ratios(found, "apart", "shared")
    pairs = [(a, b) for x, y in zip(last["shared"], last["apart"], strict=True) for a, b in zip(x, y, strict=True)]
    far = max(np.abs(np.subtract(a.logprobs, b.logprobs)).max() for a, b in pairs)
    same = np.mean([a.prediction == b.prediction for a, b in pairs])
    saved = 1 - gpu.decoder_flops(loaded, batch, True) / gpu.decoder_flops(loaded, batch, False)
    length = batch.inputs["attention_mask"].sum(dim=1).float().mean()
    return [
        Row("one more mask, whole prompts", 1e3 * statistics.median(found["apart"]), "ms",
            f"{BATCH} questions of {length:.0f} tokens, two about each image; 4 layers of width "
            f"{SIZES['intermediate_size']:,}, random weights"),
        Row("one more mask, beginnings shared", 1e3 * statistics.median(found["shared"]), "ms",
            f"{saved:.0%} less arithmetic"),
        Row("**speed-up**", middle, "×", f"{low:.2f} to {high:.2f}; {same:.0%} equal predictions, "
            f"log-probabilities differ by at most {far:.0e}"),
    ]  # fmt: skip
