"""Selectors: from statistics to a score per (culture, layer, neuron); higher = more sensitive.

To add one, write a pure function in a file of its own, `score(statistics, *, option=default) ->
float64 [culture, layer, neuron]`, and list it in `registry.py`. Scores that are not positive are never chosen.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from culture_neurons.errors import ConfigError, nearest
from culture_neurons.selectors.registry import ALIASES, SELECTORS, Selector
from culture_neurons.types import Statistics


def resolve(name: str) -> Selector:
    """The selector of that name or alias. Raises ConfigError, with the nearest known name."""
    key = ALIASES.get(name, name)
    if key not in SELECTORS:
        known = [*SELECTORS, *ALIASES]
        raise ConfigError(f"unknown selector {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    return SELECTORS[key]


def methods_by_name(chosen: Mapping[str, Mapping[str, Any] | None]) -> dict[str, str]:
    """The method of each selector of a config, name -> options: their `method`, or else the name itself."""
    return {name: (options or {}).get("method", name) for name, options in chosen.items()}


def options_by_name(chosen: Mapping[str, Mapping[str, Any] | None]) -> dict[str, dict[str, Any]]:
    """The options that the method of each selector of a config is called with: without `method` and `choose_on`."""
    ours = ("method", "choose_on")
    return {name: {k: v for k, v in (given or {}).items() if k not in ours} for name, given in chosen.items()}


def matched_selector(options: Mapping[str, Any]) -> str:
    """The selector whose masks are matched by a random control (`random-matched`) of these options."""
    return options.get("match", "cas")


def load_function(reference: str) -> Callable[..., Any]:
    """The function at "file:function" of this folder; a selector's file is imported when it is needed."""
    file, _, name = reference.partition(":")
    return getattr(import_module(f"{__name__}.{file}"), name)


def modules(name: str) -> list[str]:
    """The modules that hold a selector's functions: what its results depend on beside the steps."""
    entry = resolve(name)
    return sorted({f"{__name__}.{place.partition(':')[0]}" for place in (entry.score, entry.choose) if place})


def options(name: str) -> dict[str, Any]:
    """The options of a selector and their defaults. Raises ConfigError for an unknown selector."""
    parameters = inspect.signature(load_function(resolve(name).score)).parameters.values()
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
    Of a model with routed experts, methods are given the neurons that tokens of every culture reach: the scores of
    others are -inf, and NaN where a layer has no such neuron.
    Raises ConfigError for an unknown selector or option, or a value out of range.
    """
    check(name, given)
    if statistics.column is not None and not (reached := statistics.reached()).all():
        return _of_reached(name, statistics, reached, given)
    method = load_function(resolve(name).score)
    order = sorted(range(len(statistics.cultures)), key=lambda i: statistics.cultures[i])
    if order == list(range(len(order))):
        return method(statistics, **given)
    return method(statistics.reordered(order), **given)[np.argsort(order)]


def _of_reached(name: str, statistics: Statistics, reached: np.ndarray, given: Mapping[str, Any]) -> np.ndarray:
    result = np.full(statistics.fired.shape, -np.inf, np.result_type(statistics.positive_sum, np.float32))
    result[:, statistics.column < 0] = np.nan
    if reached.any():
        flat = np.flatnonzero(reached)
        result.reshape(len(result), -1)[:, flat] = score(name, statistics.subset(flat), **given)[:, 0]
    return result
