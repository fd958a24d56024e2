"""Does a model answer at all, or does it guess?

A model that answers at chance has no knowledge that a mask could take away: whatever its masks seem to do is noise, so
no verdict is given for it. One that is clearly below chance knows something, and says the opposite: mostly a fault of
the labels, or of the form of its answers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from culture_neurons.analysis import intervals, p_values
from culture_neurons.analysis.intervals import SHARE
from culture_neurons.analysis.mask_effects import Baseline
from culture_neurons.analysis.significance import ABOVE_CHANCE, AT_CHANCE, BELOW_CHANCE


@dataclass(frozen=True)
class Level:
    """How the accuracy without masks compares with guessing.

    accuracy, chance   shares: macro averages of right answers, and of 1 / number of options
    low, high          95 % interval of the accuracy
    word               ABOVE_CHANCE, AT_CHANCE or BELOW_CHANCE; "" without questions
    """

    accuracy: float
    low: float
    high: float
    chance: float
    word: str


def compare_with_chance(base: Baseline, replicates: int = 2000, seed: int = 0, macro: bool = True) -> Level:
    """Compare a model's accuracy on its evaluate questions with guessing.

    macro   average over cultures of the mean over a culture's questions; else over all questions alike

    The interval (`intervals`) is over units (images) within cultures; 0 to 1 where no culture has two.
    """
    if not len(base.culture):
        return Level(np.nan, np.nan, np.nan, np.nan, "")
    plan = p_values.design(base.culture if macro else np.full(len(base.culture), ""), base.unit)
    values = np.stack([base.correct, 1 / base.options], axis=1).astype(np.float64)
    accuracy, chance = map(float, p_values.macro_mean(plan, values))
    low, high = (float(end[0]) for end in intervals.interval(plan, values[:, :1], [SHARE], replicates, seed))
    if np.isnan(low):
        low, high = 0.0, 1.0
    slack = 1e-9  # an average of thirds is no exact third
    word = ABOVE_CHANCE if low > chance + slack else BELOW_CHANCE if high < chance - slack else AT_CHANCE
    return Level(accuracy, low, high, chance, word)


@dataclass(frozen=True)
class Place:
    """The place in the prompt (A, B ...) whose options a model chose most often.

    letter     "" without answers
    n, of      answers there, and all answers
    expected   how many there would be if no place were preferred
    p          probability of as many at any one place, if none were preferred; times the number of places (Bonferroni)
    """

    letter: str
    n: int
    of: int
    expected: float
    p: float


def most_chosen_place(orders: Sequence[Sequence[int]], predictions: Sequence[int]) -> Place:
    """Where the chosen options stood: `orders` has, per question, the options' original indices in the order of the
    prompt, and `predictions` the index of the chosen one, -1 for no answer."""
    answered = [(list(order), int(choice)) for order, choice in zip(orders, predictions, strict=True) if choice >= 0]
    if not answered:
        return Place("", 0, 0, math.nan, math.nan)
    counts = Counter(order.index(choice) for order, choice in answered)
    place, n = min(counts.items(), key=lambda item: (-item[1], item[0]))
    places = max(len(order) for order, _ in answered)
    expected = sum(1 / len(order) for order, _ in answered)
    p = min(1.0, places * float(binom.sf(n - 1, len(answered), expected / len(answered))))
    return Place(chr(ord("A") + place), n, len(answered), expected, p)
