"""Plant culture neurons in a demo model: the positive control, whose answer is known."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli, training_arguments


def main(o: argparse.Namespace) -> None:
    """A synthetic source's settings -> a Hugging Face folder with training.json, and planted.csv"""
    from culture_neurons import files
    from culture_neurons.models.demo import architectures, planting, training

    world, recipe, prompt = training_arguments.world_recipe_prompt(o)
    if o.init:
        model, processor, summary = architectures.load(o.init, o.architecture)
    else:
        model, processor, summary = training.train(o.architecture, world, recipe, **prompt)
    planted, effects = planting.plant(model, processor, world, recipe, **prompt)
    with files.atomic(o.out) as folder:
        architectures.save(folder, model, processor, summary | effects)
    files.write_csv(o.planted_out, planted)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    training_arguments.add(parser)
    parser.add_argument("--init", type=Path, nargs="?", help="start from this trained model instead of training one")
    parser.add_argument(
        "--planted-out", type=Path, required=True, help="planted.csv: culture, site, layer, neuron, logprob_drop"
    )
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
