"""Ask one model the evaluate questions of one shard again, with the masks of one shard in force in turn."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import cli, model_arguments


def read_masks(path: Path) -> tuple[list, dict]:
    """The NeuronMask of every culture that the file was made for, and the metadata; empty where no neuron was chosen.

    Raises FileError when the file is missing or damaged, or a row is no neuron of its cultures, layers and neurons.
    """
    import numpy as np

    from culture_neurons import files
    from culture_neurons.types import SITES, NeuronMask

    columns = ["culture", "site", "layer", "neuron"]
    table, metadata = files.read_table(path, columns)
    cultures = metadata.get("cultures") or sorted({name for name in table["culture"] if isinstance(name, str)})
    layers, neurons = (metadata.get(key, np.iinfo(np.int32).max) for key in ("layers", "neurons"))
    for i, (culture, site, layer, neuron) in enumerate(table[columns].itertuples(index=False)):
        if not (_is_one_of(culture, cultures) and _is_one_of(site, SITES) and _is_index(layer, layers)
                and _is_index(neuron, neurons)):  # fmt: skip
            found = ", ".join(f"{value!r:.60}" for value in (culture, site, layer, neuron))
            raise FileError(
                f"{path}: row {i + 1} is no neuron: {found}; expected a culture of the metadata, {' or '.join(SITES)},"
                f" a layer below {layers} and a neuron below {neurons}"
            )
    groups = dict(iter(table.groupby("culture")))
    none = np.empty(0, dtype=np.int64)
    masks = []
    for name in cultures:
        group = groups.get(name)
        if group is None:
            masks.append(NeuronMask(name, "act_fn", none, none))
            continue
        try:
            masks.append(NeuronMask(name, group["site"].iloc[0], group["layer"], group["neuron"]))
        except ConfigError as error:
            raise FileError(f"{path}: {error}") from None
    return masks, metadata


def _is_one_of(value: object, known: Sequence[str]) -> bool:
    return isinstance(value, str) and value in known


def _is_index(value: object, size: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 <= value < size


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet, mask files -> the answers of one shard, one row per mask and question

    `mask_file` in the output says which of the mask files a row belongs to, from 0.
    """
    import numpy as np
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.data.samples import read_samples
    from culture_neurons.models.ablation import evaluator

    model_arguments.check_part("shard", o.shard, o.shards)
    model_arguments.check_part("mask shard", o.mask_shard, o.mask_shards)
    read = [read_masks(path) for path in o.masks]
    samples, opener = read_samples(o.samples, split="evaluate")
    loaded, prompt = model_arguments.load(o)
    for path, (_, metadata) in zip(o.masks, read, strict=True):
        model_arguments.check_revision(path, metadata, loaded)
    every = [(number, mask) for number, (masks, _) in enumerate(read) for mask in masks]
    mine = every[o.mask_shard :: o.mask_shards]
    todo = model_arguments.batches(o, loaded, samples, prompt) if mine else []
    rows: list[tuple] = []
    with evaluator(loaded, [mask for _, mask in mine], prompt) as evaluate:
        for batch, answers in model_arguments.run(loaded, todo, opener, prompt, f"{len(mine)} masks", evaluate):
            for (number, mask), found in zip(mine, answers, strict=True):
                rows += [
                    (number, mask.culture, s.sample_id, s.culture, a.prediction, a.prediction == s.label,
                     a.well_formed, np.asarray(a.logprobs, dtype=np.float32))
                    for s, a in zip(batch.samples, found, strict=True)
                ]  # fmt: skip
    columns = ["mask_file", "mask_culture", "sample_id", "culture", "prediction", "correct", "well_formed", "logprobs"]
    table = pd.DataFrame(rows, columns=columns).sort_values(columns[:3], ignore_index=True)
    total = len(every) * len(samples)
    made_by = cli.provenance(
        "ablate", o, **model_arguments.made_with(loaded), masks=[metadata for _, metadata in read], rows=total
    )
    files.write_table(o.outcomes_out, table, made_by)
    cli.log.info(
        "%s: %d masks on %d questions (shard %d of %d, masks %d of %d)", loaded.name, len(mine),
        sum(map(len, todo)), o.shard + 1, o.shards, o.mask_shard + 1, o.mask_shards,
    )  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    model_arguments.add_shard(parser)
    parser.add_argument("--masks", type=Path, nargs="+", required=True, help="mask files of the same model")
    parser.add_argument("--mask-shard", type=int, default=0, help="which part of the masks, from 0")
    parser.add_argument("--mask-shards", type=int, default=1, help="number of parts; the result is the same")
    parser.add_argument("--outcomes-out", type=Path, required=True, help="parquet file of this shard")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
