"""Put how stable the masks of each model are into one table."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli
from culture_neurons.steps.history import History


def main(o: argparse.Namespace) -> None:
    """stability_cultures.parquet of all models -> tables/stability.csv"""
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.analysis import stability

    paths = cli.named_paths(o.parts, "--parts", "model")
    planted, history, tables = set(filter(None, o.planted)), History(), []
    for (model,), path in sorted(paths.items()):
        table, made = files.read_table(path, stability.COLUMNS)
        history.add(made)
        table = table[list(stability.COLUMNS)].assign(planted="yes" if model in planted else "no")
        table.insert(0, "model", model)
        tables.append(table)
    files.write_csv(o.out, pd.concat(tables, ignore_index=True))
    history.add(cli.provenance("tabulate_stability", argparse.Namespace()))
    files.write_text(o.provenance_out, history.as_json())
    cli.log.info("%s: %d rows", o.out.name, sum(map(len, tables)))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--parts", nargs="+", required=True, help="model=stability_cultures.parquet, one per model")
    parser.add_argument("--planted", nargs="*", default=[], help="names of models with planted neurons")
    parser.add_argument("--out", type=Path, required=True, help="stability.csv")
    parser.add_argument("--provenance-out", type=Path, required=True, help="provenance_stability.json")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
