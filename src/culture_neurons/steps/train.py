"""Train a demo model on the synthetic world, in images or in words, or plant culture neurons in one (the positive
control)."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import ConfigError, nearest
from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """A synthetic source's settings -> a Hugging Face folder with training.json; with --plant, planted.csv too."""
    from culture_neurons import files
    from culture_neurons.data import prompts
    from culture_neurons.data.readers import synthetic, synthetic_text
    from culture_neurons.models.demo import architectures, planting, text_training, training
    from culture_neurons.types import TRAINED_ON

    if o.plant != bool(o.planted_out):
        raise ConfigError("--plant and --planted-out go together: a planted model comes with the list of its neurons")
    kind = o.source.get("type", "synthetic")
    if kind not in TRAINED_ON:
        raise ConfigError(f"demo models are trained on a synthetic source only; found type {kind!r}")
    if o.architecture not in TRAINED_ON[kind]:
        raise ConfigError(
            f"architecture {o.architecture!r}{nearest(o.architecture, TRAINED_ON[kind])}; expected, for a source of "
            f"type {kind}, one of {', '.join(TRAINED_ON[kind])}"
        )
    in_words = kind == "synthetic-text"
    if in_words and (o.plant or o.init):
        raise ConfigError("neurons are planted in models that see images only; expected neither --plant nor --init")
    world = (synthetic_text if in_words else synthetic).world(o.source)
    recipe = training.Recipe.of(o.options)
    prompt = {
        "instruction": o.prompt.get("instruction", prompts.INSTRUCTION),
        "prompt_seed": o.prompt.get("seed", 1),
        "reporter": training.Reporter(cli.log.info, cli.progress),
    }
    if o.init:
        model, processor, summary = architectures.load(o.init, o.architecture)
    else:
        train = text_training.train if in_words else training.train
        model, processor, summary = train(o.architecture, world, recipe, **prompt)
    if o.plant:
        planted, effects = planting.plant(model, processor, world, recipe, **prompt)
        summary |= effects
    with files.atomic(o.out) as folder:
        architectures.save(folder, model, processor, summary)
    if o.plant:
        files.write_csv(o.planted_out, planted)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    p = cli.parser(__doc__)
    p.add_argument("--source", type=cli.json_object, required=True, help="JSON: settings of the synthetic source")
    p.add_argument("--prompt", type=cli.json_object, default={}, help="JSON: instruction and seed")
    p.add_argument("--architecture", required=True, help="qwen2.5-vl ...; qwen3 or llama for a source in words")
    p.add_argument("--options", type=cli.json_object, default={}, help="JSON: seed, steps, min_accuracy ...")
    p.add_argument("--init", type=Path, help="start from this trained model instead of training one")
    p.add_argument("--plant", action="store_true", help="plant culture neurons: a positive control")
    p.add_argument("--out", type=Path, required=True, help="folder of the model")
    p.add_argument("--planted-out", type=Path, help="planted.csv: culture, site, layer, neuron, logprob_drop")
    return p


if __name__ == "__main__":
    cli.run(main, arguments())
