"""One caption per figure, made of the tables, for the report and for `snakemake --report` alike; and what the
random masks in them are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from culture_neurons.analysis.significance import LEVEL
from culture_neurons.errors import printable
from culture_neurons.report.figures import benchmark, finetuning, images, sets
from culture_neurons.report.figures.again import repeated
from culture_neurons.report.figures.effects import KINDS, asked, compared, kinds, most_judged
from culture_neurons.report.figures.modules import per_mask, said
from culture_neurons.report.figures.overlap import NONE, apart, most_structured, shared
from culture_neurons.report.figures.stability import basis as drawn_from
from culture_neurons.report.figures.stability import judged
from culture_neurons.report.figures.tables import (
    Tables,
    at_projections,
    layer_counts,
    percent,
    questions,
    rows,
    selector_name,
)
from culture_neurons.report.figures.titles import basis, found, plural
from culture_neurons.types import CULNIG


@dataclass(frozen=True)
class Entry:
    """A figure: its file name without suffix, what it shows, and its caption (plain text, names as they are)."""

    stem: str
    kind: str
    model: str
    selector: str
    caption: str


def named(tables: Tables, model: str) -> str:
    """A model's name in a sentence: the planted control always says so."""
    return f"{model} (planted)" if tables.is_planted(model) else model


def _listed(parts: list[str]) -> str:
    """ "a", "a and b", "a, b, and c"."""
    if len(parts) < 3:
        return " and ".join(parts)
    return f"{', '.join(parts[:-1])}, and {parts[-1]}"


def model_entries(tables: Tables, model: str, selectors: list[str], top_fraction: float) -> list[Entry]:
    """The figures of one model: drops and dose, then four per selector."""
    top, who = f"top {percent(top_fraction)}", named(tables, model)
    counted = [asked(tables, model, s, top_fraction) for s in selectors]
    n = plural(most_judged(tables, model, selectors, [top_fraction]), "evaluated question")
    of_all = plural(most_judged(tables, model, compared(tables, [model], selectors)), "evaluated question")
    words = {"self": "on its own questions", "cross": "on the other cultures'", "random": "under random masks"}
    where = _listed([words[kind] for kind in kinds(tables, model, selectors, [top_fraction])])
    entries = [
        Entry(f"drops_{model}", "drops", model, "", (
            f"{who}: change of accuracy (points) and of the right option's log-probability (nats) when a culture's "
            f"neurons ({top}) are masked{where and ': '}{where}. "
            f"{n}; small dots are single cultures, large marks are means over cultures with "
            f"95 % intervals."
        )),
        Entry(f"dose_{model}", "dose", model, "", (
            f"{who}: the same changes against the size of the mask, as a share of all neurons (log scale), with "
            f"95 % intervals. {of_all}."
        )),
    ]  # fmt: skip
    entries += _choice(tables, model, selectors, top_fraction)
    entries += _finetuning(tables, model)
    entries += _sets(tables, model, selectors)
    for selector in repeated(tables, model, selectors, "permutations"):
        part = rows(tables.more["permutations"], model, selector)
        entries.append(Entry(f"permutations_{model}_{selector}", "permutations", model, selector, (
            f"{who}: change of each culture's own questions under its own mask ({selector_name(selector)}, {top}; dots "
            f"with 95 % intervals over questions) against what masks of shuffled culture labels do: the chain from "
            f"statistics over scores to masks and answers, repeated {int(part['permutations'].max()):,} times. Grey: "
            f"95 % of these. {n}."
        )))  # fmt: skip
    for selector in repeated(tables, model, selectors, "strengths"):
        entries.append(Entry(f"strengths_{model}_{selector}", "strengths", model, selector, (
            f"{who}: change against the strength s of the intervention, g becomes (1 - s) g on the masked neurons "
            f"({selector_name(selector)}, {top}); s = 1 is zero ablation, beyond it their sign is turned. Means over "
            f"cultures with 95 % intervals. {n}."
        )))  # fmt: skip
    for selector, of in zip(selectors, counted, strict=True):
        _, counts = layer_counts(tables, model, selector, top_fraction)
        name = selector_name(selector)
        known = basis(tables, model, selector)
        chosen = found(counts) + ("" if known is None else f", chosen on {plural(*known)}")
        entries += [
            Entry(f"matrix_{model}_{selector}", "matrix", model, selector, (
                f"{who}: change under the mask of one culture (rows, {name}, {top}) on the questions of each "
                f"culture (columns): accuracy in points and log-probability of the right option in nats. "
                f"{plural(of, 'evaluated question')}; the diagonal, outlined, is each culture under its own mask."
            )),
            Entry(f"layers_{model}_{selector}", "layers", model, selector, (
                f"{who}: number and share of the neurons that {name} ({top}) selects in each decoder layer, all "
                f"cultures together. {chosen}; the dashed line is an even spread."
            )),
            Entry(f"layers-heatmap_{model}_{selector}", "layers-heatmap", model, selector, (
                f"{who}: where each culture's neurons lie ({name}, {top}), in % of the culture's neurons. {chosen}."
            )),
            Entry(f"layers-by-culture_{model}_{selector}", "layers-by-culture", model, selector, (
                f"{who}: number of neurons in each decoder layer, culture by culture ({name}, {top}). {chosen}."
            )),
        ]  # fmt: skip
    for selector in at_projections(tables, model, selectors):
        sites, counts, _, masks = per_mask(tables, model, selector, top_fraction)
        entries.append(Entry(f"modules_{model}_{selector}", "modules", model, selector, (
            f"{who}: neurons that {selector_name(selector)} ({top}) selects in each decoder layer, by module (the "
            f"MLP's gate, the attention's queries, keys and values): their number, stacked, and below it the share of "
            f"the module's units. {said(sites, counts, masks)}."
        )))  # fmt: skip
    return entries


