"""Every figure of a run, once: what draws and captions it, when, and what docs say of it.

Which figures a run has is decided here from its config, never from its data: where these have nothing to draw, the
figure says so in a line of words. A new figure is an entry of `FIGURES`. Light to import: what draws is loaded by
`figures.drawing`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from culture_neurons.errors import ConfigError, nearest
from culture_neurons.tables import TABLES

#: Tables of every run that figures and report read beside the ones without which nothing is drawn.
ALSO_READ = ("cultures", "differences")


def chosen(run: Any) -> list[str]:
    """Selectors with figures of their own: the config's `figures: selectors`, without it those whose masks are ablated
    again, without these the first one."""
    wanted = (run.config.get("figures") or {}).get("selectors")
    if wanted == "all":
        return list(run.shown)
    return [name for name in run.shown if name in (run.repeated if wanted is None else wanted)] or list(run.shown[:1])


def ablated_again(run: Any) -> list[str]:
    """Those of the chosen selectors whose masks are ablated again."""
    return [name for name in chosen(run) if name in run.repeated]


def evaluated_on_sets(run: Any) -> list[str]:
    """Those of the chosen selectors that are judged on further data sets and have masks that differ by culture."""
    return [name for name in chosen(run) if name in run.evaluated and run.methods[name] != "culnig-general"]


@dataclass(frozen=True)
class Figure:
    """A kind of figure.

    kind       first part of its files' names
    per        "run": one for all models; "model": one for each; "selector": one for each model and chosen selector
    plot       function of `report.figures` that draws it, as module.name
    caption    likewise: its caption, a sentence or two with the numbers of questions
    empty      likewise: why there is nothing to draw, "" where there is something
    shows      what it shows, for the docs
    reads      tables that only some runs make: a run that makes them has the figure
    selectors  which selectors of a run have it, where it is per selector
    folded     whether the report shows it only on demand: it has what another one sums up
    """

    kind: str
    per: str
    plot: str
    caption: str
    empty: str
    shows: str
    reads: tuple[str, ...] = ()
    selectors: Callable[[Any], list[str]] = chosen
    folded: bool = False

    def needs(self, run: Any) -> bool:
        """Whether a run has such figures."""
        return all(TABLES[name].needs(run) for name in self.reads)

    @property
    def pattern(self) -> str:
        """Names of its files without suffix."""
        return self.kind + {"run": "", "model": "_{model}", "selector": "_{model}_{selector}"}[self.per]


class FigureFile(NamedTuple):
    """A figure of a run; `model` and `selector` are empty where it is of all."""

    kind: str
    model: str = ""
    selector: str = ""

    @property
    def stem(self) -> str:
        """Name of its files without suffix."""
        return "_".join(filter(None, self))


def write_list(files: Iterable[FigureFile]) -> str:
    """Figures as JSON, as steps take them: a list of objects with kind, model and selector."""
    return json.dumps([file._asdict() for file in files], ensure_ascii=False)


def read_list(text: str) -> list[FigureFile]:
    """The figures of such a list. Raises ConfigError for anything else."""
    try:
        listed = json.loads(text)
        if not isinstance(listed, list):
            raise TypeError(f"found {text[:60]}")
        figures = [FigureFile(**entry) for entry in listed]
    except (ValueError, TypeError) as error:
        raise ConfigError(f"figures: expected a JSON list of objects with kind, model and selector ({error})") from None
    for file in figures:
        if file.kind not in FIGURES:
            hint = nearest(file.kind, list(FIGURES))
            raise ConfigError(f"figures: unknown kind {file.kind!r}{hint}; known: {', '.join(FIGURES)}")
    return figures


_ALL = (
    Figure(
        "overview", "run", "overview.plot_overview", "overview.caption_overview", "overview.no_overview",
        "how much more own masks do than random ones and than other cultures', with the intervals of the verdicts, by "
        "selector and model",
    ),
    Figure(
        "forest", "run", "forest.plot_forest", "forest.caption_forest", "forest.no_forest",
        "each culture's change under its own mask, all models and selectors",
    ),
    Figure(
        "own-against-cross", "run", "forest.plot_own_against_cross", "forest.caption_own_against_cross",
        "forest.no_own_against_cross",
        "each culture's change under its own mask against that under the others', all models and selectors",
    ),
    Figure(
        "depth", "run", "depth.plot_depth", "depth.caption_depth", "depth.no_depth",
        "neurons by relative depth, all models on top of each other, a panel per selector",
    ),
    Figure(
        "baseline", "run", "baseline.plot_baseline", "baseline.caption_baseline", "baseline.no_baseline",
        "accuracy without masks per culture, all models",
    ),
    Figure(
        "images", "run", "images.plot_images", "images.caption_images", "images.no_images",
        "accuracy with the image, with a grey one, without, and with another culture's, all models and data sets with "
        "images; with `evidence.image_controls`",
        ("images",),
    ),
    Figure(
        "benchmark", "run", "benchmark.plot_benchmark", "benchmark.caption_benchmark", "benchmark.no_benchmark",
        "how well selectors find planted neurons; with a planted model and `evidence.benchmark.repeats`",
        ("benchmark",),
    ),
    Figure(
        "drops", "model", "effects.plot_drops", "effects.caption_drops", "effects.no_drops",
        "self, cross and random drops by selector",
        folded=True,
    ),
    Figure(
        "dose", "model", "effects.plot_dose", "effects.caption_dose", "effects.no_dose",
        "drops against top fraction",
        folded=True,
    ),
    Figure(
        "layers", "model", "layers.plot_layers", "layers.caption_layers", "layers.no_layers",
        "share of a selector's neurons in each layer, mean and each culture, a panel per selector; of selectors by "
        "attribution stacked by module (MLP, attention)",
        folded=True,
    ),
    Figure(
        "stability", "model", "stability.plot_stability", "stability.caption_stability", "stability.no_stability",
        "what masks of random halves, and of bootstrap draws, share; with `evidence.resamples` or "
        "`evidence.split_halves`",
        ("stability",),
        folded=True,
    ),
    Figure(
        "overlap", "model", "overlap.plot_overlap", "overlap.caption_overlap", "overlap.no_overlap",
        "neurons that cultures share, clustered; of the selector whose overlaps differ most",
        ("overlaps",),
        folded=True,
    ),
    Figure(
        "sets", "model", "sets.plot_sets", "sets.caption_sets", "sets.no_sets",
        "accuracy on several data sets, without masks, under them and under random ones, by selector and factor; with "
        "`evaluation.sets`",
        ("sets",),
        folded=True,
    ),
    Figure(
        "transfer", "model", "transfer.plot_transfer", "transfer.caption_transfer", "transfer.no_transfer",
        "what masks do to their own culture's questions, to others, and random ones to all, on each data set; with "
        "`evaluation.sets`",
        ("sets",),
    ),
    Figure(
        "data-overlaps", "model", "data_overlaps.plot_data_overlaps", "data_overlaps.caption_data_overlaps",
        "data_overlaps.no_data_overlaps",
        "what masks chosen on different data share, by culture and by layer, against chance; with `choose_on`",
        ("data_overlaps",),
    ),
    Figure(
        "finetuning", "model", "finetuning.plot_finetuning", "finetuning.caption_finetuning",
        "finetuning.no_finetuning",
        "change of accuracy per data set after training on another task, by choice of modules; accuracy on the task; "
        "with `finetuning.tasks`",
        ("finetuning",),
    ),
    Figure(
        "matrix", "selector", "matrix.plot_matrix", "matrix.caption_matrix", "matrix.no_matrix",
        "every mask on every culture's questions",
    ),
    Figure(
        "robustness", "selector", "robustness.plot_robustness", "robustness.caption_robustness",
        "robustness.no_robustness",
        "own changes against shuffled labels, culture by culture, and drops against the strength of the intervention; "
        "of `evidence.selectors`, with `evidence.permutations` or `evidence.strengths`",
        ("permutations", "strengths"), ablated_again,
        folded=True,
    ),
    Figure(
        "related", "selector", "related.plot_related", "related.caption_related", "related.no_related",
        "which cultures a culture's mask harms, on each data set that has them, by the smallest factor; with "
        "`evaluation.sets`, not of `culnig-general`",
        ("sets", "sets_effects"), evaluated_on_sets,
        folded=True,
    ),
)  # fmt: skip

#: By kind, in the order of the report.
FIGURES: Mapping[str, Figure] = MappingProxyType({figure.kind: figure for figure in _ALL})


def figures_of(run: Any) -> list[FigureFile]:
    """The figures of a run: those of all models, then model by model its own and those of each chosen selector."""
    kinds = [figure for figure in FIGURES.values() if figure.needs(run)]
    files = [FigureFile(figure.kind) for figure in kinds if figure.per == "run"]
    for model in run.models:
        files += [FigureFile(figure.kind, model) for figure in kinds if figure.per == "model"]
        files += [
            FigureFile(figure.kind, model, selector)
            for selector in chosen(run)
            for figure in kinds
            if figure.per == "selector" and selector in figure.selectors(run)
        ]
    return files
