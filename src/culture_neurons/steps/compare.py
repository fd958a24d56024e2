"""Lay two finished runs side by side: tables, figures and a page, from their results folders alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import ConfigError
from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """two results folders, and answers under masks that changed places -> tables/*.csv, figures/*, comparison.html"""
    from culture_neurons import files
    from culture_neurons.analysis import compare_runs
    from culture_neurons.analysis.finished_run import open_runs
    from culture_neurons.report.figures import compared, style
    from culture_neurons.report.page import comparison

    if len(o.runs) != 2:
        raise ConfigError(
            f"runs: {len(o.runs)} results folders; expected two, as in --config runs='[results/a,results/b]'"
        )
    first, second = open_runs(o.runs)
    fractions = sorted({key[2] for key in first.masks} & {key[2] for key in second.masks}, key=float) or ["0"]
    if o.top_fraction and o.top_fraction not in fractions:  # said before what takes minutes
        known = f"expected one of {', '.join(fractions)}" if fractions != ["0"] else "they have none in common"
        raise ConfigError(f"top fraction {o.top_fraction}: not in both runs; {known}")
    tables = compare_runs.compare(first, second, o.replicates, o.seed, o.transfers)
    for row in tables["compared"].itertuples():
        if row.compared == "no":
            cli.log.info("not compared: %s: %s", row.what, row.reason)
    for name, table in tables.items():
        files.write_csv(o.out_dir / "tables" / f"{name}.csv", table)
        cli.log.info("%s.csv: %d rows", name, len(table))
    nouns = {run.group_noun or o.group_noun for run in (first, second)}
    noun = nouns.pop() if len(nouns) == 1 else "group"
    shown = compared.Compared(tables, first.name, second.name, o.top_fraction or fractions[0], noun)
    for name in cli.progress(compared.FIGURES, len(compared.FIGURES), "figures"):
        style.save(compared.draw(shown, name), o.out_dir / "figures" / name)
    settings = argparse.Namespace(replicates=o.replicates, seed=o.seed, top_fraction=shown.top)
    made_by = cli.provenance("compare", settings, runs=[first.name, second.name])
    page = comparison.render(shown, o.out_dir / "figures", made_by)
    files.write_text(o.out_dir / "comparison.html", page)
    cli.log.info("%s: %.1f MB", o.out_dir / "comparison.html", len(page.encode()) / 1e6)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="two results folders")
    parser.add_argument("--transfers", type=Path, nargs="*", help="answers of steps.transfer")
    parser.add_argument("--top-fraction", help="of the figures, as in file names; without: the smallest of both runs")
    parser.add_argument("--group-noun", default="culture", metavar="NOUN",
                        help="what a group of questions is called, by a run whose manifest does not say")  # fmt: skip
    parser.add_argument("--replicates", type=int, default=2000, help="bootstrap replicates, and sign flips")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resampling")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the comparison")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
