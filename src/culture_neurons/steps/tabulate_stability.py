"""Put how stable the masks of each model are into one table."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli
from culture_neurons.steps.history import History


def main(o: argparse.Namespace) -> None:
    """stability_cultures.parquet of all models -> tables/stability.csv"""
    import pandas as pd

    from culture_neurons import files, layout
    from culture_neurons.analysis import stability

    paths = layout.by("stability_cultures", o.cultures, "model")
    planted, history, tables = set(filter(None, o.planted)), History(), []
    for (model,), path in sorted(paths.items()):
        table, metadata = files.read_table(path, stability.COLUMNS)
        history.add(metadata)
        table = table[list(stability.COLUMNS)].assign(planted="yes" if model in planted else "no")
        table.insert(0, "model", model)
        tables.append(table)
    files.write_csv(o.out_dir / "stability.csv", pd.concat(tables, ignore_index=True))
    history.write(o.out_dir, cli.provenance("tabulate_stability", argparse.Namespace()))
    cli.log.info("stability.csv: %d rows", sum(map(len, tables)))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--cultures", type=Path, nargs="+", required=True, help="stability_cultures.parquet of each model"
    )
    parser.add_argument("--planted", nargs="*", default=[], help="names of models with planted neurons")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
