"""Put the answers of all shards together."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli, shards


def main(o: argparse.Namespace) -> None:
    """shards of infer -> predictions.parquet"""
    from culture_neurons import files

    table, metadata = shards.read(o.shards)
    kept = {key: metadata[key] for key in shards.KEPT if key in metadata}
    settings = argparse.Namespace(**metadata["settings"])
    files.write_table(o.out, table, cli.provenance("gather_answers", settings, after=metadata, **kept))
    right, formed = 100 * table["correct"].mean(), 100 * table["well_formed"].mean()
    cli.log.info("%s: %d answers, %.1f %% right, %.1f %% well formed", o.out.name, len(table), right, formed)
    if formed < 50:
        cli.log.warning("warning: %s: less than half of %s's answers are well formed: mostly it answers with "
                        "something else than the letter of an option", o.out.name, metadata["model"])  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="files that infer wrote")
    parser.add_argument("--out", type=Path, required=True, help="predictions.parquet")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
