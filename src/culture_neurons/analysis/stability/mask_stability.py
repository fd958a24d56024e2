"""How much the masks of one selector change from resample to resample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons import selectors
from culture_neurons.analysis.stability.agreement import jaccard, rank_correlation
from culture_neurons.selectors import selection
from culture_neurons.types import FEWEST_UNITS, Statistics

#: Half the width of a 95 % interval, in standard deviations.
Z_95 = 1.959964
#: P are float32: a deviation below this share of P is rounding.
_NOISE = 1e-6

#: Columns of the table per culture, and of that per neuron.
COLUMNS = (
    "selector", "top_fraction", "culture", "n_samples", "n_images", "n_neurons", "selected_again", "jaccard_bootstrap",
    "jaccard_halves", "jaccard_halves_low", "jaccard_halves_high", "jaccard_chance", "rank_correlation",
)  # fmt: skip
NEURON_COLUMNS = (
    "selector", "top_fraction", "culture", "layer", "neuron", "score", "score_sd", "selected_again", "probability",
    "probability_low", "probability_high",
)  # fmt: skip


@dataclass(frozen=True)
class SelectedMasks:
    """A selector of the run and the masks that it chose.

    method, options   the selector's method and its options, as for `selectors.score`
    fractions         top fractions, as the config writes them
    masks             per fraction and culture (in the order of `SampleSums.cultures`) flat indices into layer * neuron
    scores            float32, the scores of these neurons, shaped as `masks`
    """

    name: str
    method: str
    options: Mapping[str, Any]
    fractions: Sequence[str]
    masks: Sequence[Sequence[np.ndarray]]
    scores: Sequence[Sequence[np.ndarray]]


class Moments:
    """Running standard deviation of float32 values, one array per resample; values that are not finite do not count."""

    def __init__(self, reference: np.ndarray) -> None:
        self._reference = reference  # sums of small differences keep their digits
        self._n = np.zeros(reference.shape, np.uint32)
        self._sum, self._squares = np.zeros(reference.shape), np.zeros(reference.shape)

    def add(self, values: np.ndarray) -> None:
        finite = np.isfinite(values)
        difference = np.where(finite, values - self._reference, 0)
        self._n += finite
        self._sum += difference
        self._squares += np.square(difference, dtype=np.float64)

    @property
    def deviation(self) -> np.ndarray:
        """float64, with n - 1; nan for fewer than two values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (self._squares - self._sum**2 / self._n) / (self._n - 1.0)
        return np.sqrt(np.where(self._n > 1, np.maximum(variance, 0), np.nan))


