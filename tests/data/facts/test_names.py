from __future__ import annotations

from culture_neurons.data.facts import names
from tests.data.facts.conftest import find


def test_locales_that_have_names_of_their_own():
    locales = names.locales()
    assert locales["ja_JP"] == "JP"
    assert locales["fr_QC"] == "CA"
    assert locales["en"] == locales["ar_AA"] == "", "no country's own"
    assert not names._lists("fr_QC", "first"), "inherited from fr_CA"


def test_romanised_names_are_paired_with_native_ones():
    tanaka = find("family name", "JP", "Tanaka")
    assert (tanaka.text, tanaka.native) == ("Tanaka", "田中")
    assert tanaka.weight > find("family name", "JP", "Abe").weight > 0
    assert find("given name", "JP", "Hanako").native == "花子"


def test_names_in_one_spelling():
    assert find("given name", "PL", "Radosław").text == "Radoslaw"
    assert find("family name", "RU", "Иванов").text == ""
    assert find("given name", "MX", "Alta Gracia"), "spaces are single"


def test_names_without_a_country_belong_to_a_list():
    own = [item for item in names.given_names() if item.country == "en"]
    assert len(own) > 5000
