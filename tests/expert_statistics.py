"""Statistics files of a model with routed experts, and what they should say, by loops over samples and neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from culture_neurons import store
from culture_neurons.types import Experts

#: A dense layer, one of three experts of four neurons, and one of two experts of three.
EXPERTS = Experts((5, 12, 6), (0, 3, 2))
SHAPE = (3, 12)
#: The first column of each layer's experts; column 0 is all tokens.
FIRST = (None, 1, 4)
#: No token of culture b reaches expert 1 of layer 1; no token at all expert 0 of layer 2.
UNREACHED = {"b": {(1, 1)}, "": {(2, 0)}}


@dataclass(frozen=True)
class World:
    """tokens int [sample, column]; fired, positive, negative [sample, layer, neuron]."""

    ids: list[str]
    cultures: list[str]
    tokens: np.ndarray
    fired: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def column(layer: int, neuron: int) -> int:
    """The column of a neuron, -1 for one that is absent."""
    width, count = EXPERTS.widths[layer], EXPERTS.counts[layer]
    if neuron >= width:
        return -1
    return 0 if count == 0 else FIRST[layer] + neuron // (width // count)


def world(n: int = 24, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    cultures = [["a", "b", "c"][i % 3] for i in range(n)]
    tokens = np.zeros((n, 6), int)
    tokens[:, 0] = rng.integers(20, 40, n)
    for at, layer, expert in ((1, 1, 0), (2, 1, 1), (3, 1, 2), (4, 2, 0), (5, 2, 1)):
        tokens[:, at] = rng.integers(0, 3, n) * rng.integers(1, 6, n)  # many samples do not reach an expert
        for culture, places in UNREACHED.items():
            if (layer, expert) in places:
                tokens[[culture in ("", c) for c in cultures], at] = 0
    fired = np.zeros((n, *SHAPE), int)
    for layer in range(3):
        for neuron in range(EXPERTS.widths[layer]):
            share = rng.beta(1, 2, 3)[np.arange(n) % 3]
            fired[:, layer, neuron] = rng.binomial(tokens[:, column(layer, neuron)], share)
    # Multiples of 1/4: exact in any type and order.
    positive = np.round(fired * rng.exponential(1.0, fired.shape) * 4) / 4
    negative = -np.round((fired > 0) * rng.exponential(2.0, fired.shape) * 4) / 4
    return World([f"s{i:02d}" for i in range(n)], cultures, tokens, fired, positive, negative)


def write(path: Path, given: World, rows: Sequence[int] | slice = slice(None)) -> Path:
    ids, cultures = np.array(given.ids)[rows].tolist(), np.array(given.cultures)[rows].tolist()
    arrays = (given.fired, given.positive.astype(np.float32), given.negative.astype(np.float32))
    metadata = {"model": "m", "revision": "r", "dtype": "float32", "token_rule": "all"}
    with store.statistics_writer(
        path, ids, cultures, "act_fn", *SHAPE, metadata, negative_sum=True, experts=EXPERTS
    ) as writer:  # fmt: skip
        writer.write(ids, given.tokens[rows], *(values[rows] for values in arrays))
    return path


def rates(given: World, values: np.ndarray) -> np.ndarray:
    """Sums of `values` per token that reaches a neuron, [culture, layer, neuron]; NaN where none does."""
    result = np.full((3, *SHAPE), np.nan)
    for c, culture in enumerate("abc"):
        mine = [i for i, name in enumerate(given.cultures) if name == culture]
        for layer in range(3):
            for neuron in range(SHAPE[1]):
                at = column(layer, neuron)
                if at >= 0 and (total := sum(int(given.tokens[i, at]) for i in mine)):
                    result[c, layer, neuron] = sum(values[i, layer, neuron] for i in mine) / total
    return result
