"""Other draws of the recorded samples: weights per sample, and the sums per culture that they make.

Sums are added up in float32: K is exact below 2^24, the others have a relative error of about 1e-7. The products have
a fixed shape, `ROWS` draws at a time, so that neither the size of blocks nor the number of threads changes a bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from culture_neurons.seeds import generator
from culture_neurons.store import SampleSums
from culture_neurons.types import Statistics

#: Draws per product of matrices.
ROWS = 8
#: Of the sums of a block of draws, at most (but at least of `ROWS` draws); and draws per block.
BLOCK_BYTES, LARGEST_BLOCK = 1 << 30, 256


def units(sample_ids: Sequence[str], unit: Mapping[str, str]) -> np.ndarray:
    """What is drawn as one: int64 [sample], equal for samples of one unit; `unit` names that of each id, see
    `culture_neurons.question_groups`. An id that it does not know is a unit of its own."""
    names = [unit.get(i) or f"question {i}" for i in sample_ids]
    return np.unique(names, return_inverse=True)[1]


def bootstrap_weights(cultures: Sequence[str], unit: Sequence[np.ndarray], n: int, seed: int) -> list[np.ndarray]:
    """How often each sample is drawn, per culture float32 [draw, sample]; `unit` as of `units`, per culture.

    The streams are seeded by the culture's name, and draw r is the same for every n > r.
    """
    result = []
    for name, mine in zip(cultures, unit, strict=True):
        size = int(mine.max()) + 1
        drawn = generator("stability", "bootstrap", seed, name).multinomial(size, np.full(size, 1 / size), size=n)
        result.append(drawn.astype(np.float32)[:, mine])
    return result


def half_weights(cultures: Sequence[str], unit: Sequence[np.ndarray], n: int, seed: int) -> list[np.ndarray]:
    """Which samples are in a half, per culture float32 [2 n, sample]: rows 2 h and 2 h + 1 are the two of split h.

    One unit alone can't be split: it is in both, so that no half of the other cultures is compared with nothing.
    """
    result = []
    for name, mine in zip(cultures, unit, strict=True):
        size = int(mine.max()) + 1
        order = generator("stability", "halves", seed, name).permuted(np.tile(np.arange(size), (n, 1)), axis=1)
        first = order < size // 2  # [split, unit]: the units that come out in the first places of a random order
        both = np.stack([first | (size < 2), ~first], axis=1).reshape(2 * n, size)
        result.append(both.astype(np.float32)[:, mine])
    return result


def draws(
    sums: SampleSums, weights: Sequence[np.ndarray], threads: ThreadPoolExecutor, block: int = 0
) -> Iterator[list[Statistics]]:
    """The statistics of all draws, in order, a block at a time; a block's arrays are used again for the next.

    weights   per culture float32 [draw, sample]
    block     draws per block, rounded up to `ROWS`; 0: what `BLOCK_BYTES` holds
    """
    count, cultures, size = len(weights[0]), len(sums.cultures), sums.shape[0] * sums.shape[1]
    if not block:
        block = min(LARGEST_BLOCK, BLOCK_BYTES // (4 * cultures * size * len(sums.names)))
    block = ROWS * max(1, -(-min(block, count) // ROWS))
    padded = [np.pad(w, ((0, -count % block), (0, 0))) for w in weights]
    whole = [w.astype(np.int64) for w in padded]
    tokens = np.stack([w @ t for w, t in zip(whole, sums.tokens, strict=True)], axis=1)  # (draw, culture)
    samples = np.stack([w.sum(axis=1) for w in whole], axis=1)
    found = {name: np.empty((block, cultures, size), np.float32) for name in sums.names}

    def add_up(culture: int, start: int) -> None:
        mine = padded[culture][start : start + block]
        for part in sums.parts:
            for name, values in sums.read(culture, part).items():
                for row in range(0, block, ROWS):
                    np.matmul(mine[row : row + ROWS], values, out=found[name][row : row + ROWS, culture, part])

    for start in range(0, count, block):
        list(threads.map(lambda culture, at=start: add_up(culture, at), range(cultures)))
        yield [
            Statistics(
                sums.cultures, tokens[start + row], samples=samples[start + row],
                **{name: values[row].reshape(cultures, *sums.shape) for name, values in found.items()},
            )
            for row in range(min(block, count - start))
        ]  # fmt: skip