def _choice(tables: Tables, model: str, selectors: list[str], top_fraction: float) -> list[Entry]:
    """How stable the choice of neurons is, and what cultures share; where the tables have it."""
    who, result = named(tables, model), []
    if judged(tables, model, selectors):
        result.append(Entry(f"stability_{model}", "stability", model, "", (
            f"{who}: what two masks share (Jaccard index), mean over cultures, by selector and size of the mask: masks "
            f"of two random halves of the images of {drawn_from(tables, model)}, and the mask and "
            f"those of bootstrap draws of these. Dashed: masks of these sizes anywhere in the model, for the selector "
            f"where that is most."
        )))  # fmt: skip
    if (selector := most_structured(tables, model, selectors, top_fraction)) is not None:
        if apart(shared(tables, model, selector, top_fraction)[1]):
            text = f"{who}: {NONE}, by any selector shown (top {percent(top_fraction)})."
            return [*result, Entry(f"overlap_{model}", "overlap", model, "", text)]
        result.append(Entry(f"overlap_{model}", "overlap", model, "", (
            f"{who}: neurons that the masks of two cultures share (Jaccard index in %, {selector_name(selector)}, top "
            f"{percent(top_fraction)}), in the order of a clustering by average linkage on 1 - Jaccard index; of all "
            f"selectors shown this is the one whose overlaps differ most."
        )))  # fmt: skip
    return result


def _finetuning(tables: Tables, model: str) -> list[Entry]:
    """What training on another task did; where the tables have it."""
    part = finetuning.whole(tables, model)
    if not len(part):
        return []
    tasks, n = list(dict.fromkeys(map(str, part["task"]))), plural(int(part["n"].max()), "question")
    seeds = plural(finetuning.seeds(tables, model), "seed")
    return [Entry(f"finetuning_{model}", "finetuning", model, "", (
        f"{named(tables, model)}: change of accuracy on each data set (at most {n}) after training on "
        f"{_listed(tasks)}, with the modules updated that are richest or poorest in chosen neurons, or random "
        f"ones; mean over {seeds}. Where richest and poorest differ (paired sign flips, two-sided, adjusted p < "
        f"{LEVEL:g}), a star: the richest end lower; a dagger: they end higher. "
        f"Right: accuracy on held-out questions of the task, from before (bar) to after (mark)."
    ))]  # fmt: skip


def _sets(tables: Tables, model: str, selectors: list[str]) -> list[Entry]:
    """What masks do on several data sets, where the tables have it."""
    who, result = named(tables, model), []
    if sets.shown(tables, model, selectors):
        part = rows(tables.more["sets"], model)
        of = _listed(
            [f"{name} ({plural(int(n), 'question')})" for name, n in part.groupby("set", sort=False)["n"].max().items()]
        )
        what = _listed([sets.does(factor) for factor in sets.factors(part)])
        result.append(Entry(f"sets_{model}", "sets", model, "", (
            f"{who}: accuracy on {of} without masks (black line) and with neurons (top "
            f"{percent(float(part['top_fraction'].iloc[0]))}) {what}, mean over the masks, with 95 % intervals of the "
            f"change; diamonds: random masks of the same size; dashed: chance."
        )))  # fmt: skip
    for selector in sets.differing(tables, model, selectors):
        part = rows(tables.more["sets_effects"], model, selector)
        found = ", ".join(sets.cells(tables, model, selector)) or "no data set"
        result.append(Entry(f"related_{model}_{selector}", "related", model, selector, (
            f"{who}: change of the right option's log-probability (nats) under the mask of one culture (rows, "
            f"{selector_name(selector)}, top {percent(float(part['top_fraction'].iloc[0]))}, neurons "
            f"{sets.does(min(sets.factors(part)))}) on the questions of each culture (columns), on {found}. Numbers, "
            f"or dots for the first three: rank of a loss among all cultures of the data set, 1 for the largest; a "
            f"gain has none. All data sets have the order of one clustering: cultures whose masks harm each other "
            f"more, or help each other less, than they do others stand side by side."
        )))  # fmt: skip
    return result


