"""Settings of a training: unknown and unfit ones are refused by name."""

from __future__ import annotations

import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.models.demo.recipe import Recipe


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"step": 3}, "unknown key 'step'.*did you mean 'steps'"),
        ({"steps": 2.5}, "steps is 2.5; expected an integer from 1"),
        ({"steps": True}, "steps is True"),
        ({"vision_steps": 0}, "vision_steps is 0; expected an integer from 1"),
        ({"seed": -1}, "seed is -1; expected an integer from 0"),
        ({"min_accuracy": "high"}, "min_accuracy is 'high'; expected a number from 0"),
        ({"firing_loss": 1}, "firing_loss is 1; expected true or false"),
    ],
)
def test_settings_are_checked(options, expected):
    with pytest.raises(ConfigError, match=expected):
        Recipe.of(options)


def test_settings_are_taken():
    assert Recipe.of({"steps": 7, "learning_rate": 1, "firing_loss": False}) == Recipe(
        steps=7, learning_rate=1, firing_loss=False
    )
