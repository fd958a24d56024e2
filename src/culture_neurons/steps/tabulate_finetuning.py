"""Make the tables of fine-tuning: what training on another task does to each data set, and which modules it updated."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError
from culture_neurons.steps import answers, cli
from culture_neurons.steps.history import History

#: What a row says of the task that was trained on, before and after.
TASK = ["task_n", "task_accuracy_before", "task_accuracy_after", "task_loss_before", "task_loss_after"]
MODULES = ["model", "task", "choice", "seed", "site", "layer", "chosen", "units", "richness", "parameters", "planted"]


def main(o: argparse.Namespace) -> None:
    """samples, predictions, answers of fine-tuned models, training.json -> finetuning.csv, finetuning_modules.csv"""
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import finetuning

    samples = {name: path for (name,), path in layout.by("samples", o.samples, "set").items()}
    predictions = layout.by("predictions", o.predictions, "model", "set")
    answer_files = layout.by("finetuned_answers", o.answers, "model", "task", "choice", "seed", "set")
    training = layout.by("finetuning", o.training, "model", "task", "choice", "seed")
    for key in answer_files:
        model, *_, name = key
        if key[:-1] not in training or (model, name) not in predictions or name not in samples:
            raise ConfigError(f"--answers: {'/'.join(key)}: no --training, --predictions or --samples of it")
    planted, history = set(filter(None, o.planted)), History()
    records = {key: files.read_json(path) for key, path in training.items()}
    for record in records.values():
        history.add(record)
    groups: dict[tuple[str, str, str], dict[tuple[str, str], Path]] = {}
    for (model, task, choice, seed, name), path in answer_files.items():
        groups.setdefault((model, task, name), {})[choice, seed] = path
    tables = []
    for (model, task, name), paths in cli.progress(groups.items(), len(groups), "sets"):
        table = _compared(o, samples[name], predictions[model, name], paths, history)
        about = _about({run: records[(model, task, *run)] for run in paths})
        table = table.merge(about, on=["choice", "seed"], how="left")
        for at, (column, value) in enumerate({"model": model, "task": task, "set": name}.items()):
            table.insert(at, column, value)
        tables.append(table.assign(planted="yes" if model in planted else "no"))
    columns = ["model", "task", "set", "method", *finetuning.COLUMNS, *TASK, "planted"]
    all_rows = pd.concat(tables, ignore_index=True)
    files.write_csv(o.out_dir / "finetuning.csv", finetuning.adjust(all_rows)[columns])
    modules = pd.DataFrame(
        [
            {**dict(zip(MODULES, key, strict=False)), **module, "parameters": record["parameters"]}
            | {"planted": "yes" if key[0] in planted else "no"}
            for key, record in sorted(records.items())
            for module in record["modules"]
        ],
        columns=MODULES,
    )
    files.write_csv(o.out_dir / "finetuning_modules.csv", modules)
    settings = argparse.Namespace(replicates=o.replicates, seed=o.seed)
    history.write(o.out_dir, cli.provenance("tabulate_finetuning", settings))
    cli.log.info("finetuning.csv: %d rows; finetuning_modules.csv: %d rows", len(all_rows), len(modules))


def _compared(o: argparse.Namespace, sample_file: Path, prediction_file: Path, paths: Any, history: History) -> Any:
    """`analysis.finetuning.compare` of one model, task and set, from its files."""
    from culture_neurons.analysis import finetuning

    base, identity, _ = answers.read_baseline(answers.read_samples(sample_file, history), prediction_file, history)
    after = {run: answers.read_outcomes(path, identity, prediction_file, history)[0] for run, path in paths.items()}
    sources = {run: str(path) for run, path in paths.items()}
    return finetuning.compare(base, after, sources, str(prediction_file), o.replicates, o.seed)


def _about(records: dict[tuple[str, str], dict[str, Any]]) -> Any:
    """What was trained, by choice and seed: method and the task's accuracy; rows of all seeds have the mean."""
    import pandas as pd

    from culture_neurons.analysis import finetuning

    rows = []
    for (choice, seed), record in records.items():
        numbers = {f"task_{key}": value for key, value in record["held_out"].items()}
        rows.append({"choice": choice, "seed": seed, "method": record["settings"]["training"]["method"], **numbers})
    each = pd.DataFrame(rows)
    every = each.groupby(["choice", "method"], as_index=False, sort=False)[TASK].mean().assign(seed=finetuning.ALL)
    return pd.concat([each, every], ignore_index=True).astype({"task_n": int})


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="samples.parquet of each set")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="answers before")
    parser.add_argument("--answers", type=Path, nargs="+", required=True, help="answers of the fine-tuned models")
    parser.add_argument("--training", type=Path, nargs="+", required=True, help="training.json of each of them")
    parser.add_argument("--planted", nargs="*", default=[], help="names of models with planted neurons")
    parser.add_argument("--replicates", type=int, default=2000, help="bootstrap replicates, and sign flips")
    parser.add_argument("--seed", type=int, default=0, help="seed of the two")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
