"""Make the table of image controls: how much of each model's accuracy needs the image."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError
from culture_neurons.steps import answers, cli
from culture_neurons.steps.history import History


def main(o: argparse.Namespace) -> None:
    """samples, predictions, answers under image controls -> tables/images.csv; only the heading without controls

    Rows go by model, then by data set in the order of --samples.
    """
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import image_controls

    sample_files = layout.by("samples", o.samples, "of", "set")
    predictions = layout.by("predictions", o.predictions, "model", "of")
    controls = layout.by("image_control", o.controls, "model", "of", "control")
    asked, planted = {key[:2] for key in controls}, set(filter(None, o.planted))
    _check_complete(asked, {of for of, _ in sample_files}, predictions)
    history = History()
    parts: dict[tuple[str, int], pd.DataFrame] = {}
    for place, ((of, name), path) in enumerate(sample_files.items()):
        models = sorted(model for model, folder in asked if folder == of)
        samples = answers.read_samples(path, history, "option_cultures") if models else None
        for model in cli.progress(models, len(models), f"{name}: models"):
            mine = {key[2]: path for key, path in controls.items() if key[:2] == (model, of)}
            table = _set(o, samples, predictions[model, of], mine, history)
            mark = "yes" if model in planted else "no"
            parts[model, place] = table.assign(model=model, set=name, planted=mark)
    columns = ["model", *image_controls.COLUMNS, "planted", "set", *image_controls.SWAPPED_COLUMNS]
    all_rows = pd.DataFrame(columns=columns)
    if parts:
        all_rows = image_controls.adjust(pd.concat([parts[key] for key in sorted(parts)], ignore_index=True))[columns]
    files.write_csv(o.out_dir / "images.csv", all_rows)
    history.write(
        o.out_dir, cli.provenance("tabulate_image_controls", argparse.Namespace(replicates=o.replicates, seed=o.seed))
    )
    cli.log.info("images.csv: %d rows", len(all_rows))


def _check_complete(
    asked: set[tuple[str, str]], samples: set[str], predictions: Mapping[tuple[str, str], Path]
) -> None:
    """Raise ConfigError unless there are samples and predictions of all that was asked under controls."""
    for option, missing in (
        ("--samples", {of.rstrip("/") or "the run itself" for _, of in asked if of not in samples}),
        ("--predictions", {f"{model}/{of}".rstrip("/") for model, of in asked - predictions.keys()}),
    ):
        if missing:
            raise ConfigError(f"--controls: no {option} of {', '.join(sorted(missing))}")


def _set(
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


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--samples", type=Path, nargs="*", default=[], help="samples.parquet of each set, in order")
    parser.add_argument(
        "--predictions", type=Path, nargs="*", default=[], help="predictions.parquet of models and sets"
    )
    parser.add_argument("--controls", type=Path, nargs="*", default=[], help="answers under image controls")
    parser.add_argument("--planted", nargs="*", default=[], help="names of models with planted neurons")
    parser.add_argument("--replicates", type=int, default=2000, help="bootstrap replicates")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
