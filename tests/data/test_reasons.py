from __future__ import annotations

from culture_neurons.data import reasons


def test_all_reasons_are_listed_once() -> None:
    named = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]
    assert sorted(named) == sorted(reasons.ALL)
    assert len(set(reasons.ALL)) == len(reasons.ALL)
