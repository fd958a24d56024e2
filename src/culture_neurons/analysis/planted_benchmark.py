"""How well selectors find neurons that are known, also from fewer questions and with wrong labels.

The known neurons are those of a planted model. Two targets are told apart, since training is free to leave planted
neurons idle: all planted ones, and the effective ones, which cost their culture something when they alone are zeroed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons import seeds, selectors
from culture_neurons.errors import FileError
from culture_neurons.selectors import selection, shares
from culture_neurons.types import Statistics

#: An effective neuron's log-probability of the right option falls by at least this when it alone is zeroed, nats.
EFFECTIVE = 0.1
#: Stands for a number of questions: all that were recorded.
ALL = "all"
MEASURES = ("precision", "recall", "average_precision")
COLUMNS = [
    "selector", "target", "top_fraction", "samples_per_culture", "label_noise", "repeats", "n_cultures", "n_target",
    "chance", *(f"{measure}{end}" for measure in MEASURES for end in ("", "_sd")),
]  # fmt: skip

#: Adds up statistics under other labels: `relabel` as in `store.read_statistics` -> statistics.
Reader = Callable[[Callable[[list[str], list[str]], Sequence[str]]], Statistics]


def average_precision(scores: np.ndarray, target: np.ndarray) -> float:
    """Area under precision over recall: the sum over thresholds of (R_k - R_(k-1)) P_k; nan without a target.

    scores   [neuron]; those that are not positive are never chosen and share the last place
    target   bool [neuron]

    Equal scores, in float32, are one threshold: they are taken together, in no order.
    """
    if not target.any():
        return float("nan")
    with np.errstate(over="ignore", under="ignore"):
        ranked = np.maximum(np.asarray(scores, dtype=np.float32), 0)
    order = np.argsort(-ranked, kind="stable")
    last = np.flatnonzero(np.append(np.diff(ranked[order]) != 0, True))  # of each group of equal scores
    hits = np.cumsum(target[order])[last]
    return float((np.diff(hits, prepend=0) * hits / (last + 1)).sum() / hits[-1])


def degrade_labels(
    sample_ids: Sequence[str], cultures: Sequence[str], per_culture: int | None, noise: float, seed: int, repeat: int
) -> list[str]:
    """Labels of a subsample, some of them wrong; "" for samples that are left out.

    per_culture   how many samples to draw from each culture; None, or more than it has: all
    noise         the share of these whose labels are exchanged among each other, at random

    Cultures keep their sizes. A repeat draws the same samples for every noise, and those of a smaller number are
    among those of a larger one.
    """
    labels = np.array(cultures, dtype=object)
    rng = seeds.generator("selector benchmark", seed, "samples", repeat)
    if per_culture is not None:
        for name in sorted(set(cultures)):
            labels[rng.permutation(np.flatnonzero(labels == name))[per_culture:]] = ""
    rng = seeds.generator("selector benchmark", seed, "noise", repeat, per_culture, noise)
    rows = np.flatnonzero(labels != "")
    mislabelled = rng.choice(rows, shares.rounded(noise, len(rows)), replace=False)
    labels[mislabelled] = labels[rng.permutation(mislabelled)]
    return labels.tolist()


def is_random(cultures: Sequence[str], per_culture: int | None, noise: float) -> bool:
    """Whether repeats of `degrade_labels` can differ: some samples are left out, or labels exchanged."""
    sizes = Counter(cultures)
    n_drawn = sum(sizes.values()) if per_culture is None else sum(min(n, per_culture) for n in sizes.values())
    return n_drawn < len(cultures) or shares.rounded(noise, n_drawn) > 1


def target_neurons(
    planted: pd.DataFrame, cultures: Sequence[str], shape: tuple[int, int], source: str
) -> dict[str, np.ndarray]:
    """The neurons to be found, by name of the target, bool [culture, layer, neuron].

    planted   culture, layer, neuron, and perhaps logprob_drop, what zeroing the neuron alone does (nats)

    `effective` is left out where `logprob_drop` is not known. Raises FileError, naming `source`, for a neuron that
    the model does not have.
    """
    layer, neuron = planted["layer"].to_numpy(), planted["neuron"].to_numpy()
    if ((layer < 0) | (layer >= shape[0]) | (neuron < 0) | (neuron >= shape[1])).any():
        raise FileError(f"{source}: a planted neuron is outside the model ({shape[0]} layers of {shape[1]} neurons)")
    by_target = {"planted": np.ones(len(planted), dtype=bool)}
    if "logprob_drop" in planted:
        by_target["effective"] = planted["logprob_drop"].to_numpy() <= -EFFECTIVE
    index = planted["culture"].map({name: c for c, name in enumerate(cultures)}).fillna(-1).to_numpy(dtype=np.int64)
    result = {}
    for name, is_target in by_target.items():
        is_target = is_target & (index >= 0)
        result[name] = np.zeros((len(cultures), *shape), dtype=bool)
        result[name][index[is_target], layer[is_target], neuron[is_target]] = True
    return result


def select_masks(
    statistics: Statistics, selector_options: Mapping[str, Mapping[str, Any]], fractions: Sequence[str], site: str
) -> dict[str, tuple[np.ndarray, dict[str, pd.DataFrame]]]:
    """Scores [culture, layer, neuron] and the mask at each top fraction, per selector.

    selector_options   name -> options, as in the config: `method` where the name is none
    """
    settings = {name: dict(options or {}) for name, options in selector_options.items()}
    methods = {name: options.pop("method", name) for name, options in settings.items()}
    results: dict[str, tuple[np.ndarray, dict[str, pd.DataFrame]]] = {}
    # Those that are matched to the mask of another come after it.
    for name in sorted(settings, key=lambda name: selectors.resolve(methods[name]).needs_reference):
        scores = selectors.score(methods[name], statistics, **settings[name])
        references: dict[str, pd.DataFrame] = {}
        if selectors.resolve(methods[name]).needs_reference:
            references = results[settings[name].get("match", selectors.options(methods[name])["match"])][1]
        results[name] = scores, {
            fraction: selection.select(
                scores, statistics.cultures, fraction, site, selector=methods[name], statistics=statistics,
                reference=references.get(fraction),
            )
            for fraction in fractions
        }  # fmt: skip
    return {name: results[name] for name in selector_options}


def precision_and_recall(mask: pd.DataFrame, cultures: Sequence[str], target: np.ndarray) -> tuple[float, float]:
    """Precision and recall of a mask, means over the cultures that have a target; nan where nothing was chosen.

    target   bool [culture, layer, neuron]
    """
    culture = mask["culture"].map({name: c for c, name in enumerate(cultures)}).to_numpy(dtype=np.int64)
    hit = target[culture, mask["layer"].to_numpy(), mask["neuron"].to_numpy()]
    hits, chosen = (np.bincount(part, minlength=len(cultures)) for part in (culture[hit], culture))
    n_target = target.sum(axis=(1, 2))
    counted = (n_target > 0) & (chosen > 0)
    precision = float((hits[counted] / chosen[counted]).mean()) if counted.any() else float("nan")
    counted = n_target > 0
    return precision, float((hits[counted] / n_target[counted]).mean()) if counted.any() else float("nan")


def benchmark(
    read: Reader, planted: pd.DataFrame, selector_options: Mapping[str, Mapping[str, Any]], fractions: Sequence[str],
    samples: Sequence[int], noise: Sequence[float], repeats: int, seed: int, site: str = "act_fn", source: str = "",
) -> pd.DataFrame:  # fmt: skip
    """Mean and standard deviation over repeats of precision, recall and average precision: a table of COLUMNS.

    read       the statistics under other labels
    planted    see `target_neurons`; `source` names its file
    selector_options     selectors, name -> options
    samples    numbers of questions per culture to draw, beside all
    noise      shares of labels to exchange, beside none
    repeats    draws; one alone where no draw can differ from another, as of all questions with their own labels

    Each measure is a mean over the cultures that have a neuron of the target (n_cultures; n_target: such neurons of
    all of them). chance is the share of these neurons among all: the precision of a random choice. All are nan for a
    target without neurons, deviations for one draw.
    """
    rows: list[dict[str, Any]] = []
    for number in (*samples, None):
        for share in (0.0, *noise):
            for repeat in range(repeats):
                varies: list[bool] = []

                def relabel(ids: list[str], cultures: list[str], number=number, share=share, repeat=repeat, to=varies):
                    to.append(is_random(cultures, number, share))
                    return degrade_labels(ids, cultures, number, share, seed, repeat)

                statistics = read(relabel)
                design = {"samples_per_culture": ALL if number is None else str(number), "label_noise": share}
                rows += [
                    {**row, **design}
                    for row in _measure(statistics, planted, selector_options, fractions, site, source)
                ]
                if not any(varies):
                    break
    keys = [c for c in COLUMNS[: COLUMNS.index("chance") + 1] if c != "repeats"]
    groups = pd.DataFrame(rows, columns=[*keys, *MEASURES]).groupby(keys, sort=False, dropna=False)
    table = groups[list(MEASURES)].mean()
    # A standard deviation of one value is none.
    table = table.join(groups[list(MEASURES)].std().add_suffix("_sd")).assign(repeats=groups.size())
    return table.reset_index()[COLUMNS]


def _measure(
    statistics: Statistics, planted: pd.DataFrame, selector_options: Mapping[str, Mapping[str, Any]],
    fractions: Sequence[str], site: str, source: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of one repeat."""
    cultures, shape = statistics.cultures, statistics.fired.shape[1:]
    truths = target_neurons(planted, cultures, shape, source)
    rows = []
    for name, (scores, of_fraction) in select_masks(statistics, selector_options, fractions, site).items():
        for target, truth in truths.items():
            with_target = np.flatnonzero(truth.any(axis=(1, 2)))
            n = int(truth.sum())
            areas = [average_precision(scores[c].ravel(), truth[c].ravel()) for c in with_target]
            base = {
                "selector": name, "target": target, "n_cultures": len(with_target), "n_target": n,
                "chance": n / len(with_target) / np.prod(shape) if n else float("nan"),
                "average_precision": float(np.mean(areas)) if areas else float("nan"),
            }  # fmt: skip
            for fraction, mask in of_fraction.items():
                precision, recall = precision_and_recall(mask, cultures, truth)
                rows.append({**base, "top_fraction": fraction, "precision": precision, "recall": recall})
    return rows
