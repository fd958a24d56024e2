"""Write tables for a paper: self and cross drops, and what each culture loses under its own mask."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli, from_results


def main(o: argparse.Namespace) -> None:
    """tables/*.csv -> summary.tex, drops.tex; and sets.tex where masks were judged on several data sets"""
    from culture_neurons.files import write_text
    from culture_neurons.report import latex, latex_sets
    from culture_neurons.report.figures import tables

    read = tables.read(o.tables, ["cultures", *(["sets"] if o.sets else [])], o.group_noun)
    written = [
        (o.summary, latex.summary(read, o.selectors, o.top_fraction)),
        (o.drops, latex.culture_drops(read, o.selectors[0], o.top_fraction)),
    ]
    if o.sets:
        written.append((o.sets, latex_sets.accuracies(read, o.selectors)))
    for path, text in written:
        write_text(path, text)
        cli.log.info("%s: %d rows", path, text.count(r" \\"))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--tables", type=Path, required=True, help="folder of all tables")
    parser.add_argument("--selectors", nargs="+", required=True, help="selectors to show; drops shows the first one")
    parser.add_argument("--top-fraction", type=float, required=True, help="size of the masks")
    parser.add_argument("--group-noun", default="culture", metavar="NOUN", help="what a group of questions is called")
    parser.add_argument("--summary", type=Path, required=True, help="table of self and cross drops")
    parser.add_argument("--drops", type=Path, required=True, help="table of the cultures under their own masks")
    parser.add_argument("--sets", type=Path, nargs="?", help="table of accuracies on several data sets, of sets.csv")
    return parser


if __name__ == "__main__":
    from_results.run("latex", main, arguments())
