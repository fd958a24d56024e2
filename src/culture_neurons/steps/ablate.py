"""Ask one model the evaluate questions of one shard again, with the masks of one shard in force in turn."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import cli, model_arguments

COLUMNS = ["culture", "site", "layer", "neuron"]


def read_masks(path: Path, factor: float = 0.0) -> tuple[list, dict]:
    """The NeuronMask of every culture that the file was made for, and the metadata; empty where no neuron was chosen.

    `factor` is what the masks multiply g by; one other than 0 is noted in the metadata.
    Raises FileError when the file is missing or damaged, or a row is no neuron of its cultures, layers and neurons.
    """
    table, metadata, cultures = _read(path, COLUMNS)
    masks = _masks(path, table, cultures, factor)
    return masks, metadata | ({"factor": factor} if factor else {})


def read_permuted(path: Path) -> tuple[dict[int, Any], dict]:
    """permutation -> OwnMasks of all cultures, and the metadata; see `steps.permute`. Raises FileError as above."""
    from culture_neurons.types import OwnMasks

    table, metadata, cultures = _read(path, ["permutation", *COLUMNS])
    groups = dict(iter(table.groupby("permutation")))
    numbers = range(metadata.get("permutations", 0))
    if strange := sorted(groups.keys() - set(numbers)):
        raise FileError(f"{path}: permutation {strange[0]!r}; expected 0 to {len(numbers) - 1}")
    own = {n: OwnMasks(_masks(path, groups.get(n, table[:0]), cultures, 0.0)) for n in numbers}
    return own, metadata


def _read(path: Path, columns: list[str]) -> tuple[Any, dict, list[str]]:
    """Checked rows, the metadata, and the cultures."""
    import numpy as np
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.types import PROJECTIONS, SITES

    table, metadata = files.read_table(path, columns)
    cultures = metadata.get("cultures") or sorted({name for name in table["culture"] if isinstance(name, str)})
    most, sites = np.iinfo(np.int32).max, (*SITES, *PROJECTIONS)
    widths = metadata.get("neurons", most)  # one number, or one by site
    neurons = _widths_of_rows(path, table, metadata) if isinstance(widths, dict) else widths
    sizes = {"layer": metadata.get("layers", most), "neuron": neurons}
    good = np.ones(len(table), dtype=bool)
    for name, known in (("culture", cultures), ("site", sites)):
        good &= table[name].map(lambda value, known=set(known): isinstance(value, str) and value in known).astype(bool)
    for name, size in sizes.items():
        is_integer = pd.api.types.is_integer_dtype(table[name].dtype)
        good &= table[name].between(0, size - 1) if is_integer else False
    if not good.all():
        row = int(np.argmin(good))
        (values,) = table[COLUMNS].iloc[[row]].itertuples(index=False, name=None)
        row_text = ", ".join(f"{value!r:.60}" for value in values)
        raise FileError(
            f"{path}: row {row + 1} is no neuron: {row_text}; expected a culture of the metadata, {' or '.join(sites)},"
            f" a layer below {sizes['layer']} and a neuron below {widths}"
        )
    return table, metadata, cultures


def _widths_of_rows(path: Path, table: Any, metadata: dict) -> Any:
    """How many units a site has in each row's layer, int64 [row]; 0 where the metadata has no such site or layer."""
    import numpy as np

    from culture_neurons.types import widths_of_layers

    layers = metadata.get("layers", 0)
    try:
        of_sites = {site: widths_of_layers(of_site, layers).tolist() for site, of_site in metadata["neurons"].items()}
    except ConfigError as error:
        raise FileError(f"{path}: {error}; it was made for another model, or changed") from None
    rows = zip(table["site"], table["layer"], strict=True)
    known = [isinstance(layer, int) and layer in range(layers) and site in of_sites for site, layer in rows]
    places = zip(known, table["site"], table["layer"], strict=True)
    return np.array([of_sites[site][layer] if good else 0 for good, site, layer in places], dtype=np.int64)


