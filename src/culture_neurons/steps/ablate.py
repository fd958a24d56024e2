"""Ask one model the evaluate questions again, with every culture's mask in force in turn."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import ConfigError
from culture_neurons.steps import cli, model_arguments


def read_masks(path: Path) -> tuple[list, dict]:
    """The NeuronMask of every culture that the file was made for; empty where no neuron was chosen."""
    import numpy as np

    from culture_neurons import files
    from culture_neurons.types import NeuronMask

    table, metadata = files.read_table(path, ["culture", "site", "layer", "neuron"])
    groups = {name: group for name, group in table.groupby("culture", sort=True)}
    cultures = metadata.get("cultures") or list(groups)
    none = np.empty(0, dtype=np.int64)
    masks = []
    for name in cultures:
        group = groups.get(name)
        if group is None:
            masks.append(NeuronMask(name, "act_fn", none, none))
        else:
            masks.append(NeuronMask(name, str(group["site"].iloc[0]), group["layer"], group["neuron"]))
    return masks, metadata


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet, mask files -> one file of outcomes per mask file"""
    import numpy as np
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.data.samples import read_samples
    from culture_neurons.models.ablation import evaluator

    if len(o.masks) != len(o.outcomes_out):
        raise ConfigError(f"{len(o.masks)} mask files and {len(o.outcomes_out)} outputs; expected as many")
    read = [read_masks(path) for path in o.masks]
    samples, opener = read_samples(o.samples, split="evaluate")
    loaded, prompt = model_arguments.load(o)
    for path, (_, metadata) in zip(o.masks, read, strict=True):
        model_arguments.check_revision(path, metadata, loaded)
    masks = [mask for file_masks, _ in read for mask in file_masks]
    file_of = np.repeat(np.arange(len(read)), [len(file_masks) for file_masks, _ in read])
    rows: list[list[tuple]] = [[] for _ in read]
    with evaluator(loaded, masks, prompt) as evaluate:
        batches = model_arguments.batches(o, loaded, samples, opener, prompt, f"{len(masks)} masks", evaluate)
        for batch, answers in batches:
            for index, mask in enumerate(masks):
                rows[file_of[index]] += [
                    (mask.culture, s.sample_id, s.culture, a.prediction, a.prediction == s.label, a.well_formed,
                     np.asarray(a.logprobs, dtype=np.float32))
                    for s, a in zip(batch.samples, answers[index], strict=True)
                ]  # fmt: skip
    columns = ["mask_culture", "sample_id", "culture", "prediction", "correct", "well_formed", "logprobs"]
    for path, (_, metadata), file_rows in zip(o.outcomes_out, read, rows, strict=True):
        table = pd.DataFrame(file_rows, columns=columns).sort_values(["mask_culture", "sample_id"], ignore_index=True)
        made_by = cli.provenance("ablate", o, **loaded.identity, mask=metadata)
        files.write_table(path, table, made_by)
        cli.log.info("%s: %d masks on %d questions", path.name, table["mask_culture"].nunique(), len(samples))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    parser.add_argument("--masks", type=Path, nargs="+", required=True, help="mask files of the same model")
    parser.add_argument("--outcomes-out", type=Path, nargs="+", required=True, help="one file per mask file")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
