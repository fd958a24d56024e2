"""The settings of a demo model's training, and who follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from culture_neurons.errors import ConfigError, nearest


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; all lengths are in steps."""

    seed: int = 0
    attempts: int = 3
    min_accuracy: float = 0.9
    images_per_fact: int = 16
    dev_images_per_fact: int = 2
    vision_steps: int = 150
    facts_steps: int = 500
    steps: int = 800  # of the last stage, at most
    batch: int = 24  # questions of a gradient; a step takes the mean of two
    rest: int = 30  # steps of a stage after its goal is reached
    learning_rate: float = 0.003
    weight_decay: float = 0.05
    plant_steps: int = 240
    plant_channels: int = 4  # per culture and layer
    firing_loss: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Recipe:
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
