"""Train a few modules of a model on a task: the richest in chosen neurons, the poorest, or random ones."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import cli, model_arguments

#: Keys of --training.
SETTINGS = ("method", "lora", "steps", "batch_size", "learning_rate", "held_out", "limit")


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet of the task, a mask -> update.safetensors, what changed alone; and training.json, how it went"""
    from culture_neurons import files
    from culture_neurons.data.samples import read_samples
    from culture_neurons.models.finetuning import updates
    from culture_neurons.models.finetuning.training import Schedule, train
    from culture_neurons.selectors import module_choice

    wrong = set(o.training) ^ set(SETTINGS)
    if wrong or o.training["method"] not in module_choice.METHODS:
        raise ConfigError(f"--training: expected {', '.join(SETTINGS)}, found {json.dumps(o.training)}")
    table, metadata = files.read_table(o.mask, ["site", "layer", "neuron"])
    if not isinstance(metadata.get("neurons"), dict):
        raise FileError(f"{o.mask}: no mask at projections; expected one of a selector by attribution")
    rich = module_choice.richness(table, metadata["layers"], metadata["neurons"])
    chosen = module_choice.choose(rich, o.modules, [o.choice], [o.seed])
    modules = list(zip(chosen["site"], chosen["layer"].astype(int).tolist(), strict=True))
    samples, opener = read_samples(o.samples)
    train_on, judge_by = module_choice.split_held_out(
        [s.sample_id for s in samples], o.training["held_out"], o.training["limit"]
    )
    held_out = [samples[i] for i in judge_by]
    loaded, prompt = model_arguments.load(o)
    model_arguments.check_revision(o.mask, metadata, loaded)
    schedule = Schedule(**{k: o.training[k] for k in ("steps", "batch_size", "learning_rate")}, seed=o.seed)
    lora = updates.Lora(**o.training["lora"]) if o.training["method"] == "lora" else None
    cli.log.info("%s of %s, seed %d: %s", o.choice, o.mask.stem, o.seed, ", ".join(f"{s} {i}" for s, i in modules))

    def evaluate(stage: str) -> dict[str, float]:
        answers = model_arguments.answers(o, loaded, held_out, opener, prompt, f"the task {stage}")
        return _measure_task(answers, held_out, stage)

    def watch(steps: Any) -> Any:
        return cli.progress(steps, schedule.steps, f"{loaded.name}: training")

    with updates.attach(loaded, modules, lora, o.seed) as parts:
        before = evaluate("before")
        losses = train(loaded, parts, [samples[i] for i in train_on], opener, prompt, schedule, watch)
        after = evaluate("after")
        size = sum(part.values.numel() for part in {part.name: part for part in parts}.values())
        made_by = cli.provenance("finetune", o, after=metadata, **model_arguments.made_with(loaded))
        made_by |= {"modules": modules, "mask": {k: metadata.get(k) for k in ("selector", "top_fraction")}}
        updates.write(o.update_out, parts, made_by)
    made_by |= {
        "modules": chosen.drop(columns=["choice", "seed"]).to_dict("records"), "parameters": size, "loss": losses,
        "questions": len(train_on), "held_out": {"n": len(held_out), **before, **after},
    }  # fmt: skip
    files.write_text(o.training_out, json.dumps(made_by, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    cli.log.info(
        "%s: %d parameters of %d modules, %d questions; accuracy on %d others %.1f %% before, %.1f %% after",
        loaded.name, size, len(modules), len(train_on), len(held_out),
        100 * before["accuracy_before"], 100 * after["accuracy_after"],
    )  # fmt: skip


def _measure_task(answers: Any, samples: list, stage: str) -> dict[str, float]:
    """Accuracy, and the mean loss in nats (at most 100 per question, so that it is a number)."""
    import numpy as np

    label = {sample.sample_id: sample.label for sample in samples}
    right = [-row.logprobs[label[row.sample_id]] for row in answers.itertuples()]
    loss = float(np.minimum(np.asarray(right, dtype=np.float64), 100).mean())
    return {f"accuracy_{stage}": float(answers["correct"].mean()), f"loss_{stage}": loss}


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    parser.add_argument("--mask", type=Path, required=True, help="mask file that says how rich a module is")
    parser.add_argument("--modules", type=int, required=True, help="how many modules are updated")
    parser.add_argument("--choice", required=True, choices=("richest", "poorest", "random"), help="which ones")
    parser.add_argument("--seed", type=int, required=True, help="of the order of the questions, and all that is drawn")
    parser.add_argument("--training", type=cli.json_object, required=True, help=f"JSON: {', '.join(SETTINGS)}")
    parser.add_argument("--update-out", type=Path, required=True, help="safetensors: the updated parameters alone")
    parser.add_argument("--training-out", type=Path, required=True, help="JSON: modules, loss, accuracy on the task")
    parser.set_defaults(shard=0, shards=1)
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
