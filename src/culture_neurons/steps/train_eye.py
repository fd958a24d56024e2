"""Put a pretrained language model behind an eye, and train the eye to read flags."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """the folder of a language model -> a Hugging Face folder of LLaVA's architecture, with training.json"""
    import shutil

    from culture_neurons import files
    from culture_neurons.data.flags.designs import FLAGS
    from culture_neurons.models.demo import architectures, eye_training, recipe

    options = dict(o.options)
    countries = options.pop("countries", None) or list(FLAGS)
    trained = eye_training.train(
        o.decoder, countries, recipe.EyeRecipe.of(options), recipe.Reporter(cli.log.info, cli.progress)
    )
    with files.atomic(o.out) as folder:
        architectures.save(folder, *trained)
        # Where the decoder came from is true of the whole.
        if (o.decoder / "gguf.json").is_file():
            shutil.copyfile(o.decoder / "gguf.json", folder / "gguf.json")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--decoder", type=Path, required=True, help="folder of the language model")
    parser.add_argument(
        "--options", type=cli.json_object, default={}, help="JSON: countries, seed, steps, pictures ..."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
