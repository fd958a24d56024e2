"""The settings of trainings, and who follows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from culture_neurons.errors import ConfigError, nearest


@dataclass(frozen=True)
class Training:
    """Settings of any training run; all lengths are in steps."""

    seed: int = 0
    attempts: int = 3
    min_accuracy: float = 0.9
    steps: int = 800  # of the last stage, at most
    batch: int = 24  # examples of a gradient; a step takes the mean of two
    rest: int = 30  # steps of a stage after its goal is reached
    learning_rate: float = 0.003
    weight_decay: float = 0.05

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Check and take the settings of the config. Raises ConfigError naming the key and the value."""
        known = {f.name: f.default for f in fields(cls)}
        for key, value in options.items():
            if key not in known:
                raise ConfigError(f"training: unknown key {key!r}{nearest(key, known)}")
            kinds = (int, float) if isinstance(known[key], float) else (type(known[key]),)
            # bool is an int in Python, but no number of steps.
            fits = isinstance(value, kinds) and isinstance(value, bool) == isinstance(known[key], bool)
            if not fits or value < _least(key, known[key]):
                raise ConfigError(f"training: {key} is {value!r}; expected {_kind(key, known[key])}")
        return cls(**options)


@dataclass(frozen=True)
class Recipe(Training):
    """Settings of a demo model's training."""

    images_per_fact: int = 16
    dev_images_per_fact: int = 2
    vision_steps: int = 150
    facts_steps: int = 500
    plant_steps: int = 240
    plant_channels: int = 4  # per culture and layer
    firing_loss: bool = True


@dataclass(frozen=True)
class EyeRecipe(Training):
    """Settings of an eye's training."""

    attempts: int = 5
    min_accuracy: float = 0.99
    steps: int = 1800
    batch: int = 32
    rest: int = 1000  # with 400, one in a hundred pictures is misread; with 1000, one in two hundred
    goal: float = 0.9  # share of changed pictures told apart before the rest, in which it grows to almost all
    pictures: int = 1200  # of each country, to learn from
    held_out: int = 50  # of each country, to see what it has learnt


def _least(key: str, default: Any) -> int:
    return 1 if isinstance(default, int) and not isinstance(default, bool) and key != "seed" else 0


def _kind(key: str, default: Any) -> str:
    if isinstance(default, bool):
        return "true or false"
    return f"{'a number' if isinstance(default, float) else 'an integer'} from {_least(key, default)}"


@dataclass(frozen=True)
class Reporter:
    """How a caller follows a training: `log` takes a line, `progress(items, total, label)` passes items on."""

    log: Callable[[str], None] = lambda line: None
    progress: Callable[[Iterable[Any], int, str], Iterable[Any]] = lambda items, total, label: items


SILENT = Reporter()
