"""Make the tables of what changes answers beside masks: what images show, and training on another task."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError
from culture_neurons.steps import answers, cli
from culture_neurons.steps.history import History

#: What a row says of the task that was trained on, before and after.
TASK = ["task_n", "task_accuracy_before", "task_accuracy_after", "task_loss_before", "task_loss_after"]
MODULES = ["model", "task", "choice", "seed", "site", "layer", "chosen", "units", "richness", "parameters", "planted"]


def main(o: argparse.Namespace) -> None:
    """samples, predictions, answers under image controls -> images.csv; only the heading without any controls
    samples, predictions, answers of fine-tuned models, training.json -> finetuning.csv, finetuning_modules.csv
    """
    history, planted = History(), set(filter(None, o.planted))
    if o.controls is not None:
        _images(o, planted, history)
    if o.finetuned:
        _finetuning(o, planted, history)
    settings = argparse.Namespace(replicates=o.replicates, seed=o.seed)
    history.write(o.out_dir, cli.provenance("tabulate_changed_answers", settings))


def _images(o: argparse.Namespace, planted: set[str], history: History) -> None:
    """images.csv: how much of each model's accuracy needs the image.

    Rows go by model, then by data set in the order of --samples.
    """
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import image_controls

    sample_files = layout.by("samples", o.samples, "of", "set")
    predictions = layout.by("predictions", o.predictions, "model", "of")
    controls = layout.by("image_control", o.controls, "model", "of", "control")
    models_and_sets = {key[:2] for key in controls}
    _check_complete(models_and_sets, {of for of, _ in sample_files}, predictions)
    parts: dict[tuple[str, int], pd.DataFrame] = {}
    for place, ((of, name), path) in enumerate(sample_files.items()):
        models = sorted(model for model, folder in models_and_sets if folder == of)
        samples = answers.read_samples(path, history, "option_cultures") if models else None
        for model in cli.progress(models, len(models), f"{name}: models"):
            mine = {key[2]: path for key, path in controls.items() if key[:2] == (model, of)}
            table = _controlled(o, samples, predictions[model, of], mine, history)
            mark = "yes" if model in planted else "no"
            parts[model, place] = table.assign(model=model, set=name, planted=mark)
    columns = ["model", *image_controls.COLUMNS, "planted", "set", *image_controls.SWAPPED_COLUMNS]
    all_rows = pd.DataFrame(columns=columns)
    if parts:
        all_rows = image_controls.adjust(pd.concat([parts[key] for key in sorted(parts)], ignore_index=True))[columns]
    files.write_csv(o.out_dir / "images.csv", all_rows)
    cli.log.info("images.csv: %d rows", len(all_rows))


def _check_complete(
    models_and_sets: set[tuple[str, str]], samples: set[str], predictions: Mapping[tuple[str, str], Path]
) -> None:
    """Raise ConfigError unless there are samples and predictions of all that was asked under controls."""
    for option, missing in (
        ("--samples", {of.rstrip("/") or "the run itself" for _, of in models_and_sets if of not in samples}),
        ("--predictions", {f"{model}/{of}".rstrip("/") for model, of in models_and_sets - predictions.keys()}),
    ):
        if missing:
            raise ConfigError(f"--controls: no {option} of {', '.join(sorted(missing))}")


def _controlled(
    o: argparse.Namespace, samples: Any, prediction_file: Path, paths: Mapping[str, Path], history: History
) -> Any:
    """The rows of one model and data set, without the columns `model`, `set` and `planted`."""
    from culture_neurons.analysis import image_controls
    from culture_neurons.analysis.image_controls import SHOWN, SWAPPED

    base, identity, _ = answers.read_baseline(samples, prediction_file, history)
    controls, left_out = {}, []
    for control, path in paths.items():
        more = ["shown_culture"] if control == SWAPPED else []
        controls[control], metadata = answers.read_outcomes(path, identity, prediction_file, history, *more)
        image_controls.check_complete(controls[control], metadata, base, str(path))
        left_out += metadata.get("without_other_image", [])
    sources = {control: str(path) for control, path in paths.items()} | {SHOWN: str(prediction_file)}
    owners = dict(zip(samples["sample_id"], samples.get("option_cultures", [()] * len(samples)), strict=True))
    known = {name: list(cultures) for name, cultures in owners.items() if cultures is not None}
    cultures = sorted(samples["culture"].unique())
    return image_controls.compare(base, controls, cultures, sources, o.replicates, o.seed, left_out, known)


def _finetuning(o: argparse.Namespace, planted: set[str], history: History) -> None:
    """finetuning.csv and finetuning_modules.csv: what training does to each data set, and which modules it updated."""
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import finetuning

    samples = {name: path for (name,), path in layout.by("samples", o.samples, "set").items()}
    predictions = layout.by("predictions", o.predictions, "model", "set")
    answer_files = layout.by("finetuned_answers", o.finetuned, "model", "task", "choice", "seed", "set")
    training = layout.by("finetuning", o.training, "model", "task", "choice", "seed")
    for key in answer_files:
        model, *_, name = key
        if key[:-1] not in training or (model, name) not in predictions or name not in samples:
            raise ConfigError(f"--finetuned: {'/'.join(key)}: no --training, --predictions or --samples of it")
    records = {key: files.read_json(path) for key, path in training.items()}
    for record in records.values():
        history.add(record)
    groups: dict[tuple[str, str, str], dict[tuple[str, str], Path]] = {}
    for (model, task, choice, seed, name), path in answer_files.items():
        groups.setdefault((model, task, name), {})[choice, seed] = path
    tables = []
    for (model, task, name), paths in cli.progress(groups.items(), len(groups), "sets"):
        table = _tuned(o, samples[name], predictions[model, name], paths, history)
        about = _trained({run: records[(model, task, *run)] for run in paths})
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
    cli.log.info("finetuning.csv: %d rows; finetuning_modules.csv: %d rows", len(all_rows), len(modules))


def _tuned(o: argparse.Namespace, sample_file: Path, prediction_file: Path, paths: Any, history: History) -> Any:
    """`analysis.finetuning.compare` of one model, task and set, from its files."""
    from culture_neurons.analysis import finetuning

    base, identity, _ = answers.read_baseline(answers.read_samples(sample_file, history), prediction_file, history)
    after = {run: answers.read_outcomes(path, identity, prediction_file, history)[0] for run, path in paths.items()}
    sources = {run: str(path) for run, path in paths.items()}
    return finetuning.compare(base, after, sources, str(prediction_file), o.replicates, o.seed)


def _trained(records: dict[tuple[str, str], dict[str, Any]]) -> Any:
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
    parser.add_argument("--samples", type=Path, nargs="*", default=[], help="samples.parquet of each set, in order")
    parser.add_argument(
        "--predictions", type=Path, nargs="*", default=[], help="predictions.parquet of models and sets"
    )
    parser.add_argument("--controls", type=Path, nargs="*", help="answers under image controls")
    parser.add_argument("--finetuned", type=Path, nargs="*", default=[], help="answers of the fine-tuned models")
    parser.add_argument("--training", type=Path, nargs="*", default=[], help="training.json of each of them")
    parser.add_argument("--planted", nargs="*", default=[], help="names of models with planted neurons")
    parser.add_argument("--replicates", type=int, default=2000, help="bootstrap replicates, and sign flips")
    parser.add_argument("--seed", type=int, default=0, help="seed of the two")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
