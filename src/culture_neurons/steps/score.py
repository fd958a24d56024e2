"""Score every neuron for every culture with one selector."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """statistics.h5 -> scores/{selector}.h5"""
    import numpy as np

    from culture_neurons import selectors, store

    selectors.check(o.selector, o.options)
    statistics, metadata = store.read_statistics(o.statistics)
    scores = selectors.score(o.selector, statistics, **o.options)
    for culture, row in zip(statistics.cultures, scores, strict=True):
        cli.log.info("%s: %d of %d neurons have a positive score", culture, np.count_nonzero(row > 0), row.size)
    kept = {key: metadata.get(key) for key in ("model", "revision", "token_rule")}
    made_by = cli.provenance("score", o, selectors.modules(o.selector), metadata, **kept, samples=metadata["samples"])
    store.write_scores(o.out, scores, statistics.cultures, metadata["site"], made_by)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--statistics", type=Path, required=True, help="statistics.h5 of a model")
    parser.add_argument("--selector", required=True, help="method, such as cas")
    parser.add_argument("--options", type=cli.json_object, default={}, help="JSON object of the method's options")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file of scores")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
