from __future__ import annotations

import numpy as np
import pytest

from culture_neurons.analysis import p_values
from culture_neurons.analysis.design_limits import LEAST_RELABELLED, least_groups, notes
from culture_neurons.analysis.significance import LEVEL


@pytest.mark.parametrize("controls", [1, 2, 3, 5, 8])
def test_the_least_groups_are_those_of_the_tests(controls):
    least = least_groups(controls)
    for groups, enough in ((least - 1, False), (least, True)):
        if groups:
            _, smallest = p_values.exchange_test(np.zeros(groups), np.ones((controls, groups)))
            assert (smallest < LEVEL) is enough
    assert p_values.relabel_test(np.eye(LEAST_RELABELLED - 1))[1] >= LEVEL
    assert p_values.relabel_test(np.eye(LEAST_RELABELLED))[1] < LEVEL


def test_what_a_run_cannot_say_is_named_with_its_numbers():
    assert notes({"cas": 2, "mad": 2}, 6) == []
    (few,) = notes({"cas": 2, "mad": 2}, 3)
    assert "cas, mad" in few
    assert "2 random controls" in few
    assert "at least 4 groups, and there are 3" in few
    (unspecific,) = notes({"cas": 2}, 4)
    assert "at least 5 groups, and there are 4" in unspecific
    (none,) = notes({"lape": 0}, 30)
    assert "no random masks" in none
