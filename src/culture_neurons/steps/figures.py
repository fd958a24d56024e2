"""Draw and caption the figures of a run, from the tables alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from culture_neurons.steps import cli, from_results

if TYPE_CHECKING:
    from culture_neurons.report.figures.tables import Tables
    from culture_neurons.report.registry import FigureFile


def main(o: argparse.Namespace) -> None:
    """tables/*.csv -> figures/*.pdf, *.png, and captions.rst"""
    from concurrent.futures import ProcessPoolExecutor
    from contextlib import nullcontext
    from functools import partial
    from multiprocessing import get_context

    from culture_neurons.files import write_text
    from culture_neurons.report import figures
    from culture_neurons.report.figures import caption_text, drawing, fonts
    from culture_neurons.report.figures.tables import require, require_fraction
    from culture_neurons.report.registry import read_list

    files = read_list(o.figures)
    tables = figures.read(o.tables, filter(None, o.more), o.group_noun)
    if len(tables.summary):  # else every figure says that there is no result
        require_fraction(tables.summary, o.top_fraction)
    for file in files:
        if file.model:
            require(tables.named("model"), file.model, "model")
    for name in {*o.selectors, *(file.selector for file in files if file.selector)}:
        require(tables.named("selector"), name, "selector")
    if missing := fonts.without_font(tables.texts):
        shown = ", ".join(f"{name} as {drawn}" for name, drawn in list(missing.items())[:10])
        cli.log.warning("warning: no font of this machine has all characters of %d names, which are drawn as they "
                        "sound or as code points (%s%s); install a font of their script, such as Noto Sans CJK, and "
                        "draw again", len(missing), shown, ", ..." * (len(missing) > 10))  # fmt: skip
    o.out_dir.mkdir(parents=True, exist_ok=True)
    for path in caption_text.former_files(o.out_dir):
        path.unlink()
        cli.log.info("%s: removed, a figure of an earlier version that is drawn no more", path)

    save_figure = partial(_draw_and_save, tables, o.selectors, o.top_fraction, o.out_dir)
    # Workers are copies of this process, which has loaded all libraries.
    with ProcessPoolExecutor(o.threads, get_context("fork")) if o.threads > 1 else nullcontext() as workers:
        for _ in cli.progress((workers.map if workers else map)(save_figure, files), len(files), "figures"):
            pass
    captions = {file.stem: drawing.caption(tables, file, o.selectors, o.top_fraction) for file in files}
    write_text(o.out_dir / "captions.rst", caption_text.as_rst(captions))
    cli.log.info("%d figures in %s", len(files), o.out_dir)
    if others := caption_text.other_files(o.out_dir, (file.stem for file in files)):
        cli.log.info("%s: not drawn now, and left as they are: %s", o.out_dir, ", ".join(others))


def _draw_and_save(tables: Tables, selectors: list[str], top_fraction: float, folder: Path, file: FigureFile) -> None:
    """Draw one figure, as PDF and PNG."""
    from culture_neurons.report import figures
    from culture_neurons.report.figures import drawing

    figures.save(drawing.draw_figure(tables, file, selectors, top_fraction), folder / file.stem)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    p = cli.parser("Draw and caption the figures of a run, from the tables alone.")
    p.add_argument("--tables", type=Path, required=True, help="folder of the tables")
    p.add_argument("--more", nargs="*", default=[], metavar="NAME", help="tables that only some runs make")
    p.add_argument("--figures", required=True, metavar="JSON",
                   help="figures to draw: a list of objects with kind, model and selector")  # fmt: skip
    p.add_argument("--selectors", nargs="+", required=True, help="selectors to show side by side, in this order")
    p.add_argument("--top-fraction", type=float, required=True, help="size of the masks in all figures but dose")
    p.add_argument("--group-noun", default="culture", metavar="NOUN", help="what a group of questions is called")
    p.add_argument("--threads", type=int, default=1, help="figures that are drawn side by side")
    p.add_argument("--out-dir", type=Path, required=True, help="folder for the figures and captions.rst")
    return p


if __name__ == "__main__":
    from_results.run("figures", main, arguments())
