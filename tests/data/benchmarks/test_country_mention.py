from __future__ import annotations

from typing import Any

import pytest

from culture_neurons.data import filtering, labels, registry
from culture_neurons.data.benchmarks import country_mention
from culture_neurons.errors import ConfigError

COUNTRIES = ["Peru", "Iran", "Côte d'Ivoire", "South Korea", "Spain"]
SPEC = {"type": "country-mention", "countries": COUNTRIES}


def test_the_country_is_named_and_among_four() -> None:
    rows = registry.read(SPEC).rows
    assert rows["culture"].value_counts().to_dict() == dict.fromkeys(COUNTRIES, 12)
    assert rows["sample_id"].is_unique
    for row in rows.to_dict("records"):
        assert row["options"][row["label"]] == row["culture"]
        assert len(set(row["options"])) == 4
        assert set(row["options"]) <= set(COUNTRIES)
        assert [name for name in COUNTRIES if name in row["question"]] == [row["culture"]]
    assert rows.groupby("culture")["passage"].nunique().eq(12).all()
    # A constant predictor gets the share of its place.
    places = [labels.parse_index(label)[0] for label in rows["label"]]
    assert all(5 < places.count(place) < 26 for place in range(4))
    assert len(filtering.apply(rows, filtering.Settings()).kept) == 60


def test_seed_and_order() -> None:
    rows = registry.read(SPEC).rows
    assert rows.equals(registry.read(SPEC | {"countries": COUNTRIES[::-1]}).rows)
    other = registry.read(SPEC | {"seed": 2}).rows
    assert not rows["options"].equals(other["options"])
    assert len(country_mention.PASSAGES) >= 12
    assert len(set(country_mention.PASSAGES)) == len(country_mention.PASSAGES)


def test_passages_of_ones_own() -> None:
    rows = registry.read(SPEC | {"passages": ["From {country}.", "To {country}."], "per_country": 2}).rows
    assert {text for text in rows["question"] if "From Peru." in text or "To Peru." in text}
    assert len(rows) == 10
    control = registry.read(SPEC | {"control": True}).rows
    assert not any(name in text for name in COUNTRIES for text in control["question"])


@pytest.mark.parametrize(("change", "message"), [
    ({"countries": None}, r"source\.countries: expected a list of names, found None"),
    ({"countries": COUNTRIES[:3]}, r"expected at least four different names, found Peru, Iran, C"),
    ({"countries": [*COUNTRIES, "Peru "]}, r"expected at least four different names"),
    ({"countries": ["a", "b", "c", ""]}, r"expected a list of names"),
    ({"per_country": 17}, r"source\.per_country: 17; expected at most 16, the number of passages"),
    ({"per_country": 0}, r"expected a whole number from 1"),
    ({"passages": ["{land}"]}, r"source\.passages: text 1: unknown field {land}; known: {country}"),
    ({"path": "x"}, r"source: unknown key 'path'"),
])  # fmt: skip
def test_wrong_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.read(SPEC | change)
