"""The least numbers of groups and of random controls with which a verdict can be reached. Imports nothing heavy.

Of all (1 + controls) ^ groups ways to exchange a mask with its random controls in each group
(`p_values.exchange_test`), and of all orders of the groups (`p_values.relabel_test`), one is what was observed; a
two-sided p-value is at least twice that share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from culture_neurons.analysis.significance import LEVEL, SPECIFIC


def least_groups(controls: int) -> int | None:
    """Groups that a comparison with this number of random controls needs to reach p < LEVEL; None without any."""
    if controls < 1:
        return None
    return next(groups for groups in range(1, 100) if (least := 2 / (1 + controls) ** groups) < LEVEL)  # noqa: F841


#: Groups that a comparison with the other groups' masks needs.
LEAST_RELABELLED = next(groups for groups in range(2, 100) if (least := 2 / math.factorial(groups)) < LEVEL)


def notes(controls: Mapping[str, int], groups: int) -> list[str]:
    """What a run of this many groups can't say, a sentence per number of random controls (selector -> number)."""
    by_number: dict[int, list[str]] = {}
    for selector, number in controls.items():
        by_number.setdefault(number, []).append(selector)
    result = []
    for number, selectors in sorted(by_number.items()):
        least, names = least_groups(number), ", ".join(selectors)
        if least is None:
            result.append(f"no verdict is possible on {names}: no random masks to hold them against (random-matched)")
        elif groups < least:
            result.append(
                f"no verdict is possible on {names}: with {_plural(number, 'random control')}, p < {LEVEL:g} needs at "
                f"least {_plural(least, 'group')}, and there are {groups}; add groups or controls of other seeds"
            )
        elif groups < LEAST_RELABELLED:
            result.append(
                f"{SPECIFIC!r} is out of reach for {names}: p < {LEVEL:g} against the masks of other groups needs at "
                f"least {_plural(LEAST_RELABELLED, 'group')}, and there are {groups}"
            )
    return result


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
