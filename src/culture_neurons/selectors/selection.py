"""From scores to masks: which neurons are chosen for each culture.

Ranking happens on scores rounded to float32, the type in which they are stored, so that a mask is the
same whether it is made from a file or from scores in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from culture_neurons import selectors
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.selectors import shares
from culture_neurons.types import SITES, Statistics

#: Columns of a mask table and their types; `rank` counts from 1 within a culture.
COLUMNS = {"culture": "str", "site": "str", "layer": "int64", "neuron": "int64", "score": "float32", "rank": "int64"}


def select(
    scores: np.ndarray,
    cultures: Sequence[str],
    top_fraction: float | str,
    site: str = "act_fn",
    *,
    selector: str = "",
    statistics: Statistics | None = None,
    reference: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Choose neurons: a table with one row per (culture, chosen neuron), by culture name, then rank.

    scores         float [culture, layer, neuron]; higher = more sensitive; NaN behind the last neuron of a layer that
                   has fewer than others
    cultures       names along the first axis
    top_fraction   the share of all layers * neurons that each culture may take, in (0, 1]

    Per culture the round(neurons of all layers * top_fraction) of highest score are taken (`budget`), ties in the
    order (layer, index). Scores <= 0 or -inf are never chosen, so a mask may be smaller, or empty.

    selector       a method with a choice of its own (`lape-original`, `random-matched`); "" for the rule above
    statistics, reference   needed by `random-matched`: the statistics, and the mask table to be matched

    Columns: culture, site, layer, neuron, score (float32), rank (from 1, highest score first).
    Raises ConfigError for a fraction outside (0, 1] or one that leaves no neuron, for scores that are no
    numbers, or for shapes that disagree; FileError for a reference that does not fit the scores.
    """
    scores = np.asarray(scores)
    cultures = list(cultures)
    if scores.ndim != 3 or len(scores) != len(cultures) or len(set(cultures)) != len(cultures):
        raise ConfigError(
            f"scores of shape {scores.shape} for the cultures {cultures};"
            " expected [culture, layer, neuron] and one name per culture"
        )
    if site not in SITES:
        raise ConfigError(f"unknown site {site!r}; known: {', '.join(SITES)}")
    with np.errstate(over="ignore", under="ignore"):
        scores = scores.astype(np.float32, copy=False)
    widths = layer_widths(scores)
    widths[widths == 0] = scores.shape[2]  # no layer is without neurons
    for culture, row in zip(cultures, scores, strict=True):
        if (np.isnan(row) != (np.arange(row.shape[1]) >= widths[:, None])).any():
            raise ConfigError(f"the scores of culture {culture!r} hold values that are no numbers (nan)")
    size = budget_of_layers(top_fraction, widths)
    entry = selectors.resolve(selector) if selector else None
    if entry is None or not entry.choose:
        chosen = [top_indices(row.ravel(), size) for row in scores]
    elif entry.needs_reference:
        if statistics is None or reference is None:
            raise ConfigError(f"selector {selector} needs the statistics and a reference mask")
        flat = _flat_reference(reference, cultures, scores.shape[1:], site)
        chosen = selectors.load_function(entry.choose)(
            scores, size, probability=_probability(statistics, cultures), reference=flat
        )
    else:
        chosen = selectors.load_function(entry.choose)(scores, size)
    return _table(scores, cultures, chosen, site)


