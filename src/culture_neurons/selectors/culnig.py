"""Culture-general and culture-specific neurons from attributions, by the rules of CULNIG.

Yamamoto et al. 2026, arXiv 2510.08284. With S_{u,c} the sum of s_u over the questions of culture c, N the number of
questions of all cultures, and S', N' the same of the control (the options without the question):

    G_{u,c} = S_{u,c} / N - S'_{u,c} / N',    G_u = sum over c of G_{u,c}.

Units that a layer does not have (NaN, see `types.Attributions`) are neither chosen nor counted.

Questions that merely mention a country tell which units fire for its name: M_{u,c}, the mean over the set of all
countries, ranks units that are left out again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons import seeds
from culture_neurons.errors import ConfigError, FileError, nearest
from culture_neurons.selectors import selection, shares
from culture_neurons.types import Attributions, Widths, short_widths, widths_of_layers

#: Units that compete with each other: those of the MLP, and those of the attention.
MLP, ATTENTION = ("gate_proj",), ("q_proj", "k_proj", "v_proj")
#: Options and their published values.
GENERAL = {"mlp_fraction": 0.01, "attention_fraction": 0.002, "mention_fraction": 0.01}
SPECIFIC = {"fraction": 0.003, "mention_fraction": 0.01, "z": 0.5}
#: Those that follow the top fraction of a run where they are not given: published for 0.01, and in proportion.
FOLLOW = ("mlp_fraction", "attention_fraction", "fraction")
#: s_u are made in float32. Values that differ by less than this share of the largest are equal but for rounding.
_NOISE = 1e-6


def options(method: str, given: Mapping[str, float], top_fraction: float) -> dict[str, float]:
    """All options of `culnig-general` or `culnig-specific` at a top fraction r.

    Fractions of units that are not given are their published values times r / 0.01.
    """
    known = GENERAL if method == "culnig-general" else SPECIFIC
    scaled = {k: shares.scaled(value, top_fraction, 0.01) if k in FOLLOW else value for k, value in known.items()}
    return {**scaled, **given}


def check(method: str, given: Mapping[str, Any]) -> None:
    """Raise ConfigError for an unknown option, or a value out of range."""
    known = GENERAL if method == "culnig-general" else SPECIFIC
    for key, value in given.items():
        if key not in known:
            raise ConfigError(
                f"selector {method}: unknown option {key!r}{nearest(key, known)}; known: {', '.join(known)}"
            )
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (key != "z" and not 0 <= value <= 1):
            expected = "a number" if key == "z" else "a number in [0, 1]"
            raise ConfigError(f"selector {method}: {key} must be {expected}, found {value!r}")


def gains(attributions: Attributions, control: Attributions) -> dict[str, np.ndarray]:
    """G by site, float64 [culture, layer, unit]. Raises FileError when the two do not fit, or have no question."""
    _check_fit(attributions, control, "the control")
    n, m = int(attributions.samples.sum()), int(control.samples.sum())
    if not n or not m:
        raise FileError(f"attributions of {n} questions and {m} controls; expected some of both")
    return {site: values / n - control.sums[site] / m for site, values in attributions.sums.items()}


def general(
    gain: Mapping[str, np.ndarray],
    mention: Attributions | None,
    *,
    mlp_fraction: float = GENERAL["mlp_fraction"],
    attention_fraction: float = GENERAL["attention_fraction"],
    mention_fraction: float = GENERAL["mention_fraction"],
) -> pd.DataFrame:
    """Culture-general neurons: columns site, layer, neuron, score (float32), rank; best first within each pool.

    gain      G by site, see `gains`
    mention   attributions of questions that merely mention a country, None: no unit is left out for them

    Of the MLP's pool the floor(mlp_fraction * size) units of highest G_u, of the attention's pool
    floor(attention_fraction * size); then the top floor(mention_fraction * size) of the same pool by the sum of M over
    countries are left out. Only positive G_u count; ties go by site, layer and index.
    """
    parts = []
    for sites, fraction in ((MLP, mlp_fraction), (ATTENTION, attention_fraction)):
        pool = Pool(gain, sites)
        chosen = pool.top(pool.flat(gain).sum(axis=0), fraction)
        mention_units = pool.top(_mean(pool, mention).sum(axis=0), mention_fraction) if mention is not None else []
        parts.append(pool.table(chosen[~np.isin(chosen, mention_units)], pool.flat(gain).sum(axis=0)))
    return pd.concat(parts, ignore_index=True)


def specific(
    gain: Mapping[str, np.ndarray],
    cultures: Sequence[str],
    mention: Attributions | None,
    *,
    fraction: float = SPECIFIC["fraction"],
    mention_fraction: float = SPECIFIC["mention_fraction"],
    z: float = SPECIFIC["z"],
) -> pd.DataFrame:
    """Culture-specific neurons: columns culture, site, layer, neuron, score (float32), rank; by culture, best first.

    gain, mention   as for `general`; `cultures` names the first axis of G

    MLP and attention are one pool. Per culture the floor(fraction * size) units of highest G_{u,c}, without that
    culture's top floor(mention_fraction * size) by M_{u,c}; of these those stay whose G_{u,c} lies at least `z`
    standard deviations (over all cultures, c included; divisor n) above the mean over cultures. A unit whose values are
    the same for all cultures, but for rounding (`_NOISE`), is specific to none. Of two cultures each lies one standard
    deviation from their mean, so that a z up to 1 asks only for the larger value.
    Raises FileError for a culture that no question of `mention` is about, ConfigError with fewer than two cultures or
    so few that no unit can lie `z` standard deviations above the mean: at most sqrt(n - 1) are possible.
    """
    reachable = math.sqrt(max(0, len(cultures) - 1))
    if len(cultures) < 2:
        raise ConfigError(f"selector culnig-specific compares cultures and needs at least two, found {list(cultures)}")
    if z > reachable:
        raise ConfigError(
            f"selector culnig-specific: z is {z}, but of {len(cultures)} cultures none can lie more than"
            f" {reachable:.3g} standard deviations above their mean"
        )
    pool = Pool(gain, [*MLP, *ATTENTION])
    values = pool.flat(gain)
    mean, spread = values.mean(axis=0), values.std(axis=0)
    mention_means = {}
    if mention is not None:
        means = zip(mention.cultures, mention.samples, _mean(pool, mention), strict=True)
        mention_means = {name: mean for name, n, mean in means if n}
    parts = []
    for at, name in sorted(enumerate(cultures), key=lambda pair: pair[1]):
        if mention is not None and name not in mention_means:
            raise FileError(
                f"no question mentions {name!r} (data: mentions); it has {', '.join(mention_means) or 'none'}"
            )
        chosen = pool.top(values[at], fraction)
        if mention is not None:
            chosen = chosen[~np.isin(chosen, pool.top(mention_means[name], mention_fraction))]
        above, culture_values = values[at, chosen] - mean[chosen], values[:, chosen]
        differs = np.ptp(culture_values, axis=0) > _NOISE * np.abs(culture_values).max(axis=0)
        chosen = chosen[(above >= z * spread[chosen]) & differs]
        table = pool.table(chosen, values[at])
        table.insert(0, "culture", name)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def random_control(
    reference: pd.DataFrame, cultures: Sequence[str], layers: int, widths: Mapping[str, Widths], seed: int
) -> pd.DataFrame:
    """A random control: per culture as many units of each site and layer as `reference` has, other ones than these.

    reference    a mask table; `cultures` are all that it was made for
    widths       units of a layer, by site; a list where layers have different numbers of them

    Cultures with the same units (those of `general`) get the same control. Units of the reference are taken only where
    a layer has too few others. score is a uniform number in (0, 1]; columns, and order, as those of any mask.
    """
    key = ["site", "layer", "neuron"]
    controls: dict[frozenset, pd.DataFrame] = {}
    parts = []
    for culture in sorted(cultures):
        of_culture = reference.loc[reference["culture"] == culture, key]
        units = frozenset(of_culture.itertuples(index=False, name=None))
        if units not in controls:
            random = seeds.generator("random-matched", seed, culture)
            controls[units] = _draw_control(of_culture, layers, widths, random)
        parts.append(controls[units].assign(culture=culture))
    return pd.concat(parts, ignore_index=True)[list(selection.COLUMNS)].astype(selection.COLUMNS)


def _draw_control(
    of_culture: pd.DataFrame, layers: int, widths: Mapping[str, Widths], random: np.random.Generator
) -> pd.DataFrame:
    """One control, best first; every site and layer is drawn from, so that one does not decide another's numbers."""
    parts = []
    for site, of_site in sorted(widths.items()):
        units = widths_of_layers(of_site, layers)
        numbers = 1 - random.random((layers, max(units, default=0)))
        for layer, taken in of_culture[of_culture["site"] == site].groupby("layer")["neuron"]:
            own = np.isin(np.arange(units[layer]), taken)
            chosen = np.lexsort((-numbers[layer, : units[layer]], own))[: len(taken)]
            parts.append(
                pd.DataFrame({"site": site, "layer": layer, "neuron": chosen, "score": numbers[layer, chosen]})
            )
    empty = pd.DataFrame({"site": [], "layer": [], "neuron": [], "score": []})
    table = pd.concat(parts or [empty]).sort_values(
        ["score", "site", "layer", "neuron"], ascending=[False, True, True, True], ignore_index=True
    )
    return table.assign(rank=np.arange(1, len(table) + 1))


