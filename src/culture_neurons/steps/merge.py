"""Merge the shards of a model's activation statistics into one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """statistics shards -> statistics.h5"""
    from culture_neurons import store

    shard_metadata = [store.read_metadata(path) for path in o.shards]
    hardware = sorted({name for metadata in shard_metadata for name in metadata.get("hardware", ())})
    made_by = cli.provenance("merge", o, after={**shard_metadata[0], "hardware": hardware})
    store.merge_statistics(o.shards, o.statistics_out, made_by)
    for culture, (samples, tokens) in store.count_tokens(o.statistics_out).items():
        cli.log.info("%s: %d samples, %d tokens", culture, samples, tokens)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="files that record wrote")
    parser.add_argument("--statistics-out", type=Path, required=True, help="statistics.h5")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
