"""One self-contained HTML page: what was found and how sure it is, figures, tables, methods, provenance.

The words of the summary come from evidence.csv and summary.csv alone; whether a model is planted is
shown beside every verdict, and never decides one.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from culture_neurons.errors import ConfigError, FileError, printable
from culture_neurons.figures import captions
from culture_neurons.figures.tables import Tables, drops, percent, questions, rows, selector_name
from culture_neurons.figures.titles import DASH, number, plural
from culture_neurons.files import damaged

TEMPLATE = Path(__file__).with_name("report.html.j2")
PACKAGES = ("torch", "transformers", "numpy", "pandas", "h5py", "matplotlib", "snakemake")

SPECIFIC = "culture-specific"
DAMAGE = "unspecific damage"
NOTHING = "not distinguishable from random masks"
TOO_FEW = "too few cultures to tell"
UNTESTED = "not tested"

#: How a headline puts each verdict; the key is the word in evidence.csv.
HEADLINES = {
    SPECIFIC: "culture-specific",
    DAMAGE: "damage, not shown to be specific to the culture",
    NOTHING: NOTHING,
    TOO_FEW: "no verdict, as there are too few cultures to tell an effect from luck",
    UNTESTED: "not tested, as random masks of its size or questions are missing",
}
BADGES = {SPECIFIC: "specific", DAMAGE: "damage", NOTHING: "nothing"}

#: measure -> (noun phrase, unit, decimals)
MEASURES = {
    "accuracy": ("accuracy", "points", 1),
    "logprob": ("log-probability of the right option", "nats", 3),
}
#: Columns that the page leaves to the files; rates are in effects.csv too.
LEFT_OUT = {"summary": r"well_formed|flip", "evidence": r"^(unit|n_controls|n_cultures)$"}
#: Changes (x_drop) that are shown with their intervals (x_drop_low, x_drop_high).
INTERVALS = [f"{kind}{infix}" for kind in ("self", "cross", "random_self") for infix in ("", "_logprob")]
#: Rows of a table that the page shows; longer ones are named with their file.
MOST_ROWS = 2000


def plain(text: Any) -> str:
    """Text from data in one line, with invisible controls shown."""
    return printable(" ".join(str(text).split()))


def visible(value: Any) -> Any:
    """Whatever the template puts into the page: a text with its controls shown, but for line feeds."""
    return type(value)("\n".join(map(printable, value.split("\n")))) if isinstance(value, str) else value


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "p unknown"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _lowered(value: float, what: str, unit: str, decimals: int) -> str:
    """ "lowers accuracy by 2.0 points": one change in words."""
    if not np.isfinite(value):
        return f"has no measured effect on {what}"
    size = f"{abs(value):.{decimals}f}"
    if float(size) == 0:
        return f"leaves {what} unchanged (0 {unit})"
    return f"{'lowers' if value < 0 else 'raises'} {what} by {size} {unit}"


def _interval(row: pd.Series, unit: str, decimals: int) -> str:
    if not np.isfinite(row["difference"]):
        return UNTESTED
    return (
        f"{number(row['difference'], decimals)} {unit} (95 % interval {number(row['ci_low'], decimals)} to "
        f"{number(row['ci_high'], decimals)}, adjusted {_p(float(row['p_adjusted']))})"
    )


def main_fraction(tables: Tables, wanted: Any = None) -> float:
    """The top fraction of the summary: the wanted one, or the one closest to 1 %."""
    known = sorted(set(tables.summary["top_fraction"].astype(float)))
    if not known:
        raise FileError("summary.csv holds no result; run the ablations again")
    if wanted is None:
        return min(known, key=lambda r: (abs(math.log(r / 0.01)), r))
    if not np.isclose(known, float(wanted), rtol=1e-9, atol=0).any():
        raise ConfigError(f"no result at top fraction {wanted}; the tables have {known}")
    return float(wanted)


def findings(tables: Tables, top_fraction: float) -> list[dict[str, Any]]:
    """Per model: who, planted, headlines (measures, verdicts, selectors) and one item per selector.

    An item has a sentence with its verdict for each measure of evidence.csv, and the intervals behind it.
    """
    result = []
    for model in tables.models:
        who = captions.named(tables, model)
        evidence = rows(tables.evidence, model, None, top_fraction)
        items = []
        for selector, part in evidence.groupby("selector", sort=False):
            said = {
                measure: _finding(tables, who, model, str(selector), top_fraction, measure, of_measure)
                for measure in MEASURES
                if len(of_measure := part[part["measure"].str.startswith(measure)])
            }
            items.append({"selector": selector_name(str(selector)), "said": said})
        result.append({
            "model": model, "planted": tables.is_planted(model), "who": who, "items": items,
            "headlines": _headlines(items),
        })  # fmt: skip
    return result


def _finding(
    tables: Tables, who: str, model: str, selector: str, top_fraction: float, measure: str, evidence: pd.DataFrame
) -> dict[str, Any]:
    what, unit, decimals = MEASURES[measure]
    drop = drops(tables, model, selector, top_fraction, measure)
    against = {str(row["comparison"]): _interval(row, unit, decimals) for _, row in evidence.iterrows()}
    verdict = str(evidence["verdict"].iloc[0])
    others = ", and ".join(
        f"{who_else} {number(drop[kind].value, decimals)} {unit}"
        for kind, who_else in (("cross", "it changes the other cultures' by"), ("random", "random masks change it by"))
        if np.isfinite(drop[kind].value)  # what was not measured is not spoken of
    )
    return {
        "verdict": verdict,
        "badge": BADGES.get(verdict, "nothing"),
        "text": (
            f"{who}: masking a culture's own neurons ({selector_name(selector)}, top {percent(top_fraction)}) "
            f"{_lowered(drop['self'].value, f'its {what}', unit, decimals)}{'; ' if others else ''}{others}"
        ),
        "detail": "; ".join(
            f"against {name}: {against[key]}"
            for key, name in (("self-vs-random", "random masks"), ("self-vs-cross", "the other cultures' masks"))
            if key in against
        ),
        "n": int(evidence["n"].max()),
    }


def _headlines(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Selectors by verdict, per measure; measures that agree are said together."""
    result: list[dict[str, Any]] = []
    for measure, (what, *_) in MEASURES.items():
        by_verdict: dict[str, list[str]] = {}
        for item in items:
            if measure in item["said"]:
                by_verdict.setdefault(item["said"][measure]["verdict"], []).append(item["selector"])
        parts = [
            {"words": HEADLINES.get(verdict, verdict), "badge": BADGES.get(verdict, "nothing"), "selectors": names}
            for verdict, names in sorted(by_verdict.items(), key=lambda pair: _order(pair[0]))
        ]
        if result and result[-1]["parts"] == parts:
            result[-1]["measures"].append(what)
        elif parts:
            result.append({"measures": [what], "parts": parts})
    return result