class Pool:
    """Units of several sites in one row: site by site, then by layer and index."""

    def __init__(self, by_site: Mapping[str, np.ndarray], sites: Sequence[str]) -> None:
        missing = [site for site in sites if site not in by_site]
        if missing:
            raise ConfigError(f"no attributions of {missing[0]}; attributed: {', '.join(by_site)}")
        self.sites = list(sites)
        self._shapes = [by_site[site].shape[1:] for site in sites]
        self._ends = np.cumsum([layers * units for layers, units in self._shapes])

    def flat(self, by_site: Mapping[str, np.ndarray]) -> np.ndarray:
        """[culture, unit of the pool]."""
        return np.concatenate([by_site[site].reshape(len(by_site[site]), -1) for site in self.sites], axis=1)

    def top(self, values: np.ndarray, fraction: float) -> np.ndarray:
        """The floor(fraction * size) units of highest positive value, best first. Absent units (NaN) have no size."""
        size = shares.floored(fraction, int(np.count_nonzero(~np.isnan(values))))
        return selection.top_indices(values, size) if size else np.zeros(0, np.int64)

    def table(self, chosen: np.ndarray, values: np.ndarray) -> pd.DataFrame:
        """Rows of a mask, in the order of `chosen`; rank counts from 1."""
        number = np.searchsorted(self._ends, chosen, side="right")
        start = np.concatenate([[0], self._ends])[number]
        width = np.array([units for _, units in self._shapes])[number]
        layer, neuron = np.divmod(chosen - start, width)
        return pd.DataFrame({
            "site": np.array(self.sites, dtype=object)[number], "layer": layer.astype(np.int64),
            "neuron": neuron.astype(np.int64), "score": values[chosen].astype(np.float32),
            "rank": np.arange(1, len(chosen) + 1),
        })  # fmt: skip


def _mean(pool: Pool, mention: Attributions) -> np.ndarray:
    """M [country, unit]: sums over the questions of a country, over the number of all questions."""
    return pool.flat(mention.sums) / max(1, int(mention.samples.sum()))


def _check_fit(one: Attributions, other: Attributions, name: str) -> None:
    shapes = [{site: (*v.shape[1:], short_widths(a.widths(site))) for site, v in a.sums.items()} for a in (one, other)]
    if shapes[0] != shapes[1] or one.cultures != other.cultures:
        raise FileError(
            f"attributions of {one.cultures} at {shapes[0]}, but {name} has {other.cultures} at {shapes[1]}; "
            "they are of different runs"
        )
