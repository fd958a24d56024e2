from __future__ import annotations

from typing import Any

import pytest

from culture_neurons.data.benchmarks import common


@pytest.mark.parametrize(("value", "name"), [
    ("south_korea", "South Korea"), ("South_Korea", "South Korea"),
    ("bosnia_and_herzegovina", "Bosnia and Herzegovina"),
    ("timor-leste", "Timor-Leste"), ("UK", "UK"), ("NA", "NA"),
    (" Côte d'Ivoire ", "Côte d'Ivoire"), (None, ""), ([], ""),
])  # fmt: skip
def test_names_of_countries(value: Any, name: str) -> None:
    assert common.country(value) == name
