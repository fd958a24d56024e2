"""Benchmark selectors on models whose culture neurons are planted, so that they are known."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import ConfigError
from culture_neurons.steps import cli
from culture_neurons.steps.history import History


def main(o: argparse.Namespace) -> None:
    """statistics.h5 and planted.csv of each planted model -> tables/benchmark.csv; only the heading without models"""
    import pandas as pd

    from culture_neurons import files, layout, selectors, store
    from culture_neurons.analysis import planted_benchmark

    statistics = layout.by("statistics", o.statistics, "model")
    planted = layout.by("planted", o.planted, "model")
    if statistics.keys() != planted.keys():
        odd = "/".join(min(statistics.keys() ^ planted.keys()))
        raise ConfigError(f"{odd}: given for only one of --statistics and --planted")
    methods = selectors.methods_by_name(o.selectors).values()
    columns = ["model", *planted_benchmark.COLUMNS, "planted"]
    tables, history = [pd.DataFrame(columns=columns)], History()
    for key, path in cli.progress(sorted(statistics.items()), len(statistics), "models"):
        metadata = store.read_metadata(path)
        history.add(metadata)
        neurons = files.read_csv(planted[key], ["culture", "site", "layer", "neuron"], text=["culture", "site"])
        table = planted_benchmark.benchmark(
            lambda relabel, path=path: store.read_statistics(path, relabel)[0], neurons, o.selectors, o.top_fraction,
            o.samples, o.noise, o.repeats, o.seed, source=str(planted[key]),
        )  # fmt: skip
        table.insert(0, "model", key[0])
        tables.append(table.assign(planted="yes"))
        _say(table)
    all_rows = pd.concat(tables[1:] or tables, ignore_index=True)
    files.write_csv(o.out_dir / "benchmark.csv", all_rows)
    using = sorted({module for method in methods for module in selectors.modules(method)})
    science = ("selectors", "top_fraction", "samples", "noise", "repeats", "seed")
    settings = argparse.Namespace(**{key: getattr(o, key) for key in science})
    history.write(o.out_dir, cli.provenance("benchmark_selectors", settings, using))
    cli.log.info("benchmark.csv: %d rows", len(all_rows))


def _say(table) -> None:
    """Log the average precision on all questions with their own labels."""
    from culture_neurons.analysis.planted_benchmark import ALL

    part = table[(table["samples_per_culture"] == ALL) & (table["label_noise"] == 0)]
    for (target, selector), rows in part.groupby(["target", "selector"], sort=False):
        row = rows.iloc[0]
        if not row["n_target"]:
            cli.log.info("%s: no %s neurons: nothing to be found", row["model"], target)
            continue
        cli.log.info("%s: %s: average precision %.3f on %d %s neurons (chance %.3f)", row["model"], selector,
                     row["average_precision"], row["n_target"], target, row["chance"])  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--statistics", type=Path, nargs="*", default=[], help="statistics.h5 of planted models")
    parser.add_argument("--planted", type=Path, nargs="*", default=[], help="planted.csv of the same models")
    parser.add_argument("--selectors", type=cli.json_object, required=True, help="JSON: name -> options, as the config")
    parser.add_argument("--top-fraction", nargs="+", required=True, help="shares of all neurons, each in (0, 1]")
    parser.add_argument("--samples", type=int, nargs="*", default=[], help="questions per culture to draw, beside all")
    parser.add_argument("--noise", type=float, nargs="*", default=[], help="shares of wrong labels, beside none")
    parser.add_argument("--repeats", type=int, default=5, help="draws of each")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
