"""Would other samples have chosen the same neurons? Bootstrap and random halves of one model's recorded samples."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import cli, mask_files, question_units


def main(o: argparse.Namespace) -> None:
    """statistics.h5, samples, masks -> stability.parquet (neurons of masks) and stability_cultures.parquet"""
    # Draws are shared out among our own threads, and products of one shape are the same on one thread of the BLAS.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import pyarrow as pa

    from culture_neurons import files, selectors, store
    from culture_neurons.analysis import stability
    from culture_neurons.models.allocator import keep_freed_memory
    from culture_neurons.types import FEWEST_UNITS

    keep_freed_memory(in_threads=True)
    paths = _paths(o.masks, o.selectors)
    statistics, metadata = store.read_statistics(o.statistics)
    identity = {key: metadata.get(key) for key in ("model", "revision")}
    shape = statistics.fired.shape
    chosen = [_chosen(name, entry, paths, statistics.cultures, shape, o.statistics, identity)
              for name, entry in sorted(o.selectors.items())]  # fmt: skip
    # Of the sums of all samples no more is needed; those of draws take their room.
    probability = statistics.probability.astype("float32")
    del statistics
    unit = question_units.read(o.samples)
    with store.sample_sums(o.statistics) as sums:
        table, neurons = stability.measure(
            sums, unit, chosen, probability, o.resamples, o.split_halves, o.seed, o.threads
        )
    neuron_tables = [pa.Table.from_pandas(frame, preserve_index=False) for frame in neurons]
    empty = pa.table({name: [] for name in stability.NEURON_COLUMNS})
    used = sorted({module for one in chosen for module in selectors.modules(one.method)})
    made_by = cli.provenance("stability", o, used, metadata, **identity)
    files.write_table(
        o.neurons_out, pa.concat_tables(neuron_tables).unify_dictionaries() if neuron_tables else empty, made_by
    )
    files.write_table(o.cultures_out, table.assign(top_fraction=table["top_fraction"].astype(float)), made_by)
    if single := sorted(set(table.loc[table["n_images"] < FEWEST_UNITS, "culture"])):
        cli.log.warning(
            "%s: all recorded questions are about one image, so that nothing is known of other draws of them",
            ", ".join(single),
        )
    phrases = {
        "selected_again": "a neuron is chosen again in {:.0%} of draws", "jaccard_bootstrap": "Jaccard {:.2f} of draws",
        "jaccard_halves": "{:.2f} of halves", "jaccard_chance": "{:.3f} by chance",
    }  # fmt: skip
    for (name, fraction), rows in table.groupby(["selector", "top_fraction"], sort=False):
        means = rows[list(phrases)].mean().dropna()
        words = ", ".join(phrases[column].format(mean) for column, mean in means.items())
        cli.log.info("%s, top %s: %s", name, fraction, words or "nothing is known")


def _chosen(
    name: str, entry: dict[str, Any], paths: dict, cultures: list[str], shape: tuple, statistics: Path, identity: dict
) -> Any:
    """A selector and its masks, as flat indices."""
    import numpy as np

    from culture_neurons import files
    from culture_neurons.analysis import stability

    masks, scores = [], []
    for path in paths[name].values():
        table, metadata = files.read_table(path, ["culture", "layer", "neuron", "score"])
        files.check_same_model(statistics, identity, path, metadata)
        if metadata["cultures"] != sorted(cultures):
            raise FileError(f"{path}: other cultures than {statistics}; delete it and run again")
        masks.append(mask_files.split_by_culture(table, cultures, mask_files.flat_indices(table, shape[1:])))
        scores.append(mask_files.split_by_culture(table, cultures, table["score"].to_numpy(np.float32)))
    return stability.SelectedMasks(name, entry["method"], entry["options"], list(paths[name]), masks, scores)


def _paths(files: list[Path], selectors: dict[str, Any]) -> dict[str, dict[str, Path]]:
    """The mask files: selector -> fraction -> path."""
    from culture_neurons import layout

    result: dict[str, dict[str, Path]] = {name: {} for name in selectors}
    for (name, fraction), path in layout.by("masks", files, "selector", "fraction").items():
        if name not in result:
            raise ConfigError(f"--masks: {name!r} is none of --selectors")
        result[name][fraction] = path
    missing = [name for name, paths_by_fraction in result.items() if not paths_by_fraction]
    if missing:
        raise ConfigError(f"--masks: none of selector {missing[0]!r}")
    return result


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--statistics", type=Path, required=True, help="statistics.h5 of a model")
    parser.add_argument(
        "--samples", type=Path, required=True, help="samples.parquet: samples of one image stay together"
    )
    parser.add_argument("--selectors", type=cli.json_object, required=True,
                        help='JSON object: name -> {"method": ..., "options": {...}}')  # fmt: skip
    parser.add_argument("--masks", type=Path, nargs="*", default=[], help="mask files of these selectors")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap draws")
    parser.add_argument("--split-halves", type=int, default=20, help="random splits into halves")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--threads", type=int, default=1, help="how many selectors are judged at a time")
    parser.add_argument("--neurons-out", type=Path, required=True, help="parquet file, one row per neuron of a mask")
    parser.add_argument("--cultures-out", type=Path, required=True, help="parquet file, one row per culture")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
