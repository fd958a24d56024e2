"""How stable scores and masks are: the run's selectors on resamples of the recorded samples.

Bootstrap: the images of each culture are resampled with replacement; all samples about one image stay together, and a
sample without an image counts as one of its own. Halves: the images of each culture are split at random into two
halves. Either way every sample gets a weight, and the sums per culture of many resamples are one product of matrices:
weights [resample, sample] times sums [sample, neuron]. On each resample the selectors score and choose masks as in the
run.

A culture whose samples are all about one image can't be resampled or halved: its stability is unknown (nan), and its
statistics stay the same while other cultures are resampled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from culture_neurons.analysis.stability.agreement import jaccard, rank_correlation, ranks
from culture_neurons.analysis.stability.mask_stability import (
    COLUMNS,
    NEURON_COLUMNS,
    MaskStability,
    Moments,
    SelectedMasks,
)
from culture_neurons.analysis.stability.resamples import bootstrap_weights, half_weights, number_units, resample
from culture_neurons.store import SampleSums
from culture_neurons.types import FEWEST_UNITS, Statistics

__all__ = [
    "COLUMNS",
    "NEURON_COLUMNS",
    "SelectedMasks",
    "bootstrap_weights",
    "half_weights",
    "jaccard",
    "measure",
    "number_units",
    "rank_correlation",
    "ranks",
    "resample",
]


def measure(
    sums: SampleSums,
    unit_of: Mapping[str, str],
    selected: Sequence[SelectedMasks],
    probability: np.ndarray,
    resamples: int,
    halves: int,
    seed: int,
    threads: int = 1,
    block: int = 0,
) -> tuple[pd.DataFrame, Iterator[pd.DataFrame]]:
    """Measure how stable the masks of all selectors are.

    unit_of       sample id -> name of its resampling unit, see `number_units`
    selected      the masks of the run, one per selector
    probability   P of the run, float [culture, layer, neuron]
    resamples, halves   number of bootstrap resamples; number of random splits into halves
    block         see `resample`; it changes no result

    Returns the table per selector, fraction and culture (`COLUMNS`) and, selector by selector, that per neuron of a
    mask (`NEURON_COLUMNS`). nan where a culture has fewer than `FEWEST_UNITS` units.
    """
    shape = len(sums.cultures), *sums.shape
    widths = None if sums.column is None else (sums.column >= 0).sum(axis=1)
    masks = [MaskStability(selection, shape, widths) for selection in selected]
    flat = np.unique(np.concatenate([np.zeros(0, np.int64), *(mask.union for mask in masks)]))
    p = probability.reshape(-1)[flat].astype(np.float32)
    moments, culture = Moments(p), flat // (shape[1] * shape[2])
    unit = [number_units(ids, unit_of) for ids in sums.sample_ids]

    neuron = flat % (shape[1] * shape[2])
    of_neuron = () if sums.column is None else (sums.column.reshape(-1)[neuron],)

    def add_probabilities(block: Sequence[Statistics]) -> None:
        for statistics in block:
            tokens = statistics.tokens.astype(np.float32)[culture, *of_neuron]
            with np.errstate(divide="ignore", invalid="ignore"):  # no token of a resample may reach an expert
                moments.add(statistics.fired.reshape(-1)[flat] / tokens)

    with ThreadPoolExecutor(threads) as pool:

        def pass_on(weights: Sequence[np.ndarray], consumers: Sequence[Callable[[Sequence[Statistics]], None]]) -> None:
            """Pass every block of resamples to all `consumers`; on return the blocks' memory is free."""
            for statistics_block in resample(sums, weights, pool, block):
                # One task per selector, so that its sums are added up in the same order whatever runs first.
                for task in [pool.submit(consumer, statistics_block) for consumer in consumers]:
                    task.result()

        bootstrap = bootstrap_weights(sums.cultures, unit, resamples, seed)
        pass_on(bootstrap, [add_probabilities, *(mask.add_bootstrap for mask in masks)])
        pass_on(half_weights(sums.cultures, unit, halves, seed), [mask.add_halves for mask in masks])
    samples, n_images = [len(ids) for ids in sums.sample_ids], [int(numbers.max()) + 1 for numbers in unit]
    tables = [mask.table(sums.cultures, samples, n_images) for mask in masks]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
    deviation = moments.deviation
    has_spread = np.array(n_images) >= FEWEST_UNITS
    return table, (mask.neurons(sums.cultures, flat, p, deviation, has_spread) for mask in masks)
