"""How stable scores and masks are: the same selectors on other draws of the recorded samples.

Bootstrap: the images of each culture (their samples together, or samples that have no image) are drawn anew with
replacement. Halves: the images of each culture are split at random into two halves. Either is a matter of weights
per sample, so that the sums per culture of many draws are a product of matrices, weights [draw, sample] times sums
[sample, neuron]; on each, the selectors and the choice of masks are those of the run.

A culture whose samples are all about one image gives no other draw, and no two halves: what would be said of it is not
known, and it is the same in the draws and halves of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from culture_neurons.analysis.stability.agreement import jaccard, rank_correlation, ranks
from culture_neurons.analysis.stability.resamples import bootstrap_weights, draws, half_weights, units
from culture_neurons.analysis.stability.watch import COLUMNS, NEURON_COLUMNS, Chosen, Moments, Watch
from culture_neurons.store import SampleSums
from culture_neurons.types import FEWEST_UNITS, Statistics

__all__ = [
    "COLUMNS",
    "NEURON_COLUMNS",
    "Chosen",
    "bootstrap_weights",
    "draws",
    "half_weights",
    "jaccard",
    "measure",
    "rank_correlation",
    "ranks",
    "units",
]


def measure(
    sums: SampleSums,
    unit_of: Mapping[str, str],
    chosen: Sequence[Chosen],
    probability: np.ndarray,
    resamples: int,
    halves: int,
    seed: int,
    threads: int = 1,
    block: int = 0,
) -> tuple[pd.DataFrame, Iterator[pd.DataFrame]]:
    """How stable the masks of all selectors are.

    unit_of       sample -> what it is drawn with, see `units`
    probability   P of the run, [culture, layer, neuron]
    resamples, halves   bootstrap draws; random splits into halves
    block         see `draws`; it changes no result

    Returns the table per selector, fraction and culture (`COLUMNS`) and, selector by selector, that per neuron of a
    mask (`NEURON_COLUMNS`). nan where a culture has fewer than `FEWEST_UNITS` units.
    """
    shape = len(sums.cultures), *sums.shape
    watches = [Watch(one, shape) for one in chosen]
    where = np.unique(np.concatenate([np.zeros(0, np.int64), *(watch.union for watch in watches)]))
    p = probability.reshape(-1)[where].astype(np.float32)
    moments, culture = Moments(p), where // (shape[1] * shape[2])
    unit = [units(ids, unit_of) for ids in sums.sample_ids]

    def probabilities(block: Sequence[Statistics]) -> None:
        for statistics in block:
            moments.add(statistics.fired.reshape(-1)[where] / statistics.tokens.astype(np.float32)[culture])

    with ThreadPoolExecutor(threads) as pool:

        def show(weights: Sequence[np.ndarray], notes: Sequence[Callable[[Sequence[Statistics]], None]]) -> None:
            """Every block of draws to all of `notes`; on return the blocks' memory is free."""
            for found in draws(sums, weights, pool, block):
                # A selector's draws are one task: what it adds up does not depend on who is first.
                for task in [pool.submit(note, found) for note in notes]:
                    task.result()

        redrawn = bootstrap_weights(sums.cultures, unit, resamples, seed)
        show(redrawn, [probabilities, *(watch.redrawn for watch in watches)])
        show(half_weights(sums.cultures, unit, halves, seed), [watch.split for watch in watches])
    samples, n_images = [len(ids) for ids in sums.sample_ids], [int(mine.max()) + 1 for mine in unit]
    tables = [watch.table(sums.cultures, samples, n_images) for watch in watches]
    whole = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
    deviation = moments.deviation
    known = np.array(n_images) >= FEWEST_UNITS
    return whole, (watch.neurons(sums.cultures, where, p, deviation, known) for watch in watches)
