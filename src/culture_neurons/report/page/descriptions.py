"""What data sets and models are, for a reader who doesn't know them: a line each, from the config alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from culture_neurons.report.figures.tables import Tables, selector_name
from culture_neurons.report.figures.titles import listed, named
from culture_neurons.report.words import plain


def lines(tables: Tables, run: Mapping[str, Any], chosen_on: Mapping[str, str]) -> list[dict[str, str]]:
    """name, kind, text and role of each data set and model that there is something to say of, as in the config's order.

    `text` is its `description` in the config, "" where it has none; `role` is what a data set does in this run, said
    only where there are several. `chosen_on`: selector -> data set, where that is not the run's own.
    """
    config = run.get("config") or {}
    data, sets = config.get("data") or {}, (config.get("evaluation") or {}).get("sets") or {}
    own, choosing = str(run.get("dataset", "")), data.get("choose") or {}
    by_set: dict[str, list[str]] = {}
    for selector, name in chosen_on.items():
        by_set.setdefault(name, []).append(selector_name(selector))
    result = [_line(own, "questions", data, "one half chooses neurons, the other judges" if sets or choosing else "")]
    of_sets = tables.more.get("sets")  # its order is that of the config, which JSON with sorted keys does not keep
    in_order = [] if of_sets is None else [name for name in dict.fromkeys(of_sets["set"]) if name in sets]
    for name in dict.fromkeys([*in_order, *sets, *choosing]):
        here = listed(by_set.get(plain(name), []))
        chooses = f"chooses neurons{f' for {here}' if here else ''}" if name in choosing else ""
        role = "judges" if name in sets else chooses
        if name in sets and chooses:
            role = f"judges; a data set of the same name {chooses}"
        stanza = {**(choosing.get(name) or {}), **(sets.get(name) or {})}
        result.append(_line(name, "questions", stanza, role))
    models: Sequence[str] = tables.models
    result += [_line(named(tables, name), "model", (run.get("models") or {}).get(name) or {}, "") for name in models]
    return [line for line in result if line["text"] or line["role"]]


def _line(name: str, kind: str, stanza: Mapping[str, Any], role: str) -> dict[str, str]:
    return {"name": plain(name), "kind": kind, "text": plain(stanza.get("description") or ""), "role": role}
