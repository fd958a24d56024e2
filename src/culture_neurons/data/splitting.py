"""The split into disjoint halves: `identify` (where neurons are found) and `evaluate` (where they are tested).

Four ways, stanza `split` of the config:

    {by: share, identify: 0.5, seed: 1}                 # the default: a share, drawn by a seeded hash
    {by: category, identify: [Food, Sport], evaluate: [Family]}    # fixed: these categories, those categories
    {by: source}                                        # as the source deals them: its column `half`
    {by: whole, half: evaluate}                         # all of it: for data sets that are not the run's own

By category, rows of any other category are left out (`filtering`). What follows is about shares.

Questions about one image stay together, whatever their cultures and categories, or a neuron could be
tested on a picture that found it; so do variants of one question to one culture (`units`). Which
questions go where is decided by a seeded hash of their ids: neither the order of the rows nor the
machine matters.

How well it is stratified: let a stratum be the samples of one culture and category, n of them. Where nothing
is shared, `identify` gets less than one sample more or less than fraction · n of every stratum,
and of every culture, and of the whole. Shared images are placed first, each on the side where the shares
of its strata and cultures end nearest to the fraction; the questions with an image of their own then
fill up every stratum as far as they can.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.data.source import check_keys
from culture_neurons.data.text import clean
from culture_neurons.errors import ConfigError, DataError
from culture_neurons.question_groups import units

SIDES = IDENTIFY, EVALUATE = "identify", "evaluate"
SHARE, CATEGORY, SOURCE, WHOLE = "share", "category", "source", "whole"
#: The column in which a source says which side a row belongs to.
HALF = "half"


@dataclass(frozen=True)
class Split:
    """The stanza `split` of the config.

    identify      share of the samples that choose neurons, above 0 and below 1 (by share)
    seed          any whole number (by share)
    categories    category -> side, or None (by share)
    half          the side of every sample, or None; such a data set may be of one culture
    by_source     whether the source's column `half` says the side
    """

    identify: float = 0.5
    seed: int = 1
    categories: Mapping[str, str] | None = None
    half: str | None = None
    by_source: bool = False


def settings(stanza: Mapping[str, Any]) -> Split:
    """Check the stanza `split` of the config. Raises ConfigError naming the key and what was expected."""
    if stanza.get("by") == WHOLE:
        return _no_split(stanza)
    check_keys(stanza, ("by", *SIDES, "seed"), "split")
    if stanza.get("by", SHARE) not in (SHARE, CATEGORY, SOURCE):
        raise ConfigError(f"split.by: {stanza['by']!r}; expected {SHARE}, {CATEGORY} or {SOURCE}")
    if not isinstance(stanza.get("seed", 1), int):
        raise ConfigError(f"split.seed: expected a whole number, found {stanza['seed']!r}")
    if stanza.get("by", SHARE) == CATEGORY:
        return Split(seed=stanza.get("seed", 1), categories=_sides(stanza))
    if stanza.get("by") == SOURCE:
        return Split(by_source=True)
    if stanza.get(EVALUATE) is not None:
        raise ConfigError("split.evaluate: a share leaves the rest to evaluate; remove it, or set split.by: category")
    check_fraction(stanza.get(IDENTIFY, 0.5))
    return Split(stanza.get(IDENTIFY, 0.5), stanza.get("seed", 1))


def _no_split(stanza: Mapping[str, Any]) -> Split:
    check_keys(stanza, ("by", "half"), "split")
    if stanza.get("half", EVALUATE) not in SIDES:
        raise ConfigError(f"split.half: {stanza['half']!r}; expected {' or '.join(SIDES)}")
    return Split(half=stanza.get("half", EVALUATE))


def _sides(stanza: Mapping[str, Any]) -> dict[str, str]:
    """The side of every category that is listed."""
    sides: dict[str, str] = {}
    for side in SIDES:
        names = stanza.get(side)
        if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) and clean(n) for n in names):
            raise ConfigError(f"split.{side}: expected a list of categories (by: category), found {names!r}")
        for name in map(clean, names):
            if name in sides:
                raise ConfigError(f"split.{side}: {name!r} is listed twice; a category has one half")
            sides[name] = side
    return sides


def check_fraction(fraction: float) -> None:
    """Raise ConfigError unless the share of `identify` lies above 0 and below 1."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise ConfigError(f"split.identify: {fraction!r}; expected a number above 0 and below 1")


def assign(rows: pd.DataFrame, how: Split) -> np.ndarray:
    """Assign every row to a side, in one of the ways.

    rows    columns sample_id (unique), culture, category, image_id; by category, only rows of its categories

    Returns an object array of "identify" and "evaluate". Raises ConfigError when the source does not say the sides,
    DataError when two halves by category share an image.
    """
    if how.by_source:
        if HALF not in rows or not rows[HALF].isin(SIDES).all():
            raise ConfigError(f"split.by: {SOURCE}; this source deals no halves: expected {SHARE} or {CATEGORY}")
        return rows[HALF].to_numpy(dtype=object)
    if how.half is not None:
        return np.full(len(rows), how.half, dtype=object)
    if how.categories is None:
        return split(rows, how.identify, how.seed)
    side = np.array([how.categories[name] for name in rows["category"]], dtype=object)
    shown = rows.assign(side=side)[rows["image_id"] != ""].groupby("image_id")["side"].nunique()
    if (shown > 1).any():
        raise DataError(
            f"split: {(shown > 1).sum()} images are shown by questions of both halves\n"
            "  neurons would be tested on pictures that found them; choose other categories, or split by share"
        )
    return side


def split(rows: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """Assign every row to a side by share.

    rows        columns sample_id (unique), culture, category, image_id ("" = the question has no image), and
                question_id, where the source has variants of a question
    fraction    share of `identify`, above 0 and below 1
    seed        any whole number

    Returns an object array of "identify" and "evaluate", one per row. Raises ConfigError for a fraction
    that is out of range.
    """
    check_fraction(fraction)
    strata = list(zip(rows["culture"], rows["category"], strict=True))
    groups: dict[str, list[int]] = defaultdict(list)
    for i, unit in enumerate(units(rows)):
        groups[unit].append(i)
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