def fraction(value: float | str) -> float:
    """A top fraction as a number. Raises ConfigError unless it is a number in (0, 1]."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number <= 1:
        raise ConfigError(f"top fraction must be a number in (0, 1], found {value!r}")
    return number


def budget(top_fraction: float | str, layers: int, neurons: int) -> int:
    """round(layers * neurons * top_fraction), multiplied in this order as in LAPE's published code (`shares.rounded`).

    A half goes to the even number.

    Raises ConfigError for a fraction outside (0, 1], or when not one neuron is left.
    """
    size = shares.rounded(fraction(top_fraction), layers * neurons)
    if size < 1:
        raise ConfigError(
            f"top fraction {top_fraction} of {layers} layers x {neurons} neurons leaves no neuron to choose;"
            f" expected at least {1 / (layers * neurons):.2g}"
        )
    return size


def layer_widths(scores: np.ndarray) -> np.ndarray:
    """How many neurons each layer has, int64 [layer], by scores [culture, layer, neuron]: those behind are NaN."""
    if not len(scores):
        return np.full(scores.shape[1], scores.shape[2])
    return scores.shape[2] - np.isnan(scores).all(axis=0)[:, ::-1].cumprod(axis=1).sum(axis=1)


def budget_of_layers(top_fraction: float | str, widths: Sequence[int] | np.ndarray) -> int:
    """`budget` of layers that have so many neurons each, the same where all have as many."""
    layers, neurons = (len(widths), widths[0]) if len(set(widths)) == 1 else (1, sum(widths))
    return budget(top_fraction, layers, neurons)


def top_indices(scores: np.ndarray, size: int) -> np.ndarray:
    """Indices of the `size` highest positive scores, highest first, equal ones by index. int64 [<= size]."""
    best = top_indices_unsorted(scores, size)
    return best[np.lexsort((best, -scores[best]))]


def top_indices_unsorted(scores: np.ndarray, size: int) -> np.ndarray:
    """The same indices in ascending order, which takes a fraction of the time: nothing is sorted."""
    candidates = np.flatnonzero(scores > 0)
    if len(candidates) > size:
        values = scores[candidates]
        least = np.partition(values, len(values) - size)[len(values) - size]
        taken = values > least
        taken[np.flatnonzero(values == least)[: size - np.count_nonzero(taken)]] = True
        candidates = candidates[np.flatnonzero(taken)]  # several times faster than with `taken` itself
    return candidates


def select_indices(scores: np.ndarray, sizes: Sequence[int], selector: str) -> list[list[np.ndarray]]:
    """What `select` chooses for several budgets, as sets: per size and culture flat indices, in any order.

    scores    float32 [culture, layer, neuron] of `selector`, which must need no reference
    """
    entry = selectors.resolve(selector)
    if entry.choose:
        choose = selectors.load_function(entry.choose)
        return [choose(scores, size) for size in sizes]
    rows = scores.reshape(len(scores), -1)
    by_size: dict[int, list[np.ndarray]] = {}
    candidates: list[np.ndarray] = []
    # A larger set holds the smaller ones, so that each is looked for in the one before.
    for size in sorted(set(sizes), reverse=True):
        if candidates:
            candidates = [
                indices[top_indices_unsorted(row[indices], size)] for row, indices in zip(rows, candidates, strict=True)
            ]
        else:
            candidates = [top_indices_unsorted(row, size) for row in rows]
        by_size[size] = candidates
    return [by_size[size] for size in sizes]


def _probability(statistics: Statistics, cultures: list[str]) -> np.ndarray:
    if sorted(statistics.cultures) != sorted(cultures):
        raise FileError(f"statistics of the cultures {statistics.cultures}, but scores of {cultures}")
    probability = statistics.probability
    if statistics.cultures == cultures:
        return probability
    return probability[[statistics.cultures.index(c) for c in cultures]]


def _flat_reference(
    reference: pd.DataFrame, cultures: list[str], shape: tuple[int, ...], site: str
) -> list[np.ndarray]:
    """Flat indices of the reference's neurons per culture."""
    layer, neuron = reference["layer"].to_numpy(), reference["neuron"].to_numpy()
    outside = (layer < 0) | (layer >= shape[0]) | (neuron < 0) | (neuron >= shape[1])
    culture, names = pd.factorize(reference["culture"])
    unknown = sorted(set(names) - set(cultures))
    if outside.any() or unknown or (reference["site"] != site).any():
        raise FileError(
            f"the reference mask does not fit the scores ({shape[0]} layers x {shape[1]} neurons at {site}"
            f"{', unknown culture ' + repr(unknown[0]) if unknown else ''}); it is from another run"
        )
    flat = np.ravel_multi_index((layer, neuron), shape)
    number = {name: i for i, name in enumerate(names)}
    return [flat[culture == number.get(c, -1)] for c in cultures]


def _table(scores: np.ndarray, cultures: list[str], chosen: list[np.ndarray], site: str) -> pd.DataFrame:
    order = sorted(range(len(cultures)), key=cultures.__getitem__)
    sizes = [len(chosen[c]) for c in order]
    culture = np.repeat(order, sizes)
    layer, neuron = np.unravel_index(np.concatenate([chosen[c] for c in order]), scores.shape[1:])
    names = pd.Categorical.from_codes(np.repeat(range(len(order)), sizes), [cultures[c] for c in order])
    return pd.DataFrame(
        {
            "culture": names,
            "site": site,
            "layer": layer,
            "neuron": neuron,
            "score": scores[culture, layer, neuron],
            "rank": np.concatenate([np.arange(1, size + 1) for size in sizes]),
        }
    ).astype(COLUMNS)
