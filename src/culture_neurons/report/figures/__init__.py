"""Figures of a paper, from the tables of a run alone.

    tables = read("results/demo/tables")
    figure = plot_matrix(tables, "demo-qwen2.5-vl", "cas", 0.01)
    save(figure, "matrix")

Every `plot_...` returns a matplotlib Figure; those with one panel take an `ax` to draw on. Nothing is
known to pyplot, so nothing needs closing. Readable at column width, colour-blind safe, same bytes each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from matplotlib.figure import Figure

from culture_neurons.report.figures.again import plot_permutations, plot_strengths, repeated
from culture_neurons.report.figures.benchmark import plot_benchmark
from culture_neurons.report.figures.effects import plot_dose, plot_drops, plot_matrix
from culture_neurons.report.figures.finetuning import plot_finetuning, whole
from culture_neurons.report.figures.images import plot_images
from culture_neurons.report.figures.layers import plot_layers, plot_layers_by_culture, plot_layers_heatmap
from culture_neurons.report.figures.models import plot_baseline, plot_overview
from culture_neurons.report.figures.modules import plot_modules
from culture_neurons.report.figures.overlap import most_structured, plot_overlap
from culture_neurons.report.figures.related import plot_related
from culture_neurons.report.figures.sets import differing, plot_sets, shown
from culture_neurons.report.figures.stability import judged, plot_stability
from culture_neurons.report.figures.style import save
from culture_neurons.report.figures.tables import Tables, at_projections, read

__all__ = [
    "Tables",
    "model_figures",
    "overview_figures",
    "plot_baseline",
    "plot_benchmark",
    "plot_dose",
    "plot_drops",
    "plot_finetuning",
    "plot_images",
    "plot_layers",
    "plot_layers_by_culture",
    "plot_layers_heatmap",
    "plot_matrix",
    "plot_modules",
    "plot_overlap",
    "plot_overview",
    "plot_permutations",
    "plot_related",
    "plot_sets",
    "plot_stability",
    "plot_strengths",
    "read",
    "save",
]

#: Figures that a model has once per selector: prefix of the file name and function.
PER_SELECTOR: dict[str, Callable[..., Figure]] = {
    "matrix": plot_matrix,
    "layers": plot_layers,
    "layers-heatmap": plot_layers_heatmap,
    "layers-by-culture": plot_layers_by_culture,
}

#: The same of selectors whose chain was repeated: table, and prefix of the file name, and function.
REPEATED: dict[str, Callable[..., Figure]] = {"permutations": plot_permutations, "strengths": plot_strengths}


def model_figures(
    tables: Tables, model: str, selectors: list[str], top_fraction: float
) -> Iterator[tuple[str, Figure]]:
    """Draw the figures of one model: (file name without suffix, figure), as `captions.model_entries` lists them."""
    yield f"drops_{model}", plot_drops(tables, model, selectors, top_fraction)
    yield f"dose_{model}", plot_dose(tables, model, selectors)
    if judged(tables, model, selectors):
        yield f"stability_{model}", plot_stability(tables, model, selectors)
    if (structured := most_structured(tables, model, selectors, top_fraction)) is not None:
        yield f"overlap_{model}", plot_overlap(tables, model, structured, top_fraction)
    if len(whole(tables, model)):
        yield f"finetuning_{model}", plot_finetuning(tables, model)
    if shown(tables, model, selectors):
        yield f"sets_{model}", plot_sets(tables, model, selectors)
    for selector in differing(tables, model, selectors):
        yield f"related_{model}_{selector}", plot_related(tables, model, selector)
    for name, plot in REPEATED.items():
        for selector in repeated(tables, model, selectors, name):
            yield f"{name}_{model}_{selector}", plot(tables, model, selector)
    for selector in selectors:
        for prefix, plot in PER_SELECTOR.items():
            yield f"{prefix}_{model}_{selector}", plot(tables, model, selector, top_fraction)
    for selector in at_projections(tables, model, selectors):
        yield f"modules_{model}_{selector}", plot_modules(tables, model, selector, top_fraction)


def overview_figures(tables: Tables, selectors: list[str], top_fraction: float) -> Iterator[tuple[str, Figure]]:
    """Draw the figures of all models together."""
    yield "overview", plot_overview(tables, tables.models, selectors, top_fraction)
    yield "baseline", plot_baseline(tables)
    if "benchmark" in tables.more:
        yield "benchmark", plot_benchmark(tables, selectors, top_fraction)
    if "images" in tables.more:
        yield "images", plot_images(tables)
