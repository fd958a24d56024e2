"""Resamples of the recorded samples: weights per sample, and the weighted sums per culture.

Sums are added up in float32: K is exact below 2^24, the others have a relative error of about 1e-7. The products have
a fixed shape, `ROWS` resamples at a time, so that neither the size of blocks nor the number of threads changes a bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from culture_neurons.seeds import generator
from culture_neurons.store import SampleSums
from culture_neurons.types import Statistics

#: Resamples per product of matrices.
ROWS = 8
#: A block of resamples takes at most so many bytes, and holds at most so many resamples (but at least `ROWS`).
BLOCK_BYTES, LARGEST_BLOCK = 1 << 30, 256


def number_units(sample_ids: Sequence[str], unit: Mapping[str, str]) -> np.ndarray:
    """The number of each sample's resampling unit, int64 [sample], from 0; samples of one unit stay together.

    unit   sample id -> name of its unit, see `culture_neurons.question_groups`; an id without one is its own unit
    """
    names = [unit.get(i) or f"question {i}" for i in sample_ids]
    return np.unique(names, return_inverse=True)[1]


def bootstrap_weights(cultures: Sequence[str], unit: Sequence[np.ndarray], n: int, seed: int) -> list[np.ndarray]:
    """How often each of n bootstrap resamples draws each sample: per culture float32 [resample, sample].

    unit   per culture the number of each sample's unit, int64 [sample], see `number_units`

    Random streams are seeded by the culture's name, and resample r is the same for every n > r.
    """
    result = []
    for name, unit_number in zip(cultures, unit, strict=True):
        size = int(unit_number.max()) + 1
        times = generator("stability", "bootstrap", seed, name).multinomial(size, np.full(size, 1 / size), size=n)
        result.append(times.astype(np.float32)[:, unit_number])
    return result


def half_weights(cultures: Sequence[str], unit: Sequence[np.ndarray], n: int, seed: int) -> list[np.ndarray]:
    """Which samples are in each half of n splits: per culture float32 [2 n, sample]; rows 2 h, 2 h + 1 are split h.

    A single unit can't be split: it is in both halves, so that the other cultures always have one to compare with.
    """
    result = []
    for name, unit_number in zip(cultures, unit, strict=True):
        size = int(unit_number.max()) + 1
        order = generator("stability", "halves", seed, name).permuted(np.tile(np.arange(size), (n, 1)), axis=1)
        first = order < size // 2  # [split, unit]: the units that come out in the first places of a random order
        halves = np.stack([first | (size < 2), ~first], axis=1).reshape(2 * n, size)
        result.append(halves.astype(np.float32)[:, unit_number])
    return result


def resample(
    sums: SampleSums, weights: Sequence[np.ndarray], threads: ThreadPoolExecutor, block: int = 0
) -> Iterator[list[Statistics]]:
    """Yield the statistics of all resamples in order, a block at a time; the next block overwrites a block's arrays.

    weights   per culture float32 [resample, sample]
    block     resamples per block, rounded up to a multiple of `ROWS`; 0: as many as `BLOCK_BYTES` holds
    """
    count, cultures, size = len(weights[0]), len(sums.cultures), sums.shape[0] * sums.shape[1]
    if not block:
        block = min(LARGEST_BLOCK, BLOCK_BYTES // (4 * cultures * size * len(sums.names)))
    block = ROWS * max(1, -(-min(block, count) // ROWS))
    padded = [np.pad(w, ((0, -count % block), (0, 0))) for w in weights]
    integers = [w.astype(np.int64) for w in padded]
    buffers = {name: np.empty((block, cultures, size), np.float32) for name in sums.names}

    def add_up(culture: int, start: int) -> None:
        block_weights = padded[culture][start : start + block]
        for columns in sums.parts:
            for name, values in sums.read(culture, columns).items():
                for row in range(0, block, ROWS):
                    np.matmul(
                        block_weights[row : row + ROWS], values, out=buffers[name][row : row + ROWS, culture, columns]
                    )

    for start in range(0, count, block):
        list(threads.map(lambda culture, at=start: add_up(culture, at), range(cultures)))
        # [resample, culture], or [resample, culture, column] of a model with experts
        drawn = [w[start : start + block] for w in integers]
        tokens = np.stack([w @ t for w, t in zip(drawn, sums.tokens, strict=True)], axis=1)
        samples = np.stack(
            [w @ (t > 0) if t.ndim > 1 else w.sum(axis=1) for w, t in zip(drawn, sums.tokens, strict=True)], axis=1
        )
        yield [
            Statistics(
                sums.cultures, tokens[row], samples=samples[row], column=sums.column,
                **{name: values[row].reshape(cultures, *sums.shape) for name, values in buffers.items()},
            )
            for row in range(min(block, count - start))
        ]  # fmt: skip
