"""Ask a model the evaluate questions of several data sets again, with the update of a fine-tuning in force."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import cli, model_arguments


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """update.safetensors, samples.parquet of each set -> the answers to each set, as in predictions.parquet"""
    from culture_neurons import files, layout
    from culture_neurons.data.samples import read_samples
    from culture_neurons.models.finetuning import updates

    sets = layout.by("samples", o.samples, "set")
    if len(o.answers_out) != len(sets):
        raise ConfigError(f"{len(sets)} sets and {len(o.answers_out)} outputs; expected as many")
    tensors, metadata = updates.read(o.update)
    read = {name: read_samples(path, split="evaluate") for (name,), path in sets.items()}
    loaded, prompt = model_arguments.load(o)
    model_arguments.check_revision(o.update, metadata, loaded)
    if metadata.get("dtype") != loaded.dtype:
        raise FileError(f"{o.update}: made in {metadata.get('dtype')}, but the model is in {loaded.dtype}; delete it")
    training = metadata["settings"]["training"]
    lora = updates.Lora(**training["lora"]) if training["method"] == "lora" else None
    modules = [(site, layer) for site, layer in metadata["modules"]]
    with updates.attach(loaded, modules, lora) as parts:
        updates.apply(parts, tensors, str(o.update))
        for (name, (samples, opener)), out in zip(read.items(), o.answers_out, strict=True):
            table = model_arguments.answers(o, loaded, samples, opener, prompt, name)
            settings = argparse.Namespace(prompt=o.prompt, model=o.model)
            made_by = cli.provenance("infer_finetuned", settings, [], metadata, **model_arguments.made_with(loaded))
            made_by |= {"set": name, "rows": len(samples), "digest": metadata["digest"]}
            files.write_table(out, table, made_by)
            right = 100 * table["correct"].mean() if len(table) else float("nan")
            cli.log.info("%s: %s, %d answers, %.1f %% right", loaded.name, name, len(table), right)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser, samples=False)
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="samples.parquet of each set")
    parser.add_argument("--update", type=Path, required=True, help="safetensors that finetune wrote")
    parser.add_argument("--answers-out", type=Path, nargs="+", required=True, help="a parquet file per set")
    parser.set_defaults(shard=0, shards=1)
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
