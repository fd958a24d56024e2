"""How much masks overlap: between cultures, selectors, top fractions, token rules and models; and what comes of it.

Within a model the measure is the Jaccard index |A and B| / |A or B|, beside that of two masks of these sizes anywhere
in the model. Neurons of two models have nothing in common but their depth: there it is the share of two histograms over
relative depth that lies in both. With layer l of L spread evenly over [l / L, (l + 1) / L), and f and g the densities
of the two masks over [0, 1], it is the integral of min(f, g): 1 for equal histograms, 0 where they do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.analysis import p_values
from culture_neurons.analysis.significance import LEVEL, LOWER, OPEN, direction
from culture_neurons.seeds import generator

COLUMNS = (
    "kind", "model", "selector", "top_fraction", "culture", "a", "b", "n_a", "n_b", "n_shared", "overlap", "expected",
)  # fmt: skip
RELATED = (
    "selector", "top_fraction", "measure", "n_cultures", "n_pairs", "overlapping", "correlation", "p_value",
    "p_adjusted", "verdict",
)  # fmt: skip
#: Measures of `tables/effects.csv`, and its columns.
MEASURES = {"accuracy": "drop", "logprob": "logprob_drop"}
HURT, SPARED = "cultures with shared neurons are hurt more", "cultures with shared neurons are hurt less"
NOTHING, SAME, TOO_FEW = (
    "no relation shown",
    "not tested: overlaps or changes are all alike",
    "too few cultures to tell",
)
#: Pairs of random masks that the expected overlap of histograms is a mean over.
_PAIRS = 200


@dataclass(frozen=True)
class Masks:
    """The masks of one selector and top fraction.

    shape     number of layers, and of neurons per layer, those of the widest one
    neurons   culture -> sorted flat indices into layer * neuron, int64
    widths    neurons of each layer, where layers differ
    """

    shape: tuple[int, int]
    neurons: Mapping[str, np.ndarray]
    widths: Sequence[int] = ()

    @property
    def size(self) -> int:
        """How many neurons the model has."""
        return sum(self.widths) if self.widths else self.shape[0] * self.shape[1]


def compare_cultures(masks: Masks) -> Iterator[dict[str, Any]]:
    """Rows of all pairs of cultures, by name: a, b, sizes, n_shared, overlap, expected."""
    for a, b in combinations(sorted(masks.neurons), 2):
        yield {"a": a, "b": b, **overlap_row(masks.neurons[a], masks.neurons[b], masks.size)}


def compare_masks(first: Masks, second: Masks) -> Iterator[dict[str, Any]]:
    """Rows of all cultures that have a mask in both, of one model: culture, sizes, n_shared, overlap, expected."""
    for culture in sorted(first.neurons.keys() & second.neurons.keys()):
        yield {"culture": culture, **overlap_row(first.neurons[culture], second.neurons[culture], first.size)}


def compare_models(first: Masks, second: Masks, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of all cultures that have a mask in two models, by relative depth: two models share no neuron."""
    for culture in sorted(first.neurons.keys() & second.neurons.keys()):
        counts = [np.bincount(m.neurons[culture] // m.shape[1], minlength=m.shape[0]) for m in (first, second)]
        sizes = [int(n.sum()) for n in counts]
        yield {
            "culture": culture, "n_a": sizes[0], "n_b": sizes[1], "overlap": depth_overlap(*counts),
            "expected": expected_depth_overlap(*sizes, first.shape[0], second.shape[0], seed),
        }  # fmt: skip


def overlap_row(a: np.ndarray, b: np.ndarray, size: int) -> dict[str, Any]:
    """Sizes of two masks, the number of shared neurons, the Jaccard index, and that of the expected shared number.

    a, b   flat indices without duplicates; size: all neurons of the model. The index is nan where both are empty.
    """
    shared, shared_by_chance = len(np.intersect1d(a, b, assume_unique=True)), len(a) * len(b) / size
    total = len(a) + len(b)
    return {
        "n_a": len(a), "n_b": len(b), "n_shared": shared,
        "overlap": shared / (total - shared) if total else np.nan,
        "expected": shared_by_chance / (total - shared_by_chance) if total else np.nan,
    }  # fmt: skip


def depth_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The integral of min(f, g) over relative depth, from counts per layer [layer]; nan where one mask is empty."""
    if not a.sum() or not b.sum():
        return np.nan
    edges = np.union1d(np.arange(len(a) + 1) / len(a), np.arange(len(b) + 1) / len(b))
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    f, g = (n[(middle * len(n)).astype(int)] * len(n) / n.sum() for n in (a, b))
    return float(np.minimum(f, g) @ width)


@cache
def expected_depth_overlap(n_a: int, n_b: int, layers_a: int, layers_b: int, seed: int = 0) -> float:
    """The mean `depth_overlap` of pairs of random masks with n_a and n_b neurons; nan where one is empty."""
    if not n_a or not n_b:
        return np.nan
    rng = generator("depth", seed, n_a, n_b, layers_a, layers_b)
    counts = [rng.multinomial(n, np.full(k, 1 / k), size=_PAIRS) for n, k in ((n_a, layers_a), (n_b, layers_b))]
    return float(np.mean([depth_overlap(x, y) for x, y in zip(*counts, strict=True)]))


def tabulate(masks: Mapping[tuple[str, str, str], Masks], tokens: Mapping[tuple[str, str, str, str], Masks], rule: str,
          seed: int = 0) -> pd.DataFrame:  # fmt: skip
    """Tabulate all overlaps, columns `COLUMNS`.

    masks    (model, selector, top fraction) -> masks of the run, whose token rule is `rule`
    tokens   (model, selector, top fraction, token rule) -> masks of other token rules
    """
    models, selectors, fractions = (list(dict.fromkeys(key[i] for key in masks)) for i in range(3))
    rows: list[dict[str, Any]] = []

    def add(kind: str, pairs: Iterator[dict[str, Any]], **names: Any) -> None:
        rows.extend({"kind": kind, **names, **row} for row in pairs)

    for (model, selector, fraction), one in masks.items():
        add("cultures", compare_cultures(one), model=model, selector=selector, top_fraction=fraction)
    for model, fraction in product(models, fractions):
        for a, b in combinations([s for s in selectors if (model, s, fraction) in masks], 2):
            pairs = compare_masks(masks[model, a, fraction], masks[model, b, fraction])
            add("selectors", pairs, model=model, top_fraction=fraction, a=a, b=b)
    for model, selector in product(models, selectors):
        for a, b in combinations([f for f in fractions if (model, selector, f) in masks], 2):
            pairs = compare_masks(masks[model, selector, a], masks[model, selector, b])
            add("fractions", pairs, model=model, selector=selector, a=a, b=b)
    for (model, selector, fraction, other), one in tokens.items():
        pairs = compare_masks(masks[model, selector, fraction], one)
        add("tokens", pairs, model=model, selector=selector, top_fraction=fraction, a=rule, b=other)
    for selector, fraction in product(selectors, fractions):
        for a, b in combinations([m for m in models if (m, selector, fraction) in masks], 2):
            pairs = compare_models(masks[a, selector, fraction], masks[b, selector, fraction], seed)
            add("models", pairs, selector=selector, top_fraction=fraction, a=a, b=b)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def overlap_matrix(overlaps: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Cultures and their overlaps, float64 [culture, culture], 1 on the diagonal, from the rows of one mask file."""
    cultures = sorted({*overlaps["a"], *overlaps["b"]})
    index = {culture: i for i, culture in enumerate(cultures)}
    values = np.eye(len(cultures))
    for a, b, overlap in overlaps[["a", "b", "overlap"]].itertuples(index=False, name=None):
        values[index[a], index[b]] = values[index[b], index[a]] = overlap
    return cultures, values


def relate_to_effects(
    overlaps: pd.DataFrame, effects: pd.DataFrame, permutations: int = 9999, seed: int = 0
) -> pd.DataFrame:
    """Does a culture's mask do more harm to those cultures with which it shares more neurons? One model: `RELATED`.

    overlaps   rows of kind "cultures"
    effects    of `tables/effects.csv`, the same model

    Over ordered pairs of cultures a, b with questions and a mask that is not empty: Spearman's correlation of their
    overlap and the change of b's questions under the mask of a; negative where shared neurons hurt. p by permuting the
    names of the cultures (`p_values.mantel`), adjusted within the model and the measure.
    """
    rows = []
    for (selector, fraction), part in overlaps.groupby(["selector", "top_fraction"], sort=False):
        cultures, shared = overlap_matrix(part)
        with_neurons = {*part.loc[part["n_a"] > 0, "a"], *part.loc[part["n_b"] > 0, "b"]}
        own_effects = effects[(effects["selector"] == selector) & np.isclose(effects["top_fraction"], float(fraction))]
        cultures, shared, changes = _changes(cultures, shared, with_neurons, own_effects)
        n = len(cultures)
        off_diagonal = ~np.eye(n, dtype=bool)
        tests = p_values.mantel(shared, list(changes.values()), permutations, seed) if n > 2 else []
        for k, measure in enumerate(MEASURES):
            rho, p, least = tests[k] if tests else (np.nan, np.nan, 1.0)
            overlapping = float((shared[off_diagonal] > 0).mean()) if n > 1 else np.nan
            p = p if least < LEVEL else np.nan
            rows.append((selector, fraction, measure, n, int(off_diagonal.sum()), overlapping, rho, p, least))
    table = pd.DataFrame(rows, columns=[*RELATED[:-2], "least"])
    table = p_values.adjust_within(table, ["measure"], [("p_value", "p_adjusted")])
    table["verdict"] = [
        _verdict(*row) for row in table[["correlation", "p_adjusted", "least"]].itertuples(index=False, name=None)
    ]
    return table[list(RELATED)]


def _changes(
    cultures: Sequence[str], shared: np.ndarray, with_neurons: set[str], effects: pd.DataFrame
) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """The cultures with neurons and questions, their overlaps, and measure -> changes [mask culture, eval culture]."""
    with_questions = effects[
        effects[list(MEASURES.values())].notna().all(axis=1)
    ]  # without questions there is no change
    cultures_compared = with_neurons & set(effects["mask_culture"]) & set(with_questions["eval_culture"])
    keep = [i for i, culture in enumerate(cultures) if culture in cultures_compared]
    names = [cultures[i] for i in keep]
    matrices = {
        measure: effects.pivot(index="mask_culture", columns="eval_culture", values=column).reindex(
            index=names, columns=names
        )
        for measure, column in MEASURES.items()
    }
    return names, shared[np.ix_(keep, keep)], {measure: values.to_numpy(float) for measure, values in matrices.items()}


def _verdict(correlation: float, p: float, least: float) -> str:
    if least >= LEVEL:
        return TOO_FEW
    if not np.isfinite(correlation):
        return SAME
    way = direction(correlation, p)
    return NOTHING if way == OPEN else HURT if way == LOWER else SPARED
