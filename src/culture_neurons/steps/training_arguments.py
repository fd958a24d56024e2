"""What the steps that make a demo model share: arguments, world, recipe and prompt."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError, nearest
from culture_neurons.steps import cli


def world_recipe_prompt(o: argparse.Namespace) -> tuple[Any, Any, dict[str, Any]]:
    """The world, the recipe and the prompt of a training. Raises ConfigError for a source or an architecture that is
    not known."""
    from culture_neurons.data import prompts
    from culture_neurons.data.readers import synthetic
    from culture_neurons.models.demo import recipe
    from culture_neurons.types import DEMO_ARCHITECTURES, TRAINED_ON

    kind = o.source.get("type", TRAINED_ON)
    if kind != TRAINED_ON:
        raise ConfigError(f"demo models are trained on a source of type {TRAINED_ON} only; found type {kind!r}")
    if o.architecture not in DEMO_ARCHITECTURES:
        hint = nearest(o.architecture, DEMO_ARCHITECTURES)
        raise ConfigError(f"architecture {o.architecture!r}{hint}; expected one of {', '.join(DEMO_ARCHITECTURES)}")
    world = synthetic.world(o.source)
    prompt = {
        "instruction": o.prompt.get("instruction", prompts.INSTRUCTION),
        "prompt_seed": o.prompt.get("seed", 1),
        "reporter": recipe.Reporter(cli.log.info, cli.progress),
    }
    return world, recipe.Recipe.of(o.options), prompt


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of a training."""
    parser.add_argument("--source", type=cli.json_object, required=True, help="JSON: settings of the synthetic source")
    parser.add_argument("--prompt", type=cli.json_object, default={}, help="JSON: instruction and seed")
    parser.add_argument("--architecture", required=True, help="qwen2.5-vl, llava-next-mistral ...")
    parser.add_argument("--options", type=cli.json_object, default={}, help="JSON: seed, steps, min_accuracy ...")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
