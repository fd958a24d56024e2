from __future__ import annotations

import pytest

from culture_neurons import errors


@pytest.mark.parametrize(
    ("name", "hint"),
    [("lapee", " (did you mean 'lape'?)"), ("Cas", " (did you mean 'cas'?)"), ("xyz", ""), ("", ""), (None, "")],
)
def test_nearest_known_name(name: object, hint: str) -> None:
    assert errors.nearest(name, ["lap", "lape", "cas"]) == hint  # type: ignore[arg-type]


def test_every_error_has_the_one_base_and_says_what_it_is() -> None:
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(found) >= 5
    for error in found:
        assert issubclass(error, errors.CultureNeuronsError)
        assert error.__doc__
