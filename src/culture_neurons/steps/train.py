"""Train a demo model on the synthetic world, or plant culture neurons in one (the positive control)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from culture_neurons import files
from culture_neurons.data import prompts
from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """A synthetic source's settings -> a Hugging Face folder with training.json; with --plant, planted.csv too."""
    import transformers

    from culture_neurons.data import synthetic
    from culture_neurons.models import planting, training

    transformers.utils.logging.disable_progress_bar()
    if o.plant != bool(o.planted_out):
        raise ConfigError("--plant and --planted-out go together: a planted model comes with the list of its neurons")
    if o.source.get("type", "synthetic") != "synthetic":
        raise ConfigError(f"demo models are trained on a synthetic source only; found type {o.source['type']!r}")
    world = synthetic.world(o.source)
    recipe = training.Recipe.of(o.options)
    prompt = {
        "instruction": o.prompt.get("instruction", prompts.INSTRUCTION),
        "prompt_seed": o.prompt.get("seed", 1),
        "reporter": training.Reporter(cli.log.info, cli.progress),
    }
    if o.init:
        model, processor, summary = start(o.init, o.architecture)
    else:
        model, processor, summary = training.train(o.architecture, world, recipe, **prompt)
    if o.plant:
        planted, effects = planting.plant(model, processor, world, recipe, **prompt)
        summary |= effects
    with files.atomic(o.out) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        files.write_text(folder / "training.json", json.dumps(summary, indent=2, sort_keys=True) + "\n")
    if o.plant:
        files.write_csv(o.planted_out, planted)


def start(folder: Path, architecture: str) -> tuple:
    """A model that an earlier run trained, its processor, and its training.json.

    Raises ModelError when the folder is none of those, or holds another architecture.
    """
    from transformers import AutoModelForImageTextToText

    from culture_neurons.models.processors import load_processor

    try:
        summary = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        model, processor = AutoModelForImageTextToText.from_pretrained(folder), load_processor(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: no model that this step trained ({files.first_line(error)})") from None
    if summary.get("architecture") != architecture:
        raise ModelError(f"{folder}: a model of {summary.get('architecture')!r}; expected {architecture!r}")
    return model, processor, summary


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    p = cli.parser(__doc__)
    p.add_argument("--source", type=cli.json_object, required=True, help="JSON: settings of the synthetic source")
    p.add_argument("--prompt", type=cli.json_object, default={}, help="JSON: instruction and seed")
    p.add_argument("--architecture", required=True, help="qwen2.5-vl, llava-next-mistral or llava-next-qwen2")
    p.add_argument("--options", type=cli.json_object, default={}, help="JSON: seed, steps, min_accuracy ...")
    p.add_argument("--init", type=Path, help="start from this trained model instead of training one")
    p.add_argument("--plant", action="store_true", help="plant culture neurons: a positive control")
    p.add_argument("--out", type=Path, required=True, help="folder of the model")
    p.add_argument("--planted-out", type=Path, help="planted.csv: culture, site, layer, neuron")
    return p


if __name__ == "__main__":
    cli.run(main, arguments())
