"""Train a demo model on the synthetic world."""

from __future__ import annotations

import argparse

from culture_neurons.steps import cli, training_arguments


def main(o: argparse.Namespace) -> None:
    """A synthetic source's settings -> a Hugging Face folder with training.json"""
    from culture_neurons import files
    from culture_neurons.models.demo import architectures, training

    world, recipe, prompt = training_arguments.world_recipe_prompt(o)
    model, processor, summary = training.train(o.architecture, world, recipe, **prompt)
    with files.atomic(o.out) as folder:
        architectures.save(folder, model, processor, summary)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    training_arguments.add(parser)
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
