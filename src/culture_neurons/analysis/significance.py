"""Which way a change goes, as far as its p-value tells: the one rule behind every word, mark and count of a direction.

And the words of verdicts, in tables and in reports.

p-values in tables are two-sided, so a small one says that two things differ, and not which of them is lower; those of
permutations.csv are one-sided, of a loss as large. Words and marks ask `direction`, never a p-value alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: A p-value below this is called significant.
LEVEL = 0.05
#: Directions of a change: lower is worse, since all changes are of accuracy or of log-probability.
LOWER, HIGHER, OPEN = "lower", "higher", ""

#: Verdicts on a selector's masks, see `verdicts.decide_verdict`.
SPECIFIC = "culture-specific"
UNSPECIFIC = "unspecific damage"
UNRESOLVED = "damage, specificity inconclusive"
LESS = "less harm than random masks"
NOTHING = "not distinguishable from random masks"
INCONCLUSIVE = "inconclusive"
TOO_FEW = "too few masks to tell"
UNTESTED = "not tested"
#: Losses by measure (points, nats) that a design must be able to find before "not distinguishable" or "unspecific" is
#: said.
LARGE: Mapping[str, float] = MappingProxyType({"accuracy": 10.0, "logprob": 0.5})
#: For a model that guesses (`chance`), since masks can't take away what is not there. Set in steps.tabulate and
#: steps.tabulate_overlaps.
NOT_JUDGED = "not judged: the model answers at chance"
#: How an accuracy compares with guessing: words of the column `level` of `baseline.csv` and `sets.csv`.
ABOVE_CHANCE, AT_CHANCE, BELOW_CHANCE = "above chance", "at chance", "below chance"


def direction(change: Any, p: Any) -> str:
    """LOWER or HIGHER by the sign of `change` where p < LEVEL; OPEN for any other p, and where either is 0 or nan.

    change   an estimate: masked - baseline, own - other masks, a correlation; of one number
    p        its p-value, two-sided, or one-sided of the side on which `change` lies; adjusted where many are read
    """
    if not float(p) < LEVEL:
        return OPEN
    return LOWER if float(change) < 0 else HIGHER if float(change) > 0 else OPEN
