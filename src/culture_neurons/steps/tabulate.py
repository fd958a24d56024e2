"""Make the tables of effects, evidence and layers from the answers of all models."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import answers, cli
from culture_neurons.steps.history import History

KEYS = ["model", "selector", "top_fraction"]

#: Leading columns of each table, written even where no row exists; `planted` says whether the model's culture
#: neurons are planted.
COLUMNS = {
    "effects": [
        *KEYS, "mask_culture", "eval_culture", "n", "baseline_accuracy", "masked_accuracy", "drop", "logprob_drop",
        "flip_rate", "well_formed_rate", "planted",
    ],
    "summary": [*KEYS, "self_drop", "cross_drop", "specificity", "random_self_drop", "planted"],
    "layers": [*KEYS, "culture", "site", "layer", "count", "units", "planted"],
    "baseline": [
        "model", "culture", "n", "accuracy", "well_formed_rate", "n_identify", "n_identify_correct", "planted",
    ],
    "evidence": [
        *KEYS, "measure", "comparison", "n", "difference", "ci_low", "ci_high", "p_value", "p_adjusted", "verdict",
        "planted",
    ],
    "cultures": [
        *KEYS, "culture", "measure", "n", "self", "self_low", "self_high", "cross", "specificity", "specificity_low",
        "specificity_high", "p_value", "p_adjusted", "unit", "planted",
    ],
    "differences": [
        "model", "selector", "other_selector", "top_fraction", "measure", "what", "n", "difference", "ci_low",
        "ci_high", "p_value", "p_adjusted", "unit", "planted",
    ],
    "planted": [*KEYS, "culture", "n_selected", "n_planted", "hits", "precision", "recall", "planted"],
}  # fmt: skip


def main(o: argparse.Namespace) -> None:
    """samples, predictions, masks, outcomes -> tables/*.csv and their provenance

    One file of outcomes is in memory at a time.
    """
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.selectors import selection

    predictions = layout.by("predictions", o.predictions, "model")
    planted = layout.by("planted", o.planted, "model")
    each = ("model", "selector", "fraction")
    masks, outcomes = layout.by("masks", o.masks, *each), layout.by("outcomes", o.outcomes, *each)
    if masks.keys() != outcomes.keys():
        odd = "/".join(min(masks.keys() ^ outcomes.keys()))
        raise ConfigError(f"{odd}: given for only one of --masks and --outcomes")
    models = {(key[0],) for key in masks}
    if models != predictions.keys() or not planted.keys() <= models:
        raise ConfigError(
            f"models of --masks: {_names(models)}; of --predictions: {_names(predictions)}; of --planted:"
            f" {_names(planted)}; expected the same, and planted ones among them"
        )
    history = History()
    samples = answers.read_samples(o.samples, history)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in COLUMNS}
    order = sorted(masks, key=lambda key: (key[0], key[1], selection.fraction(key[2]), key[2]))
    todo = cli.progress(order, len(order), "mask files")
    for model, keys in itertools.groupby(todo, key=lambda key: key[0]):
        known = planted.get((model,))
        model_tables = _model(o, samples, predictions[model,], keys, masks, outcomes, known, history)
        for name, table in model_tables.items():
            table.insert(0, "model", model)
            table["planted"] = "yes" if known else "no"
            parts[name].append(table)
    for name, leading in COLUMNS.items():
        tables = [table for table in parts[name] if len(table)]
        all_rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=leading)
        all_rows = _adjusted(name, all_rows)
        all_rows = all_rows[[*leading, *(c for c in all_rows.columns if c not in leading)]]
        files.write_csv(o.out_dir / f"{name}.csv", all_rows)
        cli.log.info("%s.csv: %d rows", name, len(all_rows))
    settings = argparse.Namespace(replicates=o.replicates, seed=o.seed)
    history.write(o.out_dir, cli.provenance("tabulate", settings))


def _adjusted(name: str, table: Any) -> Any:
    """Adjust p-values over cultures and models; planted models, and own and other cultures' masks, are families."""
    from culture_neurons.analysis import p_values

    family = ["planted", "selector", "top_fraction"]
    if name == "cultures":
        return p_values.adjust_within(table, [*family, "measure"], [("p_value", "p_adjusted")])
    if name == "effects" and len(table):
        own = table["mask_culture"] == table["eval_culture"]
        pairs = [(p, f"{p}_adjusted") for p in ("mcnemar_p", "logprob_p")]
        return p_values.adjust_within(table.assign(own=own), [*family, "own"], pairs).drop(columns="own")
    return table


def _model(o: argparse.Namespace, samples: Any, prediction_file: Path, keys: Any, masks: dict, outcomes: dict,
           planted_file: Path | None, history: History) -> dict[str, Any]:  # fmt: skip
    """All tables of one model, without the columns `model` and `planted`."""
    import pandas as pd

    from culture_neurons import files, selectors
    from culture_neurons.analysis import chance, culture_tests, mask_effects, paired_changes, significance, verdicts
    from culture_neurons.types import IMPORTED

    base, identity, predictions = answers.read_baseline(samples, prediction_file, history)
    cultures = sorted(samples["culture"].unique())
    resamples = culture_tests.QuestionResamples(base, o.replicates, o.seed)
    planted = None
    if planted_file:
        planted = files.read_csv(planted_file, ["culture", "site", "layer", "neuron"], text=["culture", "site"])
    parts: dict[str, list] = {name: [] for name in COLUMNS}
    paired, controls, sizes = {}, {}, {}
    recorded: dict[str, list[str]] = {}
    for key in keys:
        name, fraction = key[1:]
        mask, mask_metadata = files.read_table(masks[key], ["culture", "site", "layer", "neuron"])
        files.check_same_model(prediction_file, identity, masks[key], mask_metadata)
        size = {culture: int((mask["culture"] == culture).sum()) for culture in mask_metadata["cultures"]}
        history.add(mask_metadata)
        ablation, outcome_metadata = answers.read_outcomes(
            outcomes[key], identity, prediction_file, history, "mask_culture"
        )
        if outcome_metadata.get("mask", mask_metadata) != mask_metadata:
            raise FileError(f"{outcomes[key]}: made with another mask than {masks[key]}; delete it and run again")
        change = mask_effects.changes(base, ablation, size, str(outcomes[key]), str(prediction_file))
        if name in o.random:
            matched = mask_metadata.get("selector") == "random-matched"
            controls[name] = selectors.matched_selector(mask_metadata.get("options", {})) if matched else ""
        names = {"selector": name, "top_fraction": fraction}
        cells = mask_effects.effects(base, change, cultures)
        parts["effects"].append(
            pd.concat([cells, culture_tests.tabulate_cells(resamples, change, cultures)], axis=1).assign(**names)
        )
        where = mask_effects.neurons_per_layer(
            mask,
            mask_metadata["cultures"],
            mask_metadata["layers"],
            mask_effects.units_per_layer(mask_metadata),
            str(masks[key]),
        )
        parts["layers"].append(where.assign(**names))
        if planted is not None:
            parts["planted"].append(mask_effects.recovery(mask, planted, mask_metadata["cultures"]).assign(**names))
        paired[name, fraction] = paired_changes.pair(
            base, change, size, "/".join(mask_effects.units_per_layer(mask_metadata))
        )
        if name not in o.random:
            parts["cultures"].append(culture_tests.tabulate_cultures(resamples, paired[name, fraction]).assign(**names))
        sizes[name, fraction] = size
        # Masks of another project may be of fewer cultures; all others are of those recorded on their data set.
        own, chosen_on = paired[name, fraction].cultures, mask_metadata.get("chosen_on", "")
        if mask_metadata.get("selector") != IMPORTED and own != recorded.setdefault(chosen_on, own):
            raise FileError(f"{masks[key]}: other cultures than the model's other mask files; delete it and run again")
    proof, averages, differences = verdicts.compare(base, paired, controls, o.replicates, o.seed)
    level = chance.compare_with_chance(base, o.replicates, o.seed)
    if level.word == significance.AT_CHANCE:
        proof["verdict"] = significance.NOT_JUDGED
    if level.word != significance.ABOVE_CHANCE:
        cli.log.warning(
            "warning: %s: accuracy %.3f, interval %.3f to %.3f, is %s (%.3f)", prediction_file, level.accuracy,
            level.low, level.high, level.word or "not known", level.chance,
        )  # fmt: skip
    parts["evidence"].append(proof)
    parts["differences"].append(differences)
    for effects, average in zip(parts["effects"], averages.to_dict("records"), strict=True):
        chosen = list(sizes[average["selector"], average["top_fraction"]].values())
        pair = paired[average["selector"], average["top_fraction"]]
        parts["summary"].append(pd.DataFrame([{
            **mask_effects.summary(effects), **average, "neurons_per_culture": sum(chosen) / max(1, len(chosen)),
            "n_cultures": len(pair.cultures), "n": len(pair.own["accuracy"]),
        }]))  # fmt: skip
    evaluated = predictions[predictions["split"] == "evaluate"]
    place = chance.most_chosen_place(evaluated["option_order"].tolist(), evaluated["prediction"].tolist())
    parts["baseline"].append(
        mask_effects.baseline_table(predictions, base, cultures).assign(
            level=level.word, model_accuracy=level.accuracy, model_accuracy_low=level.low,
            model_accuracy_high=level.high, model_chance=level.chance,
            open_reasoning=answers.open_reasoning(prediction_file), place=place.letter, place_n=place.n,
            place_of=place.of, place_expected=place.expected, place_p=place.p,
        )
    )  # fmt: skip
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items() if tables}


def _names(keys: Any) -> str:
    return ", ".join(sorted(key[0] for key in keys)) or "none"


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="predictions.parquet of each model")
    parser.add_argument("--masks", type=Path, nargs="+", required=True, help="mask files")
    parser.add_argument("--outcomes", type=Path, nargs="+", required=True, help="answers under the same masks")
    parser.add_argument(
        "--planted", type=Path, nargs="*", default=[], help="planted.csv of models with planted neurons"
    )
    parser.add_argument("--random", nargs="*", default=[], help="selectors whose masks are random controls")
    parser.add_argument("--replicates", type=int, default=2000, help="bootstrap replicates, and sign flips")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
