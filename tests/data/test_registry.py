from __future__ import annotations

import pytest

from culture_neurons.data import registry, source
from culture_neurons.errors import ConfigError


def test_an_unknown_type_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"source.type: unknown 'cvqua' \(did you mean 'cvqa'\?\); known: synthetic"):
        registry.read({"type": "cvqua"})
    with pytest.raises(ConfigError, match=r"source\.type: unknown None"):
        registry.read({})


def test_the_synthetic_source_has_the_columns() -> None:
    table = registry.read({"type": "synthetic", "cultures": 2, "categories": 1, "samples_per_culture": 4})
    assert set(source.REQUIRED) <= set(table.rows.columns)
    assert len(table.rows) == 8


def test_unknown_keys() -> None:
    source.check_keys({"a": 1}, ("a", "bc"), "here")
    with pytest.raises(ConfigError, match=r"here: unknown key 'bd' \(did you mean 'bc'\?\); known: a, bc"):
        source.check_keys({"bd": 1}, ("a", "bc"), "here")
