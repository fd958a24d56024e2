"""Make the tables of shuffled labels and of other strengths from the answers of all models."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import answers as read
from culture_neurons.steps import cli
from culture_neurons.steps.history import History

KEYS = ["model", "selector", "top_fraction"]


def main(o: argparse.Namespace) -> None:
    """samples, predictions, masks, outcomes -> permutations.csv, strengths.csv

    One file of outcomes is in memory at a time.
    """
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.analysis import culture_tests, shuffled_labels, strengths

    predictions = cli.named_paths(o.predictions, "--predictions", "model")
    each = ("model", "selector", "fraction")
    plain, permuted = cli.named_paths(o.plain, "--plain", *each), cli.named_paths(o.permuted, "--permuted", *each)
    weakened = cli.named_paths(o.strengths, "--strengths", *each, "strength")
    for key in (*permuted, *(key[:3] for key in weakened)):
        if key not in plain or key[:1] not in predictions:
            raise ConfigError(f"{'/'.join(key)}: no --plain outcomes, or no --predictions of the model")
    parts: dict[str, list] = {"permutations": [], "strengths": []}
    history = History()
    samples = read.samples(o.samples, history)
    for key in cli.progress(sorted(plain), len(plain), "mask files"):
        base, identity, _ = read.before(samples, predictions[key[:1]], history)
        source = _Source(predictions[key[:1]], base, identity, history)
        names = dict(zip(KEYS, key, strict=True)) | {"planted": "yes" if key[0] in o.planted else "no"}
        first = _paired(plain[key], source)
        if key in permuted:
            outcomes, made = _read(permuted[key], ["permutation"], source)
            number = made.get("mask", {}).get("permutations", 0)
            own = shuffled_labels.null_changes(base, outcomes, number, str(permuted[key]), str(source.path))
            test = shuffled_labels.permutation_test(base, first, own)
            # Files of an earlier version do not say it.
            if (changed := made["mask"].get("changed")) is not None:
                test = shuffled_labels.clear_unshuffled(test, changed)
            parts["permutations"].append(test.assign(**names))
        mine = {float(other[3]): path for other, path in weakened.items() if other[:3] == key}
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
            table = culture_tests.adjust(table, family, [("p_value", "p_adjusted")])[leading]
        files.write_csv(o.out_dir / f"{name}.csv", table)
        cli.log.info("%s.csv: %d rows", name, len(table))
    settings = argparse.Namespace(replicates=o.replicates, seed=o.seed)
    history.add(cli.provenance("tabulate_again", settings))
    files.write_text(o.out_dir / "provenance_again.json", history.as_json())


@dataclass(frozen=True)
class _Source:
    """The baseline that outcomes are compared with, its file, and who made it."""

    path: Path
    base: Any
    identity: dict
    history: History


def _read(path: Path, more: list[str], source: _Source) -> tuple[Any, dict]:
    table, made = read.after(path, source.identity, source.path, source.history, *more, "mask_culture")
    if "mask" not in made:
        raise FileError(f"{path}: does not say which masks it was made with; delete it and run again")
    return table, made


def _paired(path: Path, source: _Source) -> Any:
    """Outcomes of one mask file, reduced; an empty mask is known by its culture alone."""
    from culture_neurons.analysis import mask_effects, verdicts

    table, made = _read(path, [], source)
    counts = table["mask_culture"].value_counts()
    # A culture without rows has an empty mask: nothing changes.
    sizes = {name: int(name in counts) for name in made["mask"]["cultures"]}
    return verdicts.pair(source.base, mask_effects.changes(source.base, table, sizes, str(path), str(source.path)))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet")
    parser.add_argument("--predictions", nargs="*", default=[], help="model=predictions.parquet")
    parser.add_argument("--plain", nargs="*", default=[], help="model/selector/fraction=outcomes of zero ablation")
    parser.add_argument("--permuted", nargs="*", default=[], help="model/selector/fraction=outcomes, shuffled labels")
    parser.add_argument("--strengths", nargs="*", default=[], help="model/selector/fraction/strength=outcomes")
    parser.add_argument("--planted", nargs="*", default=[], help="models with planted neurons")
    parser.add_argument("--replicates", type=int, default=2000, help="bootstrap replicates")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
