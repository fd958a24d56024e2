"""The split into disjoint halves: `identify` (where neurons are found) and `evaluate` (where they are tested).

Questions about one image stay together, whatever their cultures and categories, or a neuron could be
tested on a picture that found it. Which questions go where is decided by a seeded hash of their ids:
neither the order of the rows nor the machine matters.

How well it is stratified: let a stratum be the samples of one culture and category, n of them. Where no
image is shared, `identify` gets less than one sample more or less than fraction · n of every stratum,
and of every culture, and of the whole. Shared images are placed first, each on the side where the shares
of its strata and cultures end nearest to the fraction; the questions with an image of their own then
fill up every stratum as far as they can.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from math import floor

import numpy as np
import pandas as pd

from culture_neurons.errors import ConfigError

SIDES = IDENTIFY, EVALUATE = "identify", "evaluate"


def check_fraction(fraction: float) -> None:
    """Raise ConfigError unless the share of `identify` lies above 0 and below 1."""
    if isinstance(fraction, bool) or not 0 < fraction < 1:
        raise ConfigError(f"identify_fraction: {fraction!r}; expected a number above 0 and below 1")


def split(rows: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """Assign every row to a side.

    rows        columns sample_id (unique), culture, category, image_id ("" = the question has no image)
    fraction    share of `identify`, above 0 and below 1
    seed        any whole number

    Returns an object array of "identify" and "evaluate", one per row. Raises ConfigError for a fraction
    that is out of range.
    """
    check_fraction(fraction)
    strata = list(zip(rows["culture"], rows["category"], strict=True))
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, (sample, image) in enumerate(zip(rows["sample_id"], rows["image_id"], strict=True)):
        groups[("image", image) if image else ("sample", sample)].append(i)
    # A group goes by the smallest id of its samples, so that the name of an image does not matter.
    ids = list(rows["sample_id"])
    ordered = sorted(groups.values(), key=lambda members: _hash(seed, min(ids[i] for i in members)))

    side = np.full(len(rows), EVALUATE, dtype=object)
    shared = sorted((members for members in ordered if len(members) > 1), key=len, reverse=True)
    taken = _place_shared(shared, strata, fraction, side)
    single: dict[tuple[str, str], list[int]] = defaultdict(list)
    for members in ordered:
        if len(members) == 1:
            single[strata[members[0]]].append(members[0])
    _fill(single, strata, taken, fraction, _offset(seed), side)
    return side


def _place_shared(
    shared: Sequence[list[int]], strata: Sequence[tuple[str, str]], fraction: float, side: np.ndarray
) -> dict[tuple[str, str], int]:
    """Place the groups of several samples; return how many samples of each stratum are in `identify`."""
    excess: dict[object, float] = defaultdict(float)  # identify minus fraction · placed, per stratum and culture
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for members in shared:
        touched: dict[object, int] = defaultdict(int)
        for i in members:
            touched[strata[i]] += 1
            touched[strata[i][0]] += 1
        gain = sum((excess[k] + n * (1 - fraction)) ** 2 - (excess[k] - n * fraction) ** 2 for k, n in touched.items())
        chosen = gain < 0
        for k, n in touched.items():
            excess[k] += n * (1 - fraction) if chosen else -n * fraction
        if chosen:
            for i in members:
                side[i] = IDENTIFY
                taken[strata[i]] += 1
    return taken


def _fill(
    single: dict[tuple[str, str], list[int]],
    strata: Sequence[tuple[str, str]],
    taken: dict[tuple[str, str], int],
    fraction: float,
    offset: float,
    side: np.ndarray,
) -> None:
    """Fill every stratum up to its share, in the given order of its single samples.

    The shares are summed over the sorted strata and each sum is rounded, so that a stratum's rounding
    is made up for by the next: the error of any run of strata, as of a culture, stays below one.
    """
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for stratum in strata:
        sizes[stratum] += 1
    seen = done = 0
    for stratum in sorted(sizes):
        start = floor(fraction * seen - done + offset)
        seen += sizes[stratum]
        done += taken[stratum]
        quota = floor(fraction * seen - done + offset) - start
        for i in single[stratum][: max(0, quota)]:
            side[i] = IDENTIFY


def _hash(seed: int, sample_id: str) -> bytes:
    return hashlib.blake2b(f"split\x1f{seed}\x1f{sample_id}".encode(), digest_size=16).digest()


def _offset(seed: int) -> float:
    """Where rounding starts, from 0 to 1, so that odd samples do not always fall to one side."""
    return int.from_bytes(_hash(seed, "")[:4], "big") / 2**32
