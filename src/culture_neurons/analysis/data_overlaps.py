"""Do masks of one culture that were chosen on different data share neurons, in which layers, and more than by chance?

The measure is the Jaccard index |A and B| / |A or B| (`overlaps`). What two selectors like about a layer, they may like
on any data: so what is expected by chance is of two masks with these numbers of neurons in each layer, that fall on any
of its neurons. Then layer l of N neurons has |A_l| |B_l| / N of them in common (the mean of the hypergeometric
distribution), and the index of the sum over layers is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.analysis.overlaps import Masks, overlap_row

COLUMNS = (
    "model", "top_fraction", "culture", "a", "b", "chosen_on_a", "chosen_on_b", "layer", "n_a", "n_b", "n_shared",
    "overlap", "expected",
)  # fmt: skip


def compare(first: Masks, second: Masks) -> Iterator[dict[str, Any]]:
    """Rows of all cultures that have a mask in both, of one model: of all layers (layer None), then of each of them."""
    n_layers, width = first.shape
    edges = np.arange(n_layers + 1) * width
    for culture in sorted(first.neurons.keys() & second.neurons.keys()):
        one, other = (mask.neurons[culture] for mask in (first, second))
        parts = [np.split(flat, np.searchsorted(flat, edges[1:-1])) for flat in (one, other)]
        widths = first.widths or [width] * n_layers
        layers = [overlap_row(a, b, n) for a, b, n in zip(*parts, widths, strict=True)]
        shares = [n / width for n in widths]  # of the widest layer
        by_chance = sum(row["n_a"] * row["n_b"] / share for row, share in zip(layers, shares, strict=True)) / width
        total = len(one) + len(other)
        expected = by_chance / (total - by_chance) if total else np.nan
        of_all_layers = overlap_row(one, other, first.size) | {"expected": expected}
        for layer, row in [(None, of_all_layers), *enumerate(layers)]:
            yield {"culture": culture, "layer": layer, **row}


def tabulate(masks: Mapping[tuple[str, str, str], Masks], chosen_on: Mapping[str, str]) -> pd.DataFrame:
    """All pairs of selectors of a model that chose on different data, columns `COLUMNS`; `layer` is Int64, or missing.

    masks       (model, selector, top fraction) -> masks
    chosen_on   selector -> name of the data set that it chose on
    """
    rows: list[dict[str, Any]] = []
    selectors = list(dict.fromkeys(selector for _, selector, _ in masks))
    for model, fraction in dict.fromkeys((model, fraction) for model, _, fraction in masks):
        for a, b in combinations([s for s in selectors if (model, s, fraction) in masks], 2):
            if chosen_on[a] != chosen_on[b]:
                names = {"model": model, "top_fraction": fraction, "a": a, "b": b, "chosen_on_a": chosen_on[a],
                         "chosen_on_b": chosen_on[b]}  # fmt: skip
                rows.extend(names | row for row in compare(masks[model, a, fraction], masks[model, b, fraction]))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"layer": "Int64"})
