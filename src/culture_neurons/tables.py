"""Every table of a run, once: which rule writes it, when, its columns, and what report and docs say of it.

A new table is an entry of `TABLES`; the rules, the steps that read tables, the report and the test of docs/outputs.md
follow. `run` is the config as one record (`workflow.run`): its lists of models, selectors, sets and tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

KEYS = ("model", "selector", "top_fraction")


def always(run: Any) -> bool:
    """Every run has it."""
    return True


def repeats_masks(run: Any) -> bool:
    """Whether masks are ablated again, under shuffled labels or with other strengths."""
    return bool(run.repeated)


def judges_selectors(run: Any) -> bool:
    """Whether selectors are judged on planted neurons."""
    return bool(run.planted and run.benchmark_repeats)


def compares_images(run: Any) -> bool:
    """Whether questions are asked again without what their images show."""
    return bool(run.image_controls)


def resamples(run: Any) -> bool:
    """Whether selectors choose again on resampled questions."""
    return bool(run.resampled)


def compares_masks(run: Any) -> bool:
    """Whether there are masks at one site that can be compared: those by attribution lie elsewhere."""
    return any(name not in run.attributed for name in run.shown)


def chooses_on_other_data(run: Any) -> bool:
    """Whether selectors choose on different data, so that their masks can be compared."""
    return len({run.chosen_on(name) for name in run.scored}) > 1


def judges_on_sets(run: Any) -> bool:
    """Whether masks are judged on further data sets."""
    return bool(run.evaluated)


def fine_tunes(run: Any) -> bool:
    """Whether models are fine-tuned on other tasks."""
    return bool(run.tasks)


@dataclass(frozen=True)
class Table:
    """A table of a run.

    name       tables/{name}.csv
    rule       that writes it, with the step of that name
    columns    that it must have; later versions may add some at the end
    title      of its section in the report
    note       a sentence or two on how it is read
    needs      whether a run makes it
    shown      whether the report shows its rows; others are named with their number of rows
    left_out   pattern of columns that the report leaves to the file
    decimals   in the report, of columns that its general rules do not suit
    averaged   columns that are empty in the rows that the report shows; those of single cultures are left to the file
    """

    name: str
    rule: str
    columns: tuple[str, ...]
    title: str
    note: str = ""
    needs: Callable[[Any], bool] = always
    shown: bool = True
    left_out: str = ""
    decimals: Mapping[str, int] = field(default_factory=dict)
    averaged: tuple[str, ...] = ()


_ALL = (
    Table(
        "summary",
        "tabulate",
        (*KEYS, "self_drop", "cross_drop", "specificity", "random_self_drop"),
        "Self and cross changes",
        "Means over cultures: a culture's own mask on its own questions (self) and on the other cultures' (cross), and "
        "random masks on its own questions.",
        left_out=r"well_formed|flip",
    ),
    Table(
        "evidence",
        "tabulate",
        (*KEYS, "measure", "comparison", "n", "difference", "ci_low", "ci_high", "p_value", "p_adjusted", "verdict"),
        "Comparisons and verdicts",
        "The own mask held against random masks and against the other cultures' masks, by means over cultures; a "
        "negative difference: the own mask does more harm. In brackets the interval over questions, under these masks; "
        "both low and both high: over questions and masks, which belongs to the p-value. Detectable: the smallest "
        "difference that four of five runs of this size would tell from none. Carriers: masks that do more than any "
        "mask that they are held against.",
        left_out=r"^(unit|n_controls|n_cultures)$",
        decimals={"difference": 3, "both_low": 3, "both_high": 3, "detectable": 3, "n_carriers": 0},
    ),
    Table(
        "cultures",
        "tabulate",
        (*KEYS, "culture", "measure", "self", "self_low", "self_high", "specificity", "p_value", "p_adjusted"),
        "Culture by culture",
        "The change of a culture's own questions under its own mask (self) and under the other cultures' (cross); "
        "specificity is their difference, with its two-sided p-value; negative: the own mask does more harm. It speaks "
        "of luck of the questions, under these masks.",
        left_out=r"^unit$",
        decimals={"self": 3, "cross": 3, "specificity": 3},
    ),
    Table(
        "permutations",
        "tabulate_robustness",
        (*KEYS, "culture", "measure", "permutations", "observed", "null", "null_low", "null_high", "p_value"),
        "Shuffled labels",
        "The own culture's change against what masks of shuffled culture labels do (the whole chain repeated, from "
        "statistics to masks to their effects); null: their mean, and in brackets where 95 % of them lie. A culture "
        "left empty is the mean over cultures. One-sided p-values: of a loss as large.",
        needs=repeats_masks,
        left_out=r"^unit$",
        decimals={"observed": 3, "null": 3},
    ),
    Table(
        "strengths",
        "tabulate_robustness",
        (*KEYS, "strength", "measure", "self", "self_low", "self_high", "cross", "cross_low", "cross_high"),
        "Strength of the intervention",
        "Own and other cultures' change when g becomes (1 - strength) g; strength 1 is zero ablation, as in all other "
        "results.",
        needs=repeats_masks,
        left_out=r"^unit$",
        decimals={"self": 3, "cross": 3, "specificity": 3},
    ),
    Table(
        "differences",
        "tabulate",
        ("model", "selector", "other_selector", "top_fraction", "measure", "what", "difference", "ci_low", "ci_high"),
        "Differences between selectors",
        "One selector's change minus another's, on the same questions; of the own culture's change (self), and of "
        "own - other cultures' (specificity). Negative: the first does more harm.",
        left_out=r"^unit$",
        decimals={"difference": 3},
    ),
    Table(
        "stability",
        "tabulate_overlaps",
        (
            *KEYS, "culture", "n_samples", "n_images", "n_neurons", "selected_again", "jaccard_bootstrap",
            "jaccard_halves", "jaccard_halves_low", "jaccard_halves_high", "jaccard_chance", "rank_correlation",
        ),
        "Would other questions have chosen the same neurons?",
        "Selected again: the share of bootstrap draws of the recorded questions in which a neuron of a mask is chosen "
        "again. Jaccard: what two masks share, of all that either has; of the mask and those of the draws (bootstrap), "
        "of masks from random halves of the questions, with the middle 95 % of splits, and of random masks (chance). "
        "Rank correlation: Spearman's, of the halves' scores of all neurons. Left empty where a culture's recorded "
        "questions are about one image (n images), which drawn again never changes, or its mask is empty.",
        needs=resamples,
        decimals={"jaccard_chance": 3},
    ),
    Table(
        "related",
        "tabulate_overlaps",
        (*KEYS, "measure", "n_cultures", "overlapping", "correlation", "p_value", "p_adjusted", "verdict"),
        "Does a mask hurt the cultures that it shares neurons with?",
        "Over pairs of cultures: Spearman's correlation of how many neurons their masks share (Jaccard index) and what "
        "the mask of the one does to the questions of the other; negative: shared neurons hurt. Overlapping: share of "
        "pairs with a neuron in common. p by exchanging the names of cultures (Mantel), two-sided.",
        needs=compares_masks,
        left_out=r"^n_pairs$",
    ),
    Table(
        "data_overlaps",
        "tabulate_overlaps",
        (
            "model", "top_fraction", "culture", "a", "b", "chosen_on_a", "chosen_on_b", "layer", "n_a", "n_b",
            "n_shared", "overlap", "expected",
        ),
        "Do masks chosen on different data share neurons?",
        "Two selectors' masks of one culture: their sizes, the neurons in both, the Jaccard index (overlap), and that "
        "of masks with these numbers of neurons per layer that fall anywhere in a layer (expected). Single layers are "
        "in the file.",
        needs=chooses_on_other_data,
        decimals={"overlap": 3, "expected": 3},
        averaged=("layer",),
    ),
    Table(
        "sets",
        "tabulate_sets",
        (
            *KEYS, "set", "factor", "n", "n_cultures", "shared", "chance", "baseline_accuracy", "masked_accuracy",
            "change", "change_low", "change_high", "change_p_adjusted", "random_change", "random_change_low",
            "random_change_high", "difference", "difference_low", "difference_high", "difference_p_adjusted",
        ),
        "On other benchmarks",
        "Means over questions: those of the verdicts are over cultures, and so a little other ones where cultures have "
        "different numbers of questions. The run's own take part with their evaluate half. Factor 0 "
        "suppresses the chosen neurons, 2 enhances them. Change: masked - baseline, mean over the masks; own and "
        "other: each question under its own culture's mask and under the others'; difference: change - that under "
        "random masks of the same size. p-values are two-sided and speak of new questions under these masks.",
        needs=judges_on_sets,
        left_out=r"^(n_.*|shared|neurons)$|well_formed|_p$|logprob_(?!change|diff)|_logprob",
    ),
    Table(
        "sets_transfer",
        "tabulate_sets",
        (*KEYS, "set", "other_set", "factor", "n_cultures", "correlation", "p_value", "p_adjusted"),
        "Do masks harm the same other cultures on two data sets?",
        "Over pairs of cultures: Spearman's correlation of what the mask of the one does to the questions of the other "
        "(log-probability), without what is due to the mask or to the evaluated culture alone. p by exchanging the "
        "names of cultures (Mantel).",
        needs=judges_on_sets,
    ),
    Table(
        "baseline",
        "tabulate",
        ("model", "culture", "n", "accuracy"),
        "Baseline",
        "Accuracy without any mask, in brackets Wilson's 95 % interval, and how many answered questions neurons come "
        "from.",
        left_out=r"^(model_|place)",
    ),
    Table(
        "images",
        "tabulate_changed_answers",
        (
            "model", "culture", "control", "n", "accuracy", "accuracy_low", "accuracy_high", "change", "chance", "set",
            "followed",
        ),
        "With and without the image",
        "The same questions as they are (shown), with a grey image of the same size (blank), as text alone (none) and "
        "with the image of another culture (swapped); questions without an image are left out. A row without a culture "
        "is the mean over cultures. Negative changes: the image helped. Followed: of the answers that were right with "
        "their own image, the share that became the option of the culture that was shown instead; of questions whose "
        "options say whose they are.",
        needs=compares_images,
        left_out=r"^(gained|lost|well_formed_rate|n_without_(other_)?image|followed_n)$",
        decimals={"change": 1},
    ),
    Table(
        "finetuning",
        "tabulate_changed_answers",
        (
            "model", "task", "set", "choice", "seed", "culture", "n", "change", "change_low", "change_high",
            "change_vs_poorest", "change_vs_poorest_p_adjusted", "task_accuracy_before", "task_accuracy_after",
        ),
        "After training on another task",
        "A few modules of the model, those richest or poorest in chosen neurons or random ones, were trained "
        "on a task that has nothing to do with culture; then each data set was asked again. Means over all "
        "questions and over seeds; single cultures and seeds are in the file. Vs poorest: paired difference on the "
        "same questions, negative: more is lost; p by sign flips, two-sided. Task: accuracy on its held-out questions.",
        needs=fine_tunes,
        left_out=r"^(culture|seed)$|well_formed|_loss|^task_n$|logprob_change_vs_poorest_p$|^change_vs_poorest_p$",
        decimals={"change": 2, "change_vs_poorest": 2},
        averaged=("culture", "seed"),
    ),
    Table(
        "finetuning_modules",
        "tabulate_changed_answers",
        ("model", "task", "choice", "seed", "site", "layer", "chosen", "units", "richness", "parameters"),
        "Modules that were trained",
        "Chosen: output units of the module that the mask names; richness is their share. Parameters: numbers that "
        "were trained, of all modules of the choice together.",
        needs=fine_tunes,
        decimals={"richness": 4},
    ),
    Table(
        "benchmark",
        "benchmark_selectors",
        (
            *KEYS, "target", "samples_per_culture", "label_noise", "repeats", "n_target", "chance", "precision",
            "precision_sd", "recall", "average_precision", "average_precision_sd",
        ),
        "Selectors on planted neurons",
        "Of the planted models alone, whose culture neurons are known. Effective ones cost their culture at least 0.1 "
        "nats when they alone are zeroed. Means and standard deviations (sd) over draws of questions; label noise is "
        "the share of questions with a shuffled culture, chance the precision of a random choice.",
        needs=judges_selectors,
        left_out=r"^(repeats|n_cultures)$",
    ),
    Table(
        "planted",
        "tabulate",
        (*KEYS, "culture", "n_selected", "n_planted", "hits", "precision", "recall"),
        "Planted neurons found",
        "Of the planted control alone: which of its known neurons were chosen.",
    ),
    Table(
        "effects",
        "tabulate",
        (
            *KEYS, "mask_culture", "eval_culture", "n", "baseline_accuracy", "masked_accuracy", "drop", "logprob_drop",
            "flip_rate", "well_formed_rate",
        ),
        "Every mask on every culture's questions",
        shown=False,
    ),
    Table(
        "layers",
        "tabulate",
        (*KEYS, "culture", "site", "layer", "count", "units"),
        "Neurons per layer",
        shown=False,
    ),
    Table(
        "overlaps",
        "tabulate_overlaps",
        (
            "kind", "model", "selector", "top_fraction", "culture", "a", "b", "n_a", "n_b", "n_shared", "overlap",
            "expected",
        ),
        "Neurons that masks share",
        needs=compares_masks,
        shown=False,
    ),
    Table(
        "sets_effects",
        "tabulate_sets",
        (*KEYS, "set", "factor", "mask_culture", "eval_culture", "n", "drop", "logprob_drop", "rank"),
        "Every mask on every culture's questions of other benchmarks",
        needs=judges_on_sets,
        shown=False,
    ),
)  # fmt: skip

#: By name, in the order of the report's sections.
TABLES: Mapping[str, Table] = MappingProxyType({table.name: table for table in _ALL})

#: Columns that hold names: never read as numbers, whatever a culture is called.
TEXT = (
    "model", "selector", "other_selector", "what", "unit", "culture", "mask_culture", "eval_culture", "measure", "site",
    "set", "other_set", "shared", "comparison", "verdict", "planted", "control", "kind", "a", "b", "target",
    "chosen_on_a", "chosen_on_b",
    "samples_per_culture", "place", "task", "method", "choice", "seed", "level", "open_reasoning",
)  # fmt: skip


def tables_of(run: Any) -> list[str]:
    """Names of the tables that a run makes."""
    return [name for name, table in TABLES.items() if table.needs(run)]
