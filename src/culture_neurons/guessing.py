"""Does a model answer at all, or does it guess?

A model that answers at chance has no knowledge that a mask could take away: whatever its masks seem to do is noise, so
no verdict is given for it. One that is clearly below chance knows something, and says the opposite: mostly a fault of
the labels, or of the form of its answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from culture_neurons import resampling
from culture_neurons.evaluation import Baseline

ABOVE, AT, BELOW = "above chance", "at chance", "below chance"
#: So many units must every stratum have, and so many answers be right and wrong, for a bootstrap to be trusted: it has
#: no width where all answers are alike, and too little where a culture has a handful of units.
FEWEST = 20


@dataclass(frozen=True)
class Level:
    """How the accuracy without masks compares with guessing.

    accuracy, chance   shares: macro averages of right answers, and of 1 / number of options
    low, high          95 % interval of the accuracy
    word               ABOVE, AT or BELOW chance; "" without questions
    """

    accuracy: float
    low: float
    high: float
    chance: float
    word: str


def level(base: Baseline, replicates: int = 2000, seed: int = 0, macro: bool = True) -> Level:
    """Compare a model's accuracy on its evaluate questions with guessing.

    macro   average over cultures of the mean over a culture's questions; else over all questions alike

    The interval is of a bootstrap over units (images) within cultures. Where a culture has fewer than `FEWEST` units,
    or fewer than that many answers are right or wrong, it also holds the exact interval (Clopper and Pearson 1934) of
    as many independent answers as the average is worth: C^2 / sum over the C cultures of 1 / units, so that few
    questions and accuracies of 0 or 1 get no interval that is too narrow.
    """
    if not len(base.culture):
        return Level(np.nan, np.nan, np.nan, np.nan, "")
    plan = resampling.design(base.culture if macro else np.full(len(base.culture), ""), base.unit)
    values = np.stack([base.correct, 1 / base.options], axis=1).astype(np.float64)
    accuracy, chance = map(float, resampling.macro_mean(plan, values))
    low, high = (
        float(end[0]) for end in resampling.interval(resampling.bootstrap(plan, values[:, :1], replicates, seed))
    )
    units = np.bincount(plan.stratum)
    worth = len(units) ** 2 / (1 / units).sum()
    right, wrong = (round(share * worth, 9) for share in (accuracy, 1 - accuracy))  # sums of 1/n are no exact 1
    if min(units.min(), right, wrong) < FEWEST:
        low = min(low, float(beta.ppf(0.025, right, wrong + 1)) if right > 0 else 0.0)
        high = max(high, float(beta.ppf(0.975, right + 1, wrong)) if wrong > 0 else 1.0)
    slack = 1e-9  # an average of thirds is no exact third
    word = ABOVE if low > chance + slack else BELOW if high < chance - slack else AT
    return Level(accuracy, low, high, chance, word)