def _masks(path: Path, table: Any, cultures: list[str], factor: float) -> list:
    import numpy as np

    from culture_neurons.types import NeuronMask

    groups = dict(iter(table.groupby("culture", observed=True)))
    none = np.empty(0, dtype=np.int64)
    masks = []
    for name in cultures:
        group = groups.get(name)
        if group is None:
            masks.append(NeuronMask(name, "act_fn", none, none, factor))
            continue
        try:
            masks.append(NeuronMask(name, group["site"].to_numpy(str), group["layer"], group["neuron"], factor))
        except ConfigError as error:
            raise FileError(f"{path}: {error}") from None
    return masks


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet, mask files -> the answers of one shard, one row per mask and question

    `mask_file` in the output says which of the mask files a row belongs to, from 0; with several factors, a file counts
    once for each of them. Permuted masks come last: each
    question is asked under the mask of its own culture, once per `permutation` (-1 in the rows of the other files).
    """
    import numpy as np
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.data.samples import read_samples
    from culture_neurons.models.ablation import evaluator

    model_arguments.check_part("shard", o.shard, o.shards)
    model_arguments.check_part("mask shard", o.mask_shard, o.mask_shards)
    path_factors = [(path, factor) for path in o.masks for factor in o.factors or [0.0]]
    read = [read_masks(path, factor) for path, factor in path_factors]
    every = [(number, -1, mask.culture, mask) for number, (masks, _) in enumerate(read) for mask in masks]
    if o.permuted:
        own, metadata = read_permuted(o.permuted)
        every += [(len(read), permutation, None, masks) for permutation, masks in own.items()]
        read.append((list(own.values()), metadata))
    samples, opener = read_samples(o.samples, split="evaluate")
    loaded, prompt = model_arguments.load(o)
    paths = [path for path, _ in path_factors] + [o.permuted] * bool(o.permuted)
    for path, (_, metadata) in zip(paths, read, strict=True):
        model_arguments.check_revision(path, metadata, loaded)
    mine = every[o.mask_shard :: o.mask_shards]
    todo = model_arguments.batches(o, loaded, samples, prompt) if mine else []
    rows: list[tuple] = []
    with evaluator(loaded, [mask for *_, mask in mine], prompt) as evaluate:
        for batch, answers in model_arguments.run(loaded, todo, opener, prompt, f"{len(mine)} masks", evaluate):
            for (number, permutation, culture, _), mask_answers in zip(mine, answers, strict=True):
                rows += [
                    (number, permutation, culture or s.culture, s.sample_id, s.culture, a.prediction,
                     a.prediction == s.label, a.well_formed, np.asarray(a.logprobs, dtype=np.float32))
                    for s, a in zip(batch.samples, mask_answers, strict=True)
                ]  # fmt: skip
    key = ["mask_file", "permutation", "mask_culture", "sample_id"]
    columns = [*key, "culture", "prediction", "correct", "well_formed", "logprobs"]
    table = pd.DataFrame(rows, columns=columns).sort_values(key, ignore_index=True)
    total = len(every) * len(samples)
    made_by = cli.provenance(
        "ablate", o, **model_arguments.made_with(loaded), masks=[metadata for _, metadata in read], rows=total
    )
    files.write_table(o.outcomes_out, table if o.permuted else table.drop(columns="permutation"), made_by)
    cli.log.info(
        "%s: %d masks on %d questions (shard %d of %d, masks %d of %d)", loaded.name, len(mine),
        sum(map(len, todo)), o.shard + 1, o.shards, o.mask_shard + 1, o.mask_shards,
    )  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    model_arguments.add_shard(parser)
    parser.add_argument("--masks", type=Path, nargs="*", default=[], help="mask files of the same model")
    parser.add_argument("--factors", type=float, nargs="*", default=[], help="what g is multiplied by, for each file")
    parser.add_argument("--permuted", nargs="?", type=Path, help="masks of shuffled labels, each for its own questions")
    parser.add_argument("--mask-shard", type=int, default=0, help="which part of the masks, from 0")
    parser.add_argument("--mask-shards", type=int, default=1, help="number of parts; the result is the same")
    parser.add_argument("--outcomes-out", type=Path, required=True, help="parquet file of this shard")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
