"""Selectors: from statistics to a score per (culture, layer, neuron); higher = more sensitive.

To add one, write a pure function in a file of its own, `score(statistics, *, option=default) ->
float64 [culture, layer, neuron]`, and list it in `SELECTORS`. Scores that are not positive are never chosen.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from culture_neurons.errors import ConfigError, nearest
from culture_neurons.selectors.cas import cas
from culture_neurons.selectors.lap import lap
from culture_neurons.selectors.lape import choose_original, lape, lape_original
from culture_neurons.selectors.mad import mad
from culture_neurons.selectors.matched import choose_matched, matched
from culture_neurons.selectors.uniform import uniform
from culture_neurons.types import Statistics


@dataclass(frozen=True)
class Selector:
    """One method.

    score            function of the statistics and keyword options
    choose           None for the top of each culture by score; else a function of (scores float32
                     [culture, layer, neuron], budget, probability=, reference=) that returns flat
                     indices per culture, best first
    needs_reference  whether `choose` needs the statistics and another selector's mask (option `match`)
    control          whether the masks are a random control
    """

    score: Callable[..., np.ndarray]
    choose: Callable[..., list[np.ndarray]] | None = None
    needs_reference: bool = False
    control: bool = False


SELECTORS: dict[str, Selector] = {
    "lap": Selector(lap),
    "lape": Selector(lape),
    "lape-original": Selector(lape_original, choose=choose_original),
    "mad": Selector(mad),
    "cas": Selector(cas),
    "random": Selector(uniform, control=True),
    "random-matched": Selector(matched, choose=choose_matched, needs_reference=True, control=True),
}

#: Other names of the same method.
ALIASES = {"conact": "cas"}


def resolve(name: str) -> Selector:
    """The selector of that name or alias. Raises ConfigError, with the nearest known name."""
    key = ALIASES.get(name, name)
    if key not in SELECTORS:
        known = [*SELECTORS, *ALIASES]
        raise ConfigError(f"unknown selector {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    return SELECTORS[key]


def options(name: str) -> dict[str, Any]:
    """The options of a selector and their defaults. Raises ConfigError for an unknown selector."""
    parameters = inspect.signature(resolve(name).score).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check(name: str, given: dict[str, Any]) -> None:
    """Raise ConfigError for an unknown selector or an option that it does not have."""
    known = options(name)
    for key in given:
        if key not in known:
            raise ConfigError(
                f"selector {name}: unknown option {key!r}{nearest(key, known)}; known: {', '.join(known) or 'none'}"
            )


def score(name: str, statistics: Statistics, **given: Any) -> np.ndarray:
    """Score every neuron for every culture, float64 [culture, layer, neuron] in the order of the statistics.

    name         of a method in `SELECTORS` or `ALIASES`
    statistics   the sums K, S and T per culture
    given        options of the method; see its function

    Cultures are summed in the order of their names, so reordering them reorders the scores, bit for bit.
    Raises ConfigError for an unknown selector or option, or a value out of range.
    """
    check(name, given)
    order = sorted(range(len(statistics.cultures)), key=lambda i: statistics.cultures[i])
    if order == list(range(len(order))):
        return resolve(name).score(statistics, **given)
    by_name = Statistics(
        [statistics.cultures[i] for i in order],
        statistics.tokens[order],
        statistics.fired[order],
        statistics.positive_sum[order],
    )
    return resolve(name).score(by_name, **given)[np.argsort(order)]
