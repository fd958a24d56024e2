"""Draw the figures of one model, or those that show all models, from the tables alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    from concurrent.futures import ProcessPoolExecutor

    from culture_neurons.files import write_text
    from culture_neurons.report import figures
    from culture_neurons.report.figures import captions
    from culture_neurons.report.figures.tables import require, require_fraction

    tables = figures.read(o.tables, filter(None, o.more))
    require_fraction(tables.summary, o.top_fraction)
    if o.overview:
        entries = captions.overview_entries(tables, o.top_fraction)
        drawn = figures.overview_figures(tables, o.selectors, o.top_fraction)
        name = "overview"
    else:
        require(tables.models, o.model, "model")
        for selector in o.selectors:
            require(tables.selectors(o.model), selector, "selector")
        entries = captions.model_entries(tables, o.model, o.selectors, o.top_fraction)
        drawn = figures.model_figures(tables, o.model, o.selectors, o.top_fraction)
        name = o.model
    o.out_dir.mkdir(parents=True, exist_ok=True)
    # Most of the time goes into writing PDF and PNG; nothing of a figure hangs on another.
    with ProcessPoolExecutor(o.threads) as workers:
        written = [workers.submit(figures.save, figure, o.out_dir / stem) for stem, figure in drawn]
        for figure in cli.progress(written, len(entries), f"figures of {name}"):
            figure.result()
    write_text(o.out_dir / f"captions_{name}.rst", captions.as_rst(entries))
    cli.log.info("%s: %d figures in %s", name, len(entries), o.out_dir)


def arguments() -> argparse.ArgumentParser:
    p = cli.parser("Draw the figures of one model (--model), or those that show all models (--overview).")
    p.add_argument("--tables", type=Path, required=True, help="folder of the tables of steps.tabulate")
    p.add_argument("--more", nargs="*", default=[], metavar="NAME", help="further tables of that folder to draw")
    which = p.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="name of the model, as the tables have it")
    which.add_argument("--overview", action="store_true", help="draw overview, baseline, and what further tables show")
    p.add_argument("--selectors", nargs="+", required=True, help="selectors to show, in this order")
    p.add_argument("--top-fraction", type=float, required=True, help="size of the masks in all figures but dose")
    p.add_argument("--threads", type=int, default=1, help="figures that are written side by side")
    p.add_argument("--out-dir", type=Path, required=True, help="folder for NAME.pdf, NAME.png and captions_MODEL.rst")
    return p


if __name__ == "__main__":
    cli.run(main, arguments())
