"""Checking the data sets that choose neurons (data: choose), and the selectors that choose on them (choose_on)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from culture_neurons import selectors
from culture_neurons.errors import ConfigError, nearest
from culture_neurons.types import CULNIG, IMPORTED


def check(config: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first thing that is wrong. The selectors themselves must have been checked."""
    chosen, known = config["selectors"], list(config["data"].get("choose") or ())
    if config["dataset"] in known:
        raise ConfigError(f"data: choose: {config['dataset']} is the name of this run's own data set (dataset)")
    on = {name: options["choose_on"] for name, options in chosen.items() if "choose_on" in (options or {})}
    methods = selectors.methods_by_name(chosen)
    for name, data_set in on.items():
        _check_selector(name, data_set, methods[name], known)
        if not selectors.resolve(methods[name]).needs_reference:
            continue
        reference = selectors.matched_selector(chosen[name])
        if data_set != on.get(reference):
            other = repr(on[reference]) if reference in on else "the run's own questions"
            raise ConfigError(
                f"selectors: {name}: choose_on: {data_set!r}, but {reference}, which it matches, chooses on {other}; "
                "expected the same, or no key choose_on: a control chooses on what its selector does"
            )
    for data_set in known:
        if data_set not in on.values():
            raise ConfigError(
                f"data: choose: {data_set}: no selector chooses on it; expected one with choose_on: {data_set}, or no "
                "such data set"
            )


def _check_selector(name: str, data_set: str, method: str, known: list[str]) -> None:
    """Raise ConfigError for a selector that reads no statistics, and for a data set that the config does not have."""
    if method == IMPORTED or method in CULNIG:
        raise ConfigError(
            f"selectors: {name}: choose_on: {data_set!r}: {method} reads no statistics; expected no key "
            "choose_on, which is for selectors that choose from statistics"
        )
    if data_set not in known:
        raise ConfigError(
            f"selectors: {name}: choose_on: {data_set!r} is no data set of data: choose{nearest(data_set, known)}; "
            f"known: {', '.join(known) or 'none'}"
        )