def _order(verdict: str) -> tuple[int, str]:
    known = list(HEADLINES)
    return (known.index(verdict) if verdict in known else len(known), verdict)


def _bracket(ends: list[Any], decimals: int | None) -> str:
    return f" [{', '.join(number(v, decimals) for v in ends)}]" if ends and not any(map(pd.isna, ends)) else ""


def table(frame: pd.DataFrame, name: str, decimals: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A table for the page: header, rows of (text, is number), and how many rows were left out.

    The ends of `INTERVALS` become a bracket behind their value.
    """
    decimals = decimals or {}
    ends = {f"{c}_drop": (f"{c}_drop_low", f"{c}_drop_high") for c in INTERVALS}
    ends = {c: pair for c, pair in ends.items() if {c, *pair} <= set(frame)}
    hidden = {end for pair in ends.values() for end in pair}
    numeric = {c: pd.api.types.is_numeric_dtype(frame[c]) for c in frame.columns}
    body = []
    for record in frame.head(MOST_ROWS).to_dict("records"):
        mark = str(record.get("planted", "")) == "yes"
        cells = [
            (number(v, decimals.get(c)) + _bracket([record[e] for e in ends.get(c, ())], decimals.get(c)), True)
            if numeric[c]
            else (plain(DASH if pd.isna(v) else v), False)
            for c, v in record.items()
            if c not in hidden
        ]
        body.append({"planted": mark, "cells": cells})
    return {
        "name": name,
        "columns": [(str(c).replace("_", " "), numeric[c]) for c in frame.columns if c not in hidden],
        "rows": body,
        "left_out": max(0, len(frame) - MOST_ROWS),
        "total": len(frame),
    }  # fmt: skip


def counts_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Questions per culture: one column per category, then per split, then all."""
    by_category = counts.pivot_table(index="culture", columns="category", values="n", aggfunc="sum", fill_value=0)
    by_split = counts.pivot_table(index="culture", columns="split", values="n", aggfunc="sum", fill_value=0)
    splits = [s for s in ("identify", "evaluate") if s in by_split] + [
        s for s in by_split if s not in ("identify", "evaluate")
    ]
    result = pd.concat([by_category.add_prefix("category: "), by_split[splits].add_prefix("split: ")], axis=1)
    result["all"] = by_split.sum(axis=1)
    total = result.sum().to_frame("all cultures").T  # a row of its own: a culture may be called so
    return pd.concat([result, total]).rename_axis("culture").reset_index()


def dropped_table(dropped: pd.DataFrame) -> pd.DataFrame:
    """Rows left out: reason, culture, number of rows; most frequent reason first."""
    frame = dropped.assign(culture=dropped["culture"].fillna("(none)") if "culture" in dropped else "(none)")
    result = frame.groupby(["reason", "culture"], dropna=False).size().rename("rows").reset_index()
    weight = result.groupby("reason")["rows"].transform("sum")
    result = result.assign(weight=weight).sort_values(["weight", "reason", "culture"], ascending=[False, True, True])
    return result.drop(columns="weight")


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys; lists of settings stay as JSON."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    result: dict[str, Any] = {}
    for key in value:
        result.update(flat(value[key], f"{prefix}.{key}" if prefix else str(key)))
    return result


def models_table(tables: Tables, run: Mapping[str, Any], training: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per model: planted, source, revision, training accuracy, baseline accuracy, questions."""
    records = []
    for model in tables.models:
        stanza = dict(run.get("models", {}).get(model) or {})
        base = rows(tables.baseline, model)
        trained = flat(training.get(model, {}))
        record: dict[str, Any] = {
            "model": model,
            "planted": "yes" if tables.is_planted(model) else "no",
            "source": str(stanza.get("path") or ("trained in this run" if "train" in stanza or trained else DASH)),
            "revision": str(stanza.get("revision") or DASH),
        }
        for key, value in trained.items():
            if "accuracy" in key and isinstance(value, (int, float)) and not isinstance(value, bool):
                record[f"training: {key} (%)"] = 100 * float(value) if value <= 1 else float(value)
        record["baseline accuracy (%)"] = 100 * float(pd.to_numeric(base["accuracy"]).mean())
        if "well_formed_rate" in base:
            record["well-formed answers (%)"] = 100 * float(pd.to_numeric(base["well_formed_rate"]).mean())
        record["evaluate questions"] = questions(tables, model) or 0
        if "n_identify_correct" in base:
            record["identify questions answered correctly"] = questions(tables, model, "n_identify_correct") or 0
        records.append(record)
    return pd.DataFrame(records)


def image(folder: Path, entry: captions.Entry) -> dict[str, Any] | None:
    """One figure for the page, its PNG inline; None when the folder does not have it."""
    path = folder / f"{entry.stem}.png"
    if not path.is_file():
        return None
    data = path.read_bytes()
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < 24:
        raise damaged(path, "damaged or no PNG file")
    width = int.from_bytes(data[16:20], "big")
    return {
        "source": Markup("data:image/png;base64," + base64.b64encode(data).decode()),
        "caption": plain(entry.caption),
        "alt": plain(f"{entry.kind.replace('-', ' ')} figure. {entry.caption}"),
        "wide": width > 900,
        "kind": entry.kind,
        "selector": selector_name(entry.selector) if entry.selector else "",
    }


def figure_groups(tables: Tables, folder: Path, selectors: list[str], top_fraction: float) -> dict[str, Any]:
    """The figures in the order of the page: overview, then per model its own and those of each selector."""
    overview = {e.stem: image(folder, e) for e in captions.overview_entries(tables, top_fraction)}
    models = []
    for model in tables.models:
        entries = captions.model_entries(tables, model, [s for s in selectors if s in tables.selectors(model)],
                                         top_fraction)  # fmt: skip
        first = [i for e in entries if not e.selector and (i := image(folder, e))]
        groups: dict[str, list[dict[str, Any]]] = {}
        for entry in entries:
            if entry.selector and (shown := image(folder, entry)):
                groups.setdefault(selector_name(entry.selector), []).append(shown)
        models.append({"who": captions.named(tables, model), "planted": tables.is_planted(model), "first": first,
                       "groups": groups})  # fmt: skip
    return {"overview": overview.get("overview"), "baseline": overview.get("baseline"), "models": models}


def _without(frame: pd.DataFrame, pattern: str) -> pd.DataFrame:
    return frame[[c for c in frame.columns if not re.search(pattern, c)]]


def versions() -> dict[str, str]:
    """Installed versions, read without importing anything; packages that are not here are left out."""
    result = {}
    for name in PACKAGES:
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            continue
    return result


def render(
    tables: Tables,
    figures: Path,
    counts: pd.DataFrame,
    dropped: pd.DataFrame,
    run: Mapping[str, Any],
    training: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The page. `run` may hold dataset, config, models, selectors, top_fraction, code and what else it likes.

    Every text from data is escaped. The same input gives the same page.
    """
    top_fraction = main_fraction(tables, run.get("top_fraction"))
    every = list(dict.fromkeys(s for m in tables.models for s in tables.selectors(m)))
    selectors = [s for s in run.get("selectors") or every if s in every]
    settings = {k: v for k, v in run.items() if k not in ("models", "dataset", "selectors", "top_fraction", "code")}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        finalize=visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    evidence = dict.fromkeys(("difference", "ci_low", "ci_high"), 3)
    evidence |= dict.fromkeys(("p_value", "p_adjusted", "p_questions", "p_masks"), 4)
    summary = {c: 3 if "logprob" in c else 2 for c in tables.summary if "drop" in c or "specific" in c}
    shown = [
        table(_without(tables.summary, LEFT_OUT["summary"]), "summary", summary),
        table(_without(tables.evidence, LEFT_OUT["evidence"]), "evidence", evidence),
        table(tables.baseline, "baseline", {"accuracy": 3, "well_formed_rate": 3, "logprob": 3}),
        *([table(tables.planted, "planted", {"precision": 3, "recall": 3})] if len(tables.planted) else []),
    ]
    return environment.get_template(TEMPLATE.name).render(
        dataset=plain(run.get("dataset", "")),
        top=percent(top_fraction),
        models=[captions.named(tables, m) for m in tables.models],
        findings=findings(tables, top_fraction),
        controls=plain(captions.controls((run.get("config") or {}).get("selectors"))),
        any_planted=any(tables.is_planted(m) for m in tables.models),
        n_questions=plural(max((questions(tables, m) or 0 for m in tables.models), default=0), "evaluated question"),
        n_cultures=plural(len(tables.cultures), "culture"),
        n_kept=int(counts["n"].sum()) if len(counts) else 0,
        n_dropped=len(dropped),
        counts=table(counts_table(counts), "counts") if len(counts) else None,
        dropped=table(dropped_table(dropped), "dropped") if len(dropped) else None,
        model_table=table(models_table(tables, run, training or {}), "models"),
        figures=figure_groups(tables, Path(figures), selectors, top_fraction),
        tables=shown,
        elsewhere=[("effects.csv", len(tables.effects)), ("layers.csv", len(tables.layers))],
        versions=versions(),
        code=dict(sorted((run.get("code") or {}).items())),
        model_settings=json.dumps(run.get("models", {}), indent=2, sort_keys=True, ensure_ascii=False),
        settings=json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False),
    )
