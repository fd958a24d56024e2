"""Make the table of image controls: how much of each model's accuracy needs the image."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import ConfigError
from culture_neurons.steps import answers, cli
from culture_neurons.steps.history import History


def main(o: argparse.Namespace) -> None:
    """samples, predictions, answers under image controls -> tables/images.csv; only the heading without controls"""
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import image_controls

    predictions = layout.by("predictions", o.predictions, "model")
    controls = layout.by("image_control", o.controls, "model", "control")
    models, planted = {model for model, _ in controls}, set(filter(None, o.planted))
    if models - {model for (model,) in predictions}:
        raise ConfigError(f"--controls: no --predictions of {', '.join(sorted(models - {m for (m,) in predictions}))}")
    history = History()
    samples = answers.read_samples(o.samples, history)
    tables = []
    for model in cli.progress(sorted(models), len(models), "models"):
        paths = {control: path for (name, control), path in controls.items() if name == model}
        tables.append(_model(o, samples, predictions[model,], paths, history))
        tables[-1].insert(0, "model", model)
        tables[-1]["planted"] = "yes" if model in planted else "no"
    columns = ["model", *image_controls.COLUMNS, "planted"]
    all_rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    files.write_csv(o.out_dir / "images.csv", image_controls.adjust(all_rows) if tables else all_rows)
    history.write(
        o.out_dir, cli.provenance("tabulate_image_controls", argparse.Namespace(replicates=o.replicates, seed=o.seed))
    )
    cli.log.info("images.csv: %d rows", len(all_rows))


def _model(o, samples, prediction_file: Path, paths: dict[str, Path], history: History):
    """The rows of one model, without the columns `model` and `planted`."""
    from culture_neurons.analysis import image_controls

    base, identity, _ = answers.read_baseline(samples, prediction_file, history)
    controls = {}
    for control, path in paths.items():
        controls[control], metadata = answers.read_outcomes(path, identity, prediction_file, history)
        image_controls.check_complete(controls[control], metadata, base, str(path))
    sources = {control: str(path) for control, path in paths.items()} | {image_controls.SHOWN: str(prediction_file)}
    return image_controls.compare(base, controls, sorted(samples["culture"].unique()), sources, o.replicates, o.seed)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="predictions.parquet of each model")
    parser.add_argument("--controls", type=Path, nargs="*", default=[], help="answers under image controls")
    parser.add_argument("--planted", nargs="*", default=[], help="names of models with planted neurons")
    parser.add_argument("--replicates", type=int, default=2000, help="bootstrap replicates")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
