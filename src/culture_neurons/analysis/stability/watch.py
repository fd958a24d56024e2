"""What becomes of the masks of one selector from draw to draw."""

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
WIDTH = 1.959964
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
class Chosen:
    """A selector of the run and the masks that it chose.

    fractions   top fractions, as the config writes them
    masks       per fraction and culture (in the order of `SampleSums.cultures`) flat indices into layer * neuron
    scores      float32, the scores of these neurons, shaped as `masks`
    """

    name: str
    method: str
    options: Mapping[str, Any]
    fractions: Sequence[str]
    masks: Sequence[Sequence[np.ndarray]]
    scores: Sequence[Sequence[np.ndarray]]


class Moments:
    """Mean and standard deviation of float32 values that come draw by draw; those that are not finite do not count."""

    def __init__(self, near: np.ndarray) -> None:
        self._near = near  # sums of small differences keep their digits
        self._n = np.zeros(near.shape, np.uint32)
        self._sum, self._squares = np.zeros(near.shape), np.zeros(near.shape)

    def add(self, values: np.ndarray) -> None:
        known = np.isfinite(values)
        difference = np.where(known, values - self._near, 0)
        self._n += known
        self._sum += difference
        self._squares += np.square(difference, dtype=np.float64)

    @property
    def deviation(self) -> np.ndarray:
        """float64, with n - 1; nan for fewer than two values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (self._squares - self._sum**2 / self._n) / (self._n - 1.0)
        return np.sqrt(np.where(self._n > 1, np.maximum(variance, 0), np.nan))


class Watch:
    """What becomes of the masks of one selector from draw to draw."""

    def __init__(self, chosen: Chosen, shape: tuple[int, int, int]) -> None:
        self.chosen, self._shape, self._size = chosen, shape, shape[1] * shape[2]
        self._budgets = [selection.budget(fraction, *shape[1:]) for fraction in chosen.fractions]
        flat = [_flat(mask, self._size) for mask in chosen.masks]
        self._sizes = np.array([[len(one) for one in mask] for mask in chosen.masks]).reshape(len(flat), shape[0])
        values = np.concatenate([np.concatenate(scores) for scores in chosen.scores])
        # A neuron of several fractions is watched once; `_place` says where the neurons of a fraction are.
        self.union, first, place = np.unique(np.concatenate(flat), return_index=True, return_inverse=True)
        self._place = np.split(place.astype(np.int32), np.cumsum(self._sizes.sum(axis=1))[:-1])
        self._scores = Moments(values[first].astype(np.float32))
        self._again = [np.zeros(len(mask), np.uint32) for mask in flat]
        self._jaccard: list[np.ndarray] = []  # [fraction, culture] per draw
        self._halves: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._inside = np.zeros(shape[0] * self._size, bool)

    def redrawn(self, block: Sequence[Statistics]) -> None:
        """Take note of bootstrap draws, in order."""
        for statistics in block:
            scores, sets = self._choose(statistics)
            self._scores.add(scores.reshape(-1)[self.union])
            shared, sizes = np.zeros(self._sizes.shape), np.zeros(self._sizes.shape)
            for f, mask in enumerate(sets):
                flat = _flat(mask, self._size)
                self._inside[flat] = True
                again = self._inside[self.union][self._place[f]]
                self._inside[flat] = False
                self._again[f] += again
                ends = np.cumsum([0, *self._sizes[f]])
                shared[f] = np.diff(np.concatenate([[0], np.cumsum(again)])[ends])
                sizes[f] = [len(one) for one in mask]
            self._jaccard.append(jaccard(shared, self._sizes, sizes))

    def split(self, block: Sequence[Statistics]) -> None:
        """Take note of halves: each two neighbours are those of one split."""
        for one, other in zip(block[::2], block[1::2], strict=True):
            (a, first), (b, second) = self._choose(one), self._choose(other)
            shared, sizes = np.zeros(self._sizes.shape), np.zeros((2, *self._sizes.shape))
            for f, masks in enumerate(zip(first, second, strict=True)):
                sizes[:, f] = [[len(one) for one in mask] for mask in masks]
                for c, (x, y) in enumerate(zip(*masks, strict=True)):
                    self._inside[x] = True
                    shared[f, c] = np.count_nonzero(self._inside[y])
                    self._inside[x] = False
            rank = [rank_correlation(x.ravel(), y.ravel()) for x, y in zip(a, b, strict=True)]
            by_chance = jaccard(sizes[0] * sizes[1] / self._size, *sizes)
            self._halves.append((jaccard(shared, *sizes), by_chance, np.array(rank)))

    def _choose(self, statistics: Statistics) -> tuple[np.ndarray, list[list[np.ndarray]]]:
        scores = selectors.score(self.chosen.method, statistics, **self.chosen.options)
        with np.errstate(over="ignore", under="ignore"):
            scores = scores.astype(np.float32, copy=False)
        return scores, selection.sets(scores, self._budgets, self.chosen.method)

    def table(self, cultures: Sequence[str], samples: Sequence[int], images: Sequence[int]) -> pd.DataFrame:
        """One row per fraction and culture: `COLUMNS`; nan for cultures of fewer than two images."""
        shape = len(self._budgets), len(cultures)
        halves, by_chance = (_stack([h[i] for h in self._halves], shape) for i in (0, 1))
        rank = _mean(_stack([h[2] for h in self._halves], shape[1:]))
        low, high = _range(halves)
        boot, halves, by_chance = _mean(_stack(self._jaccard, shape)), _mean(halves), _mean(by_chance)
        parts = []
        for f, fraction in enumerate(self.chosen.fractions):
            again = np.split(self._again[f] / max(1, len(self._jaccard)), np.cumsum(self._sizes[f])[:-1])
            again = [part.mean() if len(part) and self._jaccard else np.nan for part in again]
            columns = (
                self.chosen.name, fraction, cultures, samples, images, self._sizes[f], again, boot[f], halves[f],
                low[f], high[f], by_chance[f], rank,
            )  # fmt: skip
            parts.append(pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))))
        whole = pd.concat(parts, ignore_index=True)
        whole.loc[whole["n_images"] < FEWEST_UNITS, list(COLUMNS[COLUMNS.index("selected_again") :])] = np.nan
        return whole

    def neurons(
        self, cultures: Sequence[str], where: np.ndarray, probability: np.ndarray, deviation: np.ndarray,
        known: np.ndarray,
    ) -> pd.DataFrame:  # fmt: skip
        """One row per neuron of a mask: `NEURON_COLUMNS`.

        where, probability, deviation   flat indices (sorted), P of the run and its standard deviation over draws
        known   bool [culture]: whether draws of its samples differ; else all that they would say is nan
        """
        place = np.searchsorted(where, self.union)
        p, deviation = probability[place], deviation[place]
        # Where no draw differs nothing is known of the spread: an interval without a width would say that all is.
        half = np.where(deviation > _NOISE * p, WIDTH * deviation, np.nan)
        values = {
            "score_sd": self._scores.deviation, "probability": p,
            "probability_low": np.maximum(p - half, 0), "probability_high": np.minimum(p + half, 1),
        }  # fmt: skip
        parts = []
        for f, fraction in enumerate(self.chosen.fractions):
            culture, flat = np.divmod(self.union[self._place[f]], self._size)
            layer, neuron = np.divmod(flat, self._shape[2])
            again = self._again[f] / len(self._jaccard) if self._jaccard else np.full(len(flat), np.nan)
            part = pd.DataFrame({
                "selector": pd.Categorical.from_codes(np.zeros(len(flat), np.int8), [self.chosen.name]),
                "top_fraction": float(fraction),
                "culture": pd.Categorical.from_codes(culture, list(cultures)),
                "layer": layer.astype(np.int32), "neuron": neuron.astype(np.int32),
                "score": np.concatenate(self.chosen.scores[f]).astype(np.float32),
                "selected_again": again.astype(np.float32),
                **{name: column[self._place[f]].astype(np.float32) for name, column in values.items()},
            })[list(NEURON_COLUMNS)]  # fmt: skip
            drawn = ["score_sd", "selected_again", "probability_low", "probability_high"]
            part.loc[~known[culture], drawn] = np.float32(np.nan)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)


def _flat(mask: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Indices of all cultures into culture * layer * neuron."""
    return np.concatenate([culture * size + one for culture, one in enumerate(mask)])


def _stack(values: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(values) if values else np.full((1, *shape), np.nan)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis, of what is known; nan where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))


def _range(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle 95 % over the first axis, of what is known; nan for fewer than two values, which have no middle."""
    result = np.full((2, *values.shape[1:]), np.nan)
    some = np.isfinite(values).sum(axis=0) > 1
    if some.any():
        result[:, some] = np.nanquantile(values[:, some], [0.025, 0.975], axis=0)
    return result[0], result[1]
