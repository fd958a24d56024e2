"""Which way a change goes, as far as its p-value tells: the one rule behind every word, mark and count of a direction.

p-values in tables are two-sided, so a small one says that two things differ, and not which of them is lower; those of
permutations.csv are one-sided, of a loss as large. Words and marks ask `direction`, never a p-value alone.
"""

from __future__ import annotations

from typing import Any

#: A p-value below this is called significant.
LEVEL = 0.05
#: Directions of a change: lower is worse, since all changes are of accuracy or of log-probability.
LOWER, HIGHER, OPEN = "lower", "higher", ""


def direction(change: Any, p: Any) -> str:
    """LOWER or HIGHER by the sign of `change` where p < LEVEL; OPEN for any other p, and where either is 0 or nan.

    change   an estimate: masked - baseline, own - other masks, a correlation; of one number
    p        its p-value, two-sided, or one-sided of the side on which `change` lies; adjusted where many are read
    """
    if not float(p) < LEVEL:
        return OPEN
    return LOWER if float(change) < 0 else HIGHER if float(change) > 0 else OPEN
