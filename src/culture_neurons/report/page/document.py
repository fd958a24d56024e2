"""The page itself: everything that was found, handed to the template."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from culture_neurons.report.figures import caption_text, fonts
from culture_neurons.report.figures.tables import Tables, percent, questions
from culture_neurons.report.figures.titles import named, plural
from culture_neurons.report.nouns import CULTURE, plural_of, reword
from culture_neurons.report.page import culture_table, descriptions, grids, neurons, pictures, summary
from culture_neurons.report.registry import FigureFile
from culture_neurons.report.words import plain, units_on_line, visible
from culture_neurons.tables import TABLES

FOLDER = Path(__file__).parent
PACKAGES = ("torch", "transformers", "numpy", "pandas", "h5py", "matplotlib", "snakemake")


def render(
    tables: Tables,
    figures: Path,
    counts: pd.DataFrame,
    dropped: pd.DataFrame,
    run: Mapping[str, Any],
    training: Mapping[str, Mapping[str, Any]] | None = None,
    cards: Mapping[str, Mapping[str, Any]] | None = None,
    files: Sequence[FigureFile] = (),
) -> str:
    """The page. `run` may hold dataset, config, models, selectors, top_fraction, code and what else it likes; `cards`
    has, per model, what `steps.cards` wrote; `files` are the figures to show, of the folder `figures`.

    Every text from data is escaped. The same input gives the same page.
    """
    top_fraction = summary.main_fraction(tables, run.get("top_fraction"))
    every = list(dict.fromkeys(s for m in tables.models for s in tables.selectors(m)))
    selectors = [s for s in run.get("selectors") or every if s in every]
    config = run.get("config") or {}
    settings = {k: v for k, v in run.items() if k not in ("models", "dataset", "selectors", "top_fraction", "code")}
    selector = summary.main_selector(tables, list((config.get("evidence") or {}).get("selectors") or ()))
    chosen_on = {
        name: plain(options["choose_on"])
        for name, options in (config.get("selectors") or {}).items()
        if options and options.get("choose_on")
    }
    findings = summary.findings(tables, top_fraction, chosen_on)
    style, script = _source("document.css.j2"), _source("document.js.j2")
    return (
        environment(tables.noun)
        .get_template("document.html.j2")
        .render(
            style=style,
            group=tables.noun,
            groups=plural_of(tables.noun),
            script=script,
            style_digest=_digest(style),
            script_digest=_digest(script),
            dataset=plain(run.get("dataset", "")),
            top=percent(top_fraction),
            models=[named(tables, m) for m in tables.models],
            descriptions=descriptions.lines(tables, run, chosen_on),
            findings=reworded(findings, lambda text: units_on_line(tables.words(text))),
            carried=any(of["carried"] for f in findings for item in f["items"] for of in item["by_measure"].values()),
            cultures=culture_table.by_culture(tables, selector, top_fraction, chosen_on) if selector else None,
            controls=plain(tables.words(caption_text.controls(config.get("selectors")))),
            any_planted=any(tables.is_planted(m) for m in tables.models),
            n_questions=plural(
                max((questions(tables, m) or 0 for m in tables.models), default=0), "evaluated question"
            ),
            n_cultures=tables.words(plural(len(tables.cultures), "culture")),
            questions=_questions_in_words(counts),
            n_kept=int(counts["n"].sum()) if len(counts) else 0,
            n_dropped=len(dropped),
            counts=grids.table(grids.counts_table(counts, tables.words("all cultures")), "counts", words=tables.words)
            if len(counts)
            else None,
            dropped=grids.table(grids.dropped_table(dropped), "dropped", words=tables.words) if len(dropped) else None,
            model_table=grids.table(grids.models_table(tables, run, training or {}), "models"),
            figures=pictures.groups(tables, Path(figures), files, selectors, top_fraction),
            without_font={plain(name): drawn for name, drawn in fonts.without_font(tables.texts).items()},
            neurons=neurons.cards(tables, cards or {}),
            tables=grids.sections(tables),
            elsewhere=[
                (f"{name}.csv", len(table))
                for name, known in TABLES.items()
                if not known.shown and (table := tables.table(name)) is not None
            ],
            versions=versions(),
            code=dict(sorted((run.get("code") or {}).items())),
            model_settings=json.dumps(run.get("models", {}), indent=2, sort_keys=True, ensure_ascii=False),
            settings=json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False),
        )
    )


@cache
def versions() -> dict[str, str]:
    """Installed versions, read once and without importing anything; packages that are not here are left out."""
    result = {}
    for name in PACKAGES:
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            continue
    return result


def _questions_in_words(counts: pd.DataFrame) -> str:
    """Where the evaluated questions come from: "of 160 that were kept, 80 are there to choose neurons, ..."."""
    by_split = counts.groupby("split")["n"].sum() if len(counts) else {}
    chosen, evaluated = (int(by_split.get(split, 0)) for split in ("identify", "evaluate"))
    if not chosen or not evaluated:
        return ""
    return (
        f"of {chosen + evaluated:,} that were kept, {chosen:,} are there to choose neurons, by those of them that a "
        f"model answers right, and the other {evaluated:,} to judge them"
    )


def reworded(value: Any, words: Callable[[str], str]) -> Any:
    """Sentences of ours, in lists and by name, in the words of the run (`Tables.words`); names stay."""
    if isinstance(value, str):
        return words(value)
    if isinstance(value, dict):
        return {key: reworded(of, words) for key, of in value.items()}
    return [reworded(of, words) for of in value] if isinstance(value, list) else value


def _template(noun: str, name: str) -> str:
    """A template in which texts, which are ours, have the run's noun for a group; expressions and tags stay."""
    source = (FOLDER / name).read_text(encoding="utf-8")
    pieces = re.split(r"(\{\{.*?\}\}|\{%.*?%\}|<[^>]*>)", source)
    return "".join(piece if i % 2 else reword(piece, noun) for i, piece in enumerate(pieces))


@cache
def environment(noun: str = CULTURE) -> jinja2.Environment:
    """Templates of pages, whose own texts have this noun for a group; all else is escaped. Each is compiled once."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(partial(_template, noun)),
        autoescape=True,
        finalize=visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source(name: str) -> Markup:
    """Style or script of the page, as it lies beside the template."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def _digest(text: str) -> str:
    """What the page's security policy knows its own style and script by: no other one runs."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