class MaskStability:
    """How much the masks of one selector change from resample to resample."""

    def __init__(
        self, selected: SelectedMasks, shape: tuple[int, int, int], widths: np.ndarray | None = None
    ) -> None:  # fmt: skip
        self.selected, self._shape, self._size = selected, shape, shape[1] * shape[2]
        widths = np.full(shape[1], shape[2]) if widths is None else widths  # neurons of each layer
        self._n_neurons = int(widths.sum())
        self._budgets = [selection.budget_of_layers(fraction, widths) for fraction in selected.fractions]
        flat = [_flat(mask, self._size) for mask in selected.masks]
        self._sizes = np.array([[len(one) for one in mask] for mask in selected.masks]).reshape(len(flat), shape[0])
        values = np.concatenate([np.concatenate(scores) for scores in selected.scores])
        # A neuron in several fractions is kept once; `_position` gives those of each fraction in `union`.
        self.union, first, place = np.unique(np.concatenate(flat), return_index=True, return_inverse=True)
        self._position = np.split(place.astype(np.int32), np.cumsum(self._sizes.sum(axis=1))[:-1])
        self._scores = Moments(values[first].astype(np.float32))
        self._times_selected = [np.zeros(len(mask), np.uint32) for mask in flat]
        self._jaccard: list[np.ndarray] = []  # [fraction, culture] per resample
        self._halves: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._selected_now = np.zeros(shape[0] * self._size, bool)

    def add_bootstrap(self, block: Sequence[Statistics]) -> None:
        """Add a block of bootstrap resamples; blocks come in order."""
        for statistics in block:
            scores, masks = self._select(statistics)
            self._scores.add(scores.reshape(-1)[self.union])
            shared, sizes = np.zeros(self._sizes.shape), np.zeros(self._sizes.shape)
            for f, mask in enumerate(masks):
                flat = _flat(mask, self._size)
                self._selected_now[flat] = True
                selected = self._selected_now[self.union][self._position[f]]
                self._selected_now[flat] = False
                self._times_selected[f] += selected
                bounds = np.cumsum([0, *self._sizes[f]])
                shared[f] = np.diff(np.concatenate([[0], np.cumsum(selected)])[bounds])
                sizes[f] = [len(indices) for indices in mask]
            self._jaccard.append(jaccard(shared, self._sizes, sizes))

    def add_halves(self, block: Sequence[Statistics]) -> None:
        """Add a block of halves: each two neighbours belong to one split."""
        for half, other_half in zip(block[::2], block[1::2], strict=True):
            (a, first), (b, second) = self._select(half), self._select(other_half)
            shared, sizes = np.zeros(self._sizes.shape), np.zeros((2, *self._sizes.shape))
            for f, masks in enumerate(zip(first, second, strict=True)):
                sizes[:, f] = [[len(half) for half in mask] for mask in masks]
                for c, (x, y) in enumerate(zip(*masks, strict=True)):
                    self._selected_now[x] = True
                    shared[f, c] = np.count_nonzero(self._selected_now[y])
                    self._selected_now[x] = False
            rank = [rank_correlation(_known(x), _known(y)) for x, y in zip(a, b, strict=True)]
            by_chance = jaccard(sizes[0] * sizes[1] / self._n_neurons, *sizes)
            self._halves.append((jaccard(shared, *sizes), by_chance, np.array(rank)))

    def _select(self, statistics: Statistics) -> tuple[np.ndarray, list[list[np.ndarray]]]:
        scores = selectors.score(self.selected.method, statistics, **self.selected.options)
        with np.errstate(over="ignore", under="ignore"):
            scores = scores.astype(np.float32, copy=False)
        return scores, selection.select_indices(scores, self._budgets, self.selected.method)

    def table(self, cultures: Sequence[str], samples: Sequence[int], images: Sequence[int]) -> pd.DataFrame:
        """One row per fraction and culture: `COLUMNS`; nan for cultures of fewer than two images."""
        shape = len(self._budgets), len(cultures)
        halves, by_chance = (_stack([h[i] for h in self._halves], shape) for i in (0, 1))
        rank = _mean(_stack([h[2] for h in self._halves], shape[1:]))
        low, high = _range(halves)
        bootstrap, halves, by_chance = _mean(_stack(self._jaccard, shape)), _mean(halves), _mean(by_chance)
        parts = []
        for f, fraction in enumerate(self.selected.fractions):
            selected_again = np.split(
                self._times_selected[f] / max(1, len(self._jaccard)), np.cumsum(self._sizes[f])[:-1]
            )
            selected_again = [part.mean() if len(part) and self._jaccard else np.nan for part in selected_again]
            columns = (
                self.selected.name, fraction, cultures, samples, images, self._sizes[f], selected_again, bootstrap[f],
                halves[f], low[f], high[f], by_chance[f], rank,
            )  # fmt: skip
            parts.append(pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))))
        table = pd.concat(parts, ignore_index=True)
        table.loc[table["n_images"] < FEWEST_UNITS, list(COLUMNS[COLUMNS.index("selected_again") :])] = np.nan
        return table

    def neurons(
        self, cultures: Sequence[str], flat_indices: np.ndarray, probability: np.ndarray, deviation: np.ndarray,
        has_spread: np.ndarray,
    ) -> pd.DataFrame:  # fmt: skip
        """One row per neuron of a mask: `NEURON_COLUMNS`.

        flat_indices   int64 [neuron], sorted, into culture * layer * neuron
        probability, deviation   float [neuron]: P of the run, and its standard deviation over resamples
        has_spread   bool [culture]: whether resamples of its samples can differ; where not, all intervals are nan
        """
        position = np.searchsorted(flat_indices, self.union)
        p, deviation = probability[position], deviation[position]
        # Where no resample differs, the spread is unknown: an interval of no width would claim the opposite.
        half_width = np.where(deviation > _NOISE * p, Z_95 * deviation, np.nan)
        values = {
            "score_sd": self._scores.deviation, "probability": p,
            "probability_low": np.maximum(p - half_width, 0), "probability_high": np.minimum(p + half_width, 1),
        }  # fmt: skip
        parts = []
        for f, fraction in enumerate(self.selected.fractions):
            culture, flat = np.divmod(self.union[self._position[f]], self._size)
            layer, neuron = np.divmod(flat, self._shape[2])
            selected_again = (
                self._times_selected[f] / len(self._jaccard) if self._jaccard else np.full(len(flat), np.nan)
            )
            rows = pd.DataFrame({
                "selector": pd.Categorical.from_codes(np.zeros(len(flat), np.int8), [self.selected.name]),
                "top_fraction": float(fraction),
                "culture": pd.Categorical.from_codes(culture, list(cultures)),
                "layer": layer.astype(np.int32), "neuron": neuron.astype(np.int32),
                "score": np.concatenate(self.selected.scores[f]).astype(np.float32),
                "selected_again": selected_again.astype(np.float32),
                **{name: column[self._position[f]].astype(np.float32) for name, column in values.items()},
            })[list(NEURON_COLUMNS)]  # fmt: skip
            unknown = ["score_sd", "selected_again", "probability_low", "probability_high"]
            rows.loc[~has_spread[culture], unknown] = np.float32(np.nan)
            parts.append(rows)
        return pd.concat(parts, ignore_index=True)


def _flat(mask: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Indices of all cultures into culture * layer * neuron."""
    return np.concatenate([culture * size + indices for culture, indices in enumerate(mask)])


def _known(scores: np.ndarray) -> np.ndarray:
    """The scores [layer, neuron] in a row, without those of neurons that a layer does not have."""
    flat = scores.ravel()
    return flat[~np.isnan(flat)] if np.isnan(flat).any() else flat


def _stack(values: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(values) if values else np.full((1, *shape), np.nan)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of the finite values over the first axis; nan where there are none."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0).sum(axis=0)
    return np.divide(total, finite.sum(axis=0), out=np.full(total.shape, np.nan), where=finite.any(axis=0))


def _range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle 95 % of the finite values over the first axis; nan for fewer than two values."""
    result = np.full((2, *values.shape[1:]), np.nan)
    enough = np.isfinite(values).sum(axis=0) > 1
    if enough.any():
        result[:, enough] = np.nanquantile(values[:, enough], [0.025, 0.975], axis=0)
    return result[0], result[1]
