"""Do the masks of two runs share neurons, more than by chance, and do they lie at the same depth?

The measure is the Jaccard index |A and B| / |A or B|. Chance: two masks with these numbers of neurons in each layer,
that fall on any of its neurons. Layer l of N neurons then shares a hypergeometric number of them, of mean
|A_l| |B_l| / N; `expected` is the index of the mean of their sum, and `p_value` the chance to share at least as many,
from the exact distribution of the sum. Models of other sizes share no neurons: for all, `depth_overlap` compares how
the masks spread over relative depth (`overlaps.depth_overlap`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from culture_neurons.analysis.overlaps import Masks, depth_overlap, expected_depth_overlap, overlap_row

#: Columns of one pair of masks, after what names the files.
COLUMNS = (
    "culture", "other_culture", "matched", "layer", "n_a", "n_b", "n_shared", "overlap", "expected", "p_value",
    "depth_overlap", "depth_expected",
)  # fmt: skip
#: Two cultures are the same because they are called so, or since they share questions.
BY_NAME, BY_QUESTIONS = "name", "questions"


def match_cultures(samples: pd.DataFrame, other: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Which culture of another run stands for each of this run: culture -> (other culture, how it was found).

    samples, other   columns sample_id and culture

    The one of the same name; where no name is in both runs, the one that shares most questions (equal sample ids), of
    equals the first by name. A culture without either is left out.
    """
    names = sorted(set(samples["culture"]) & set(other["culture"]))
    if names:
        return {name: (name, BY_NAME) for name in names}
    both = samples[["sample_id", "culture"]].merge(other[["sample_id", "culture"]], on="sample_id")
    counts = both.groupby(["culture_x", "culture_y"]).size().reset_index(name="n")
    best = counts.sort_values(["n", "culture_y"], ascending=[False, True]).drop_duplicates("culture_x")
    return {row.culture_x: (row.culture_y, BY_QUESTIONS) for row in best.sort_values("culture_x").itertuples()}


def compare(
    first: Masks, second: Masks, matches: dict[str, tuple[str, str]], same_neurons: bool = True, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Rows of all pairs of masks, columns `COLUMNS`; of matched cultures, also of each layer (layer 0 ...).

    same_neurons   whether neuron i of the one is neuron i of the other: if not, only depths are compared
    seed           of the random masks that depths are held against

    `layer` is None for all layers together. Raises ValueError where `same_neurons` and shapes differ.
    """
    if same_neurons and first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} have no neurons in common")
    for culture, a in sorted(first.neurons.items()):
        for other, b in sorted(second.neurons.items()):
            matched = matches.get(culture, ("", ""))
            names = {"culture": culture, "other_culture": other, "matched": matched[1] * (matched[0] == other)}
            counts = [np.bincount(x // m.shape[1], minlength=m.shape[0]) for x, m in ((a, first), (b, second))]
            row = {"n_a": len(a), "n_b": len(b), "n_shared": None, "overlap": np.nan, "expected": np.nan}
            of_all_layers = row | {"p_value": np.nan}
            layers: list[dict[str, Any]] = []
            if same_neurons:
                layers = list(_by_layer(a, b, first.shape))
                of_all_layers = _all_layers(a, b, layers, counts, first.shape)
            depth = {
                "depth_overlap": depth_overlap(*counts),
                "depth_expected": expected_depth_overlap(len(a), len(b), first.shape[0], second.shape[0], seed),
            }
            yield names | {"layer": None} | of_all_layers | depth
            if names["matched"]:
                yield from (names | {"layer": layer} | row for layer, row in enumerate(layers))


def _by_layer(a: np.ndarray, b: np.ndarray, shape: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """Rows of single layers; a, b sorted flat indices."""
    edges = np.arange(1, shape[0]) * shape[1]
    parts = (np.split(flat, np.searchsorted(flat, edges)) for flat in (a, b))
    for x, y in zip(*parts, strict=True):
        row = overlap_row(x, y, shape[1])
        yield row | {"p_value": tail(row["n_shared"], [len(x)], [len(y)], shape[1])}


def _all_layers(
    a: np.ndarray, b: np.ndarray, layers: Sequence[dict[str, Any]], counts: list[np.ndarray], shape: tuple[int, int]
) -> dict[str, Any]:
    by_chance = sum(row["n_a"] * row["n_b"] for row in layers) / shape[1]
    total = len(a) + len(b)
    expected = by_chance / (total - by_chance) if total else np.nan
    row = overlap_row(a, b, shape[0] * shape[1]) | {"expected": expected}
    return row | {"p_value": tail(row["n_shared"], *counts, shape[1])}


def tail(shared: int, first: Sequence[int], second: Sequence[int], width: int) -> float:
    """The chance that two random masks share at least `shared` neurons.

    first, second   numbers of neurons per layer [layer], of `width` each

    Exact: the number is a sum over layers of independent hypergeometric variables. nan where either mask is empty.
    """
    if not sum(first) or not sum(second):
        return np.nan
    distribution = np.ones(1)
    for n, m in zip(first, second, strict=True):
        distribution = np.convolve(distribution, _shared_in_layer(int(n), int(m), width))
    return float(min(1.0, distribution[shared:].sum()))


@cache
def _shared_in_layer(n: int, m: int, width: int) -> np.ndarray:
    """Probabilities that n and m random neurons of `width` have 0, 1 ... min(n, m) in common."""
    return hypergeom.pmf(np.arange(min(n, m) + 1), width, n, m)
