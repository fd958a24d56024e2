"""Make the tables of what masks do on several data sets."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import answers, cli
from culture_neurons.steps.history import History

#: How the accuracy without masks compares with guessing (`analysis.chance.compare_with_chance`).
LEVEL = ["level", "baseline_accuracy_low", "baseline_accuracy_high"]
#: What names a row of each table; the columns of `culture_neurons.analysis.transfer` follow, and `planted`.
KEYS = ["model", "set", "selector", "top_fraction", "factor"]


def main(o: argparse.Namespace) -> None:
    """samples and predictions of data sets, masks, outcomes -> sets.csv, sets_effects.csv, sets_transfer.csv

    Rows go by model, then by set in the order of --samples. One file of outcomes is in memory at a time.
    """
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import transfer

    samples = {name: path for (name,), path in layout.by("samples", o.samples, "set").items()}
    predictions = layout.by("predictions", o.predictions, "model", "set")
    chosen = layout.by("masks", o.masks, "model", "selector", "fraction")
    masks = {key[:2]: path for key, path in chosen.items()}
    fractions = sorted({fraction for *_, fraction in chosen})
    if len(fractions) != 1:
        raise ConfigError(f"--masks: of top fractions {', '.join(fractions)}; expected one")
    top_fraction = fractions[0]
    outcomes = layout.by("outcomes", o.outcomes, "model", "selector", "set", "factor")
    suppressed = layout.by("outcomes", o.own_outcomes, "model", "selector", "dataset")
    outcomes |= {(*key, "0"): path for key, path in suppressed.items()}
    _check_complete(samples, predictions, masks, outcomes)
    history = History()
    parts: dict[str, list[pd.DataFrame]] = {"sets": [], "sets_effects": [], "sets_transfer": []}
    for model in sorted({model for model, _ in masks}):
        read_masks = {selector: _mask(path, history) for (name, selector), path in masks.items() if name == model}
        cells = []
        for name, path in samples.items():
            mine = {key[1::2]: path for key, path in outcomes.items() if key[0] == model and key[2] == name}
            set_tables = _set(o, f"{model}, {name}", path, predictions[model, name], read_masks, mine, history)
            table, of_cultures = (rows.assign(set=name, top_fraction=top_fraction) for rows in set_tables)
            parts["sets"].append(table.assign(model=model))
            cells.append(of_cultures)
        parts["sets_effects"] += [rows.assign(model=model) for rows in cells]
        culture_effects = pd.concat(cells, ignore_index=True)
        culture_effects = culture_effects[~culture_effects["selector"].isin(o.random)]
        parts["sets_transfer"].append(transfer.correlate_sets(culture_effects, seed=o.seed).assign(model=model))
    planted = set(filter(None, o.planted))
    for name, tables in parts.items():
        all_rows = pd.concat(tables, ignore_index=True)
        all_rows["planted"] = all_rows["model"].map(lambda model: "yes" if model in planted else "no").astype(object)
        if name == "sets":
            all_rows = transfer.adjust(all_rows, o.random)
        if name == "sets_transfer":
            all_rows = transfer.adjust_transfer(all_rows)
        keys = KEYS if name != "sets_transfer" else ["model"]
        files.write_csv(o.out_dir / f"{name}.csv", all_rows[[*keys, *(c for c in all_rows.columns if c not in keys)]])
        cli.log.info("%s.csv: %d rows", name, len(all_rows))
    history.write(o.out_dir, cli.provenance("tabulate_sets", argparse.Namespace(replicates=o.replicates, seed=o.seed)))


def _check_complete(samples: Mapping, predictions: Mapping, masks: Mapping, outcomes: Mapping) -> None:
    """Raise ConfigError unless every model was asked every set, under every mask by every factor."""
    factors = {key[3] for key in outcomes}
    for factor in factors:
        try:
            float(factor)
        except ValueError:
            raise ConfigError(f"--outcomes: factor {factor!r}; expected a number") from None
    expected_predictions = {(model, name) for model in {model for model, _ in masks} for name in samples}
    expected_outcomes = {(*key, name, factor) for key in masks for name in samples for factor in factors}
    for option, keys, expected_keys in (
        ("--predictions", predictions.keys(), expected_predictions), ("--outcomes", outcomes.keys(), expected_outcomes)
    ):  # fmt: skip
        if odd := sorted(keys ^ expected_keys):
            fault = "not expected" if odd[0] in keys else "missing"
            raise ConfigError(
                f"{option}: {'/'.join(odd[0])} is {fault}; expected each model of --masks, each set of --samples"
                + (", each selector and each factor" if option == "--outcomes" else "")
            )


def _mask(path: Path, history: History) -> tuple[Path, dict[str, int], dict[str, Any]]:
    """A mask file: path, neurons per culture, metadata."""
    from culture_neurons import files

    table, metadata = files.read_table(path, ["culture"], only=True)
    history.add(metadata)
    return path, {name: int((table["culture"] == name).sum()) for name in metadata["cultures"]}, metadata


def _is_shared(masks: Mapping[str, Any], selector: str) -> bool:
    """Whether all cultures have one mask: culture-general neurons, and random controls of them."""
    metadata = masks[selector][2]
    if metadata.get("selector") == "random-matched" and metadata.get("options", {}).get("match") in masks:
        metadata = masks[metadata["options"]["match"]][2]
    return metadata.get("selector") == "culnig-general"


def _set(o: argparse.Namespace, label: str, sample_file: Path, prediction_file: Path, masks: Mapping[str, Any],
         outcomes: Mapping[tuple[str, str], Path], history: History) -> tuple[Any, Any]:  # fmt: skip
    """Rows of one model and set, all selectors and factors: of the set, and of its cultures."""
    import pandas as pd

    from culture_neurons import files, selectors
    from culture_neurons.analysis import chance, mask_effects, transfer

    samples = answers.read_samples(sample_file, history)
    base, identity, _ = answers.read_baseline(samples, prediction_file, history)
    cultures = sorted(samples.loc[samples["split"] == "evaluate", "culture"].unique())
    mean_changes, controls, cells = {}, {}, []
    order = sorted(
        itertools.product(masks, {factor for _, factor in outcomes}), key=lambda key: (key[0], float(key[1]))
    )
    for selector, factor in cli.progress(order, len(order), label):
        mask_file, sizes, mask_metadata = masks[selector]
        path = outcomes[selector, factor]
        files.check_same_model(prediction_file, identity, mask_file, mask_metadata)
        table, outcome_metadata = answers.read_outcomes(path, identity, prediction_file, history, "mask_culture")
        if outcome_metadata.get("mask") != mask_metadata | ({"factor": float(factor)} if float(factor) else {}):
            raise FileError(f"{path}: not made with {mask_file} times {factor}; delete it and run again")
        change = mask_effects.changes(base, table, sizes, str(path), str(prediction_file))
        cells.append(transfer.effects(base, change, cultures).assign(selector=selector, factor=factor))
        shared, place = _is_shared(masks, selector), "/".join(mask_effects.units_per_layer(mask_metadata))
        mean_changes[selector, factor] = transfer.mean_over_masks(base, change, sizes, cells[-1], shared, place)
        if selector in o.random:
            matched = mask_metadata.get("selector") == "random-matched"
            controls[selector] = selectors.matched_selector(mask_metadata.get("options", {})) if matched else ""
    table = transfer.compare(base, mean_changes, controls, o.replicates, o.seed)
    level = chance.compare_with_chance(base, o.replicates, o.seed, macro=False)
    table = table.assign(**dict(zip(LEVEL, (level.word, level.low, level.high), strict=True)))
    return table, pd.concat(cells, ignore_index=True)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--samples", type=Path, nargs="+", required=True, help="samples.parquet of each set, in order")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="answers without masks")
    parser.add_argument("--masks", type=Path, nargs="+", required=True, help="mask files, all of one top fraction")
    parser.add_argument("--outcomes", type=Path, nargs="+", required=True, help="answers under masks")
    parser.add_argument(
        "--own-outcomes", type=Path, nargs="*", default=[],
        help="those of the run's ablation, which stand for its own questions by the factor 0",
    )  # fmt: skip
    parser.add_argument("--random", nargs="*", default=[], help="selectors whose masks are random controls")
    parser.add_argument("--planted", nargs="*", default=[], help="names of models with planted neurons")
    parser.add_argument("--replicates", type=int, default=2000, help="bootstrap replicates, and sign flips")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
