"""Write the report, one self-contained HTML page from the tables and figures of a run, and tables for a paper."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from culture_neurons.steps import cli, from_results, history

if TYPE_CHECKING:
    from culture_neurons.report.figures.tables import Tables


def main(o: argparse.Namespace) -> None:
    """tables/*.csv, figures/* -> report.html, and those of summary.tex, drops.tex, sets.tex that are asked for"""
    from culture_neurons import __version__, layout
    from culture_neurons.files import read_csv, read_json, write_text
    from culture_neurons.report.figures import tables
    from culture_neurons.report.nouns import CULTURE
    from culture_neurons.report.page import document
    from culture_neurons.report.registry import read_list

    training = {model: read_json(path) for (model,), path in layout.by("training", o.training, "model").items()}
    noun = (o.run.get("config") or {}).get("group_noun") or CULTURE
    read = tables.read(o.tables, filter(None, o.more), noun)
    page = document.render(
        read,
        o.figures,
        counts=read_csv(o.counts, ["culture", "category", "split", "n"], text=["culture", "category", "split"]),
        dropped=read_csv(o.dropped, ["sample_id", "reason"], text=["sample_id", "culture", "reason"]),
        run=_with_provenance({"package version": __version__, **o.run}, o.provenance),
        training=training,
        cards={model: read_json(path) for (model,), path in layout.by("cards", o.cards, "model").items()},
        files=read_list(o.show),
    )
    write_text(o.out, page)
    cli.log.info("%s: %.1f MB, %d figures", o.out, len(page.encode()) / 1e6, page.count("<figure"))
    for path, text in _for_a_paper(o, read):
        write_text(path, text)
        cli.log.info("%s: %d rows", path, text.count(r" \\"))


def _for_a_paper(o: argparse.Namespace, read: Tables) -> Iterator[tuple[Path, str]]:
    """The tables for a paper that are asked for: self and cross drops; what each culture loses under its own mask; and
    accuracies, where masks were judged on several data sets."""
    from culture_neurons.report import latex, latex_sets

    if o.summary:
        yield o.summary, latex.summary(read, o.selectors, o.top_fraction)
    if o.drops:
        yield o.drops, latex.culture_drops(read, o.selectors[0], o.top_fraction)
    if o.sets:
        yield o.sets, latex_sets.accuracies(read, o.selectors)


def _with_provenance(run: dict[str, Any], made: list[Path]) -> dict[str, Any]:
    """The run with what made its tables: code digests, and the revision and dtype of each model."""
    if not made:
        return run
    run_history = history.read(made)
    models = {name: dict(stanza) for name, stanza in run.get("models", {}).items()}
    for name, identity in run_history["models"].items():
        models.setdefault(name, {}).update(identity)
    code = {step: ", ".join(entry["code"]) for step, entry in run_history["steps"].items()}
    return {**run, "models": models, "code": code}


def run_settings(text: str) -> dict[str, Any]:
    """Argument type: a JSON object, or the path of a file that holds one."""
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise argparse.ArgumentTypeError(f"neither a JSON object nor a readable file ({error})") from None
    return cli.json_object(text)


def arguments() -> argparse.ArgumentParser:
    p = cli.parser(__doc__)
    p.add_argument("--tables", type=Path, required=True, help="folder of all tables")
    p.add_argument("--more", nargs="*", default=[], metavar="NAME", help="tables that only some runs make, to show")
    p.add_argument("--figures", type=Path, required=True, help="folder of the figures of steps.figures")
    p.add_argument("--show", default="[]", metavar="JSON",
                   help="figures of that folder to show, as steps.figures takes them; none: no figure")  # fmt: skip
    p.add_argument("--dropped", type=Path, required=True, help="dropped.csv of steps.prepare")
    p.add_argument("--counts", type=Path, required=True, help="counts.csv of steps.prepare")
    p.add_argument("--run", type=run_settings, default={}, metavar="JSON",
                   help="what was run, as a JSON object or a file of one: dataset, config, models, selectors (in the "
                   "order of the page), top_fraction (of the summary), code (step: digest)")  # fmt: skip
    p.add_argument("--provenance", type=Path, nargs="*", default=[], help="provenance_*.json of the tables")
    p.add_argument("--training", type=Path, nargs="*", default=[],
                   help="JSON files with the accuracies of models that this run trained")  # fmt: skip
    p.add_argument("--cards", type=Path, nargs="*", default=[],
                   help="cards.json of models: their strongest neurons one by one")  # fmt: skip
    p.add_argument("--out", type=Path, required=True, help="the page")
    p.add_argument("--selectors", nargs="*", default=[], help="of the tables for a paper; drops shows the first one")
    p.add_argument("--top-fraction", type=float, help="size of the masks in these tables")
    p.add_argument("--summary", type=Path, nargs="?", help="table of self and cross drops")
    p.add_argument("--drops", type=Path, nargs="?", help="table of the cultures under their own masks")
    p.add_argument("--sets", type=Path, nargs="?", help="table of accuracies on several data sets, of --more sets")
    return p


if __name__ == "__main__":
    from_results.run("report", main, arguments())
