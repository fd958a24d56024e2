"""Choose neurons again and again after shuffling the culture labels of the recorded samples: masks of no culture."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from culture_neurons.steps import cli, mask_files, question_units


def main(o: argparse.Namespace) -> None:
    """statistics.h5, samples.parquet -> one table of masks, a mask per permutation and culture

    Each permutation repeats the chain from per-sample statistics over scores to masks, under labels that say nothing.
    """
    import pandas as pd

    from culture_neurons import files, selectors, store
    from culture_neurons.analysis import p_values
    from culture_neurons.selectors import selection

    selectors.check(o.selector, o.options)
    unit = question_units.read(o.samples)
    tables, statistics, changed = [], None, Counter()
    for number in cli.progress(range(o.permutations), o.permutations, "permutations"):

        def shuffled(ids: list[str], cultures: list[str], number: int = number) -> list[str]:
            question_units.check_known(ids, unit, o.statistics, o.samples)
            labels = p_values.shuffle_labels(cultures, [unit[i] for i in ids], o.seed, number)
            changed.update({name for pair in zip(cultures, labels, strict=True) if len(set(pair)) > 1 for name in pair})
            return labels

        statistics, metadata = store.read_statistics(o.statistics, shuffled)
        scores = selectors.score(o.selector, statistics, **o.options)
        mask = selection.select(
            scores, statistics.cultures, o.top_fraction, metadata["site"], selector=o.selector, statistics=statistics
        )
        mask.insert(0, "permutation", number)
        tables.append(mask)
    table = pd.concat(tables, ignore_index=True)
    identity = {key: metadata.get(key) for key in ("model", "revision")}
    layers, neurons = statistics.fired.shape[1:]
    settings = argparse.Namespace(
        selector=o.selector, options=o.options, top_fraction=o.top_fraction, permutations=o.permutations, seed=o.seed
    )
    made_by = cli.provenance("permute", settings, selectors.modules(o.selector), metadata, **identity)
    made_by |= mask_files.describe_masks(
        sorted(statistics.cultures), layers, neurons, o.selector, o.options, o.top_fraction, metadata.get("experts")
    )
    made_by |= {"permutations": o.permutations, "changed": {name: changed[name] for name in made_by["cultures"]}}
    files.write_table(o.out, table, made_by)
    if same := [name for name, times in made_by["changed"].items() if not times]:
        cli.log.warning(
            "%s: no permutation gives other samples these names (labels are exchanged among images with equally many"
            " questions); there is nothing to compare them with", ", ".join(same),
        )  # fmt: skip
    cli.log.info("%d permutations, %.0f neurons each per culture", o.permutations,
                 len(table) / max(1, o.permutations * len(statistics.cultures)))  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--statistics", type=Path, required=True, help="statistics.h5 of one model")
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet, for the images of samples")
    parser.add_argument("--selector", required=True, help="method whose chain is repeated")
    parser.add_argument("--options", type=cli.json_object, default={}, help="JSON object of the method's options")
    parser.add_argument("--top-fraction", required=True, help="share of all neurons, in (0, 1]")
    parser.add_argument("--permutations", type=int, required=True, help="how many times")
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffling")
    parser.add_argument("--out", type=Path, required=True, help="parquet file of all masks")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
