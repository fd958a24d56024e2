"""Make the tables of shuffled labels and of other strengths from the answers of all models."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import answers, cli
from culture_neurons.steps.history import History

KEYS = ["model", "selector", "top_fraction"]


def main(o: argparse.Namespace) -> None:
    """samples, predictions, masks, outcomes -> permutations.csv, strengths.csv

    One file of outcomes is in memory at a time.
    """
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import p_values, shuffled_labels, strengths

    predictions = layout.by("predictions", o.predictions, "model")
    plain = layout.by("outcomes", o.outcomes, "model", "selector", "fraction")
    permuted = layout.by("outcomes", o.permuted, "model", "selector")
    weakened = layout.by("outcomes", o.strengths, "model", "selector", "factor")
    known = {key[:2] for key in plain if key[:1] in predictions}
    for key in (*permuted, *(key[:2] for key in weakened)):
        if key not in known:
            raise ConfigError(f"{'/'.join(key)}: no --outcomes, or no --predictions of the model")
    parts: dict[str, list] = {"permutations": [], "strengths": []}
    history = History()
    samples = answers.read_samples(o.samples, history)
    for key in cli.progress(sorted(plain), len(plain), "mask files"):
        base, identity, _ = answers.read_baseline(samples, predictions[key[:1]], history)
        source = _Source(predictions[key[:1]], base, identity, history)
        names = dict(zip(KEYS, key, strict=True)) | {"planted": "yes" if key[0] in o.planted else "no"}
        first = _paired(plain[key], source)
        if key[:2] in permuted:
            path = permuted[key[:2]]
            outcomes, metadata = _read(path, ["permutation"], source)
            number = metadata["mask"].get("permutations", 0)
            own = shuffled_labels.null_changes(base, outcomes, number, str(path), str(source.path))
            test = shuffled_labels.permutation_test(base, first, own)
            # Files of an earlier version do not say it.
            if (changed := metadata["mask"].get("changed")) is not None:
                test = shuffled_labels.clear_unshuffled(test, changed)
            parts["permutations"].append(test.assign(**names))
        mine = {_strength(other[2]): path for other, path in weakened.items() if other[:2] == key[:2]}
        if mine:
            paired = {1.0: first} | {strength: _paired(path, source) for strength, path in mine.items()}
            parts["strengths"].append(strengths.dose_response(base, paired, o.replicates, o.seed).assign(**names))
    columns = {"permutations": shuffled_labels.PERMUTED, "strengths": strengths.COLUMNS}
    for name, tables in parts.items():
        leading = [*KEYS, *columns[name], "planted"]
        table = pd.concat(tables, ignore_index=True)[leading] if tables else pd.DataFrame(columns=leading)
        if name == "permutations" and tables:
            # Over models for the means, over cultures and models for the cultures.
            table["whole"] = table["culture"] == ""
            family = ["planted", "selector", "top_fraction", "measure", "whole"]
            table = p_values.adjust_within(table, family, [("p_value", "p_adjusted")])[leading]
        files.write_csv(o.out_dir / f"{name}.csv", table)
        cli.log.info("%s.csv: %d rows", name, len(table))
    settings = argparse.Namespace(replicates=o.replicates, seed=o.seed)
    history.write(o.out_dir, cli.provenance("tabulate_robustness", settings))


def _strength(factor: str) -> float:
    """The strength of ablation that multiplies masked neurons by `factor`."""
    return float(f"{1 - float(factor):g}")


@dataclass(frozen=True)
class _Source:
    """The baseline that outcomes are compared with, its file, and who made it."""

    path: Path
    base: Any
    identity: dict
    history: History


def _read(path: Path, more: list[str], source: _Source) -> tuple[Any, dict]:
    table, metadata = answers.read_outcomes(path, source.identity, source.path, source.history, *more, "mask_culture")
    if "mask" not in metadata:
        raise FileError(f"{path}: does not say which masks it was made with; delete it and run again")
    return table, metadata


def _paired(path: Path, source: _Source) -> Any:
    """Outcomes of one mask file, reduced; an empty mask is known by its culture alone."""
    from culture_neurons.analysis import mask_effects, paired_changes

    table, metadata = _read(path, [], source)
    counts = table["mask_culture"].value_counts()
    # A culture without rows has an empty mask: nothing changes.
    sizes = {name: int(name in counts) for name in metadata["mask"]["cultures"]}
    return paired_changes.pair(
        source.base, mask_effects.changes(source.base, table, sizes, str(path), str(source.path))
    )


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet")
    parser.add_argument("--predictions", type=Path, nargs="*", default=[], help="predictions.parquet of each model")
    parser.add_argument("--outcomes", type=Path, nargs="*", default=[], help="answers under the masks at hand")
    parser.add_argument("--permuted", type=Path, nargs="*", default=[], help="answers under masks of shuffled labels")
    parser.add_argument(
        "--strengths", type=Path, nargs="*", default=[], help="answers under the masks at other strengths"
    )
    parser.add_argument("--planted", nargs="*", default=[], help="models with planted neurons")
    parser.add_argument("--replicates", type=int, default=2000, help="bootstrap replicates")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
