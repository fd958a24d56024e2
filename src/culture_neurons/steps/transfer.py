"""Ask one run's evaluate questions again, under the masks that another run chose for the same model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from culture_neurons.errors import FileError
from culture_neurons.steps import cli, flat_masks, model_arguments
from culture_neurons.steps.history import History


def read_masks(path: Path, loaded: Any, history: History) -> tuple[list, dict[str, Any]]:
    """The masks of a file, one per culture, and its metadata with the selector's name.

    Raises FileError for masks of another model, or of other layers or neurons.
    """
    import numpy as np

    from culture_neurons import layout
    from culture_neurons.types import NeuronMask

    masks, metadata = flat_masks.read(path, history)
    model_arguments.check_revision(path, metadata, loaded)
    if masks.shape != (loaded.adapter.n_layers, loaded.adapter.n_neurons):
        raise FileError(f"{path}: masks of {masks.shape[0]} layers of {masks.shape[1]} neurons; expected those of "
                        f"{loaded.name}: {loaded.adapter.n_layers} of {loaded.adapter.n_neurons}")  # fmt: skip
    result = [
        NeuronMask(culture, "act_fn", *np.divmod(flat, masks.shape[1])) for culture, flat in masks.neurons.items()
    ]
    parts = layout.key("masks", path)
    return result, metadata | {"selector_name": parts["selector"], "top_fraction": parts["fraction"]}


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet of one run, mask files of the other -> answers, one row per mask and question

    `mask_file` says which of the mask files a row belongs to, from 0; the metadata has what each says of itself.
    """
    import numpy as np
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.data.samples import read_samples
    from culture_neurons.models.ablation import evaluator

    samples, opener = read_samples(o.samples, split="evaluate")
    loaded, prompt = model_arguments.load(o)
    history = History()
    read = [read_masks(path, loaded, history) for path in o.masks]
    every = [(number, mask) for number, (masks, _) in enumerate(read) for mask in masks]
    o.shard, o.shards = 0, 1
    todo = model_arguments.batches(o, loaded, samples, prompt)
    rows = []
    with evaluator(loaded, [mask for _, mask in every], prompt) as evaluate:
        for batch, answers in model_arguments.run(loaded, todo, opener, prompt, f"{len(every)} masks", evaluate):
            for (number, mask), given in zip(every, answers, strict=True):
                rows += [
                    (number, mask.culture, s.sample_id, s.culture, a.prediction, a.prediction == s.label,
                     a.well_formed, np.asarray(a.logprobs, dtype=np.float32))
                    for s, a in zip(batch.samples, given, strict=True)
                ]  # fmt: skip
    key = ["mask_file", "mask_culture", "sample_id"]
    table = pd.DataFrame(rows, columns=[*key, "culture", "prediction", "correct", "well_formed", "logprobs"])
    made_by = cli.provenance(
        "transfer", o, **model_arguments.made_with(loaded), masks=[metadata for _, metadata in read],
        history=history.as_dict(),
    )  # fmt: skip
    files.write_table(o.answers_out, table.sort_values(key, ignore_index=True), made_by | {
        "masks_of": o.masks_of, "questions_of": o.questions_of,
    })  # fmt: skip
    cli.log.info("%s: %d masks of %s on %d questions of %s", loaded.name, len(every), o.masks_of, len(samples),
                 o.questions_of)  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    parser.add_argument("--masks", type=Path, nargs="+", required=True, help="mask files of the same model")
    parser.add_argument("--masks-of", required=True, help="name of the run that chose the masks")
    parser.add_argument("--questions-of", required=True, help="name of the run whose questions are asked")
    parser.add_argument("--answers-out", type=Path, required=True, help="parquet file")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
