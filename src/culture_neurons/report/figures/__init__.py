"""Figures of a paper, from the tables of a run alone.

    tables = read("results/demo/tables")
    figure = plot_matrix(tables, "smollm2-eye", "cas", 0.01)
    save(figure, "matrix")

Every `plot_...` returns a matplotlib Figure; those with one panel take an `ax` to draw on. Nothing is known to pyplot,
so nothing needs closing. Readable at column width, colour-blind safe, same bytes each time. Which figures a run has,
and what draws and captions each, is in `report.registry`; `drawing` does it.
"""

from __future__ import annotations

from culture_neurons.report.figures.baseline import plot_baseline
from culture_neurons.report.figures.benchmark import plot_benchmark
from culture_neurons.report.figures.data_overlaps import plot_data_overlaps
from culture_neurons.report.figures.depth import plot_depth
from culture_neurons.report.figures.effects import plot_dose, plot_drops
from culture_neurons.report.figures.finetuning import plot_finetuning
from culture_neurons.report.figures.forest import plot_forest, plot_own_against_cross
from culture_neurons.report.figures.images import plot_images
from culture_neurons.report.figures.layers import plot_layers
from culture_neurons.report.figures.matrix import plot_matrix
from culture_neurons.report.figures.overlap import plot_overlap
from culture_neurons.report.figures.overview import plot_overview
from culture_neurons.report.figures.related import plot_related
from culture_neurons.report.figures.robustness import plot_robustness
from culture_neurons.report.figures.sets import plot_sets
from culture_neurons.report.figures.stability import plot_stability
from culture_neurons.report.figures.style import save
from culture_neurons.report.figures.tables import Tables, read
from culture_neurons.report.figures.transfer import plot_transfer

__all__ = [
    "Tables",
    "plot_baseline",
    "plot_benchmark",
    "plot_data_overlaps",
    "plot_depth",
    "plot_dose",
    "plot_drops",
    "plot_finetuning",
    "plot_forest",
    "plot_images",
    "plot_layers",
    "plot_matrix",
    "plot_overlap",
    "plot_overview",
    "plot_own_against_cross",
    "plot_related",
    "plot_robustness",
    "plot_sets",
    "plot_stability",
    "plot_transfer",
    "read",
    "save",
]