def overview_entries(tables: Tables, top_fraction: float) -> list[Entry]:
    """The figures of all models together."""
    who = ", ".join(named(tables, m) for m in tables.models)
    per_model = {questions(tables, m) or 0 for m in tables.models}
    n = plural(max(per_model, default=0), "question")
    shown = compared(tables, tables.models, dict.fromkeys(s for m in tables.models for s in tables.selectors(m)))
    counted = [most_judged(tables, m, shown, [top_fraction]) for m in tables.models]
    drawn = {kind for m in tables.models for kind in kinds(tables, m, shown, [top_fraction])}
    words = {"self": "on the own culture", "cross": "on other cultures", "random": "under random masks"}
    where = _listed([words[kind] for kind in KINDS if kind in drawn])
    entries = [
        Entry("overview", "overview", "", "", (
            f"Change {where}{where and ' '}(top {percent(top_fraction)}), by selector and model: {who}. "
            f"{plural(max(counted, default=0), 'evaluated question')} per model."
        )),
        Entry("baseline", "baseline", "", "", (
            f"Accuracy without any mask, per culture, with Wilson's 95 % interval: {who}. {n} per model."
        )),
    ]  # fmt: skip
    if "benchmark" in tables.more:
        table = tables.more["benchmark"]
        judged = ", ".join(named(tables, m) for m in benchmark.models(tables)) or "no model"
        how = _listed([benchmark.meaning(design) for design in benchmark.designs(table).values()])
        entries.append(Entry("benchmark", "benchmark", "", "", (
            f"How well selectors find the planted neurons of {judged}, from {how}: average precision on all planted "
            f"neurons and on the effective ones, which cost their culture at least 0.1 nats when they alone are "
            f"zeroed, and precision of the masks (top {percent(top_fraction)}). Bars are standard deviations over "
            f"draws, dashed lines what a random choice gives."
        )))  # fmt: skip
    if "images" in tables.more:
        of = max(images.asked(tables, m) for m in tables.models)
        words = {"shown": "as they are", "blank": "with a grey image of the same size", "none": "as text alone"}
        how = _listed(
            [words[control] for control in images.CONTROLS if control in set(tables.more["images"]["control"])]
        )
        entries.append(Entry("images", "images", "", "", (
            f"Accuracy on questions that have an image, asked {how}: {who}. Large marks are means over cultures with "
            f"95 % intervals, small dots are single cultures, the dashed line is what guessing gives. "
            f"{plural(of, 'question')} per model."
        )))  # fmt: skip
    return entries


def controls(selectors: Mapping[str, Any] | None) -> str:
    """What the random masks are that selectors are held against, from the config's selectors (name -> options).

    The choice is that of `random_controls.controls_for`: plain random masks only where no matched ones were run.
    """
    methods = {name: (options or {}).get("method", name) for name, options in (selectors or {}).items()}
    matched = [name for name, method in methods.items() if method == "random-matched"]
    matches = list(dict.fromkeys((selectors[name] or {}).get("match", "cas") for name in matched))
    attributed = [selector_name(name) for name in matches if methods.get(name) in CULNIG]
    names = [selector_name(name) for name in matches if methods.get(name) not in CULNIG]
    parts = []
    if len(names) == 1:
        parts.append(
            f"Random masks have, culture by culture, the layers, liveliness (how often neurons fire) and size of the "
            f"masks of {names[0]}, whichever selector they judge."
        )
    elif names:
        parts.append(
            f"Random masks are matched to {', '.join(names)}: culture by culture, they have the layers, "
            "liveliness (how often neurons fire) and size of that selector's masks. Each of these selectors is held "
            "against those matched to it, any other against all of them."
        )
    elif "random" in methods.values():
        parts.append("Random masks take as many neurons as a mask may have, anywhere in the model.")
    if attributed:
        parts.append(f"Random masks of {', '.join(attributed)} have as many units of each projection and layer.")
    return " ".join(parts)


def _rst(text: str) -> str:
    """`text` as one line of reStructuredText that shows every character literally, and what can't be seen escaped."""
    line = printable(" ".join(text.split()))
    return "".join(f"\\{c}" if c.isascii() and not c.isalnum() and not c.isspace() else c for c in line)


def as_rst(entries: list[Entry]) -> str:
    """All captions in one reStructuredText list, which the captions of the workflow's own report include."""
    return "".join(f"* **{_rst(e.stem)}**: {_rst(e.caption)}\n" for e in entries)
