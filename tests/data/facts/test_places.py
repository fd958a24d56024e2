from __future__ import annotations

import numpy as np
import pytest

from culture_neurons.data import reasons
from culture_neurons.data.facts import places
from tests.data.facts.conftest import find


def entry(name: int, latitude: float, people: int, spellings: int = 20, country: str = "JP") -> dict:
    return {
        "geonameid": name, "latitude": latitude, "longitude": 0.0, "population": people, "countrycode": country,
        "alternatenames": ["x"] * spellings,
    }  # fmt: skip


def test_distances_are_those_of_the_globe():
    tokyo, osaka = (35.6895, 139.6917), (34.6937, 135.5022)
    between = places._distances(np.radians([tokyo, osaka]))
    assert between[0, 1] == pytest.approx(396, abs=3)
    assert np.diag(between) == pytest.approx(0)


def test_a_district_is_near_a_larger_and_better_known_city():
    city, district, far = entry(1, 35.0, 900), entry(2, 35.1, 500), entry(3, 36.0, 400)
    assert places._parts([city, district, far]) == {2}
    # A district with the population of all its surroundings takes nothing from the city.
    assert places._parts([entry(1, 35.0, 900, spellings=12), entry(2, 35.1, 500, spellings=40)]) == set()
    abroad = [entry(1, 35.0, 900, country="CN"), entry(2, 35.1, 500)]
    assert places._parts(abroad) == set()


@pytest.mark.parametrize(
    ("country", "name", "reason"),
    [
        ("JP", "Tokyo", ""),
        ("JP", "Nagoya", ""),
        ("JP", "Setagaya", reasons.PART_OF_PLACE),
        ("FI", "Pori", reasons.LITTLE_KNOWN),
        ("NG", "Oyo", reasons.LITTLE_KNOWN),
    ],
)
def test_which_cities_are_certain(country, name, reason):
    assert find("city", country, name).reason == reason


@pytest.mark.parametrize(
    ("country", "name", "reason"),
    [
        ("JP", "Kanagawa", ""),
        ("HU", "Zala", ""),
        ("ID", "Jawa", ""),
        ("ID", "Jawa Barat", reasons.MINOR_REGION),
        ("AZ", "Ordubad", reasons.MINOR_REGION),
        ("IN", "Lakshadweep", reasons.MINOR_REGION),
        ("CN", "Hong Kong SAR", reasons.MINOR_REGION),
    ],
)
def test_which_regions_are_certain(country, name, reason):
    assert find("region", country, name).reason == reason


def test_the_common_word_for_a_region_is_left_out():
    assert find("region", "CN", "Hunan").text == "Hunan", "ISO has Hunan Sheng"
    assert places._common_word(["Hunan Sheng", "Hebei Sheng", "Shanghai Shi"]) == " Sheng"
    assert places._common_word(["Chon Buri", "Lop Buri", "Nan", "Trat", "Loei"]) == "", "Buri belongs to the name"
    assert places._bare("Catalunya [Cataluña]") == "Catalunya"


def test_both_spellings():
    lodz = find("city", "PL", "Lodz")
    assert (lodz.text, lodz.native) == ("Lodz", "Łódź")
    assert find("city", "JP", "Tokyo").native == ""
