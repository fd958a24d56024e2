"""Ask one model every question, and keep what it answered."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from culture_neurons.steps import cli, model_arguments


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet -> predictions.parquet"""
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.data.samples import read_samples
    from culture_neurons.models.inference import answer

    samples, opener = read_samples(o.samples)
    loaded, prompt = model_arguments.load(o)
    rows = []
    # Batches never mix splits: those of evaluate are the batches of ablate, so that what a batch does to the last
    # digits of a half-precision model is no effect of a mask.
    ask = partial(answer, loaded, prompt=prompt)
    for batch, answers in model_arguments.batches(o, loaded, samples, opener, prompt, "answers", ask):
        rows += [
            (s.sample_id, s.culture, s.split, list(order), a.prediction, a.prediction == s.label, a.well_formed,
             list(a.logprobs))
            for s, order, a in zip(batch.samples, batch.orders, answers, strict=True)
        ]  # fmt: skip
    columns = ["sample_id", "culture", "split", "option_order", "prediction", "correct", "well_formed", "logprobs"]
    table = pd.DataFrame(rows, columns=columns).sort_values("sample_id", ignore_index=True)
    files.write_table(o.predictions_out, table, cli.provenance("infer", o, **loaded.identity))
    cli.log.info(
        "%s: %d of %d answers right (%.1f %%), %.1f %% well formed",
        loaded.name,
        table["correct"].sum(),
        len(table),
        100 * table["correct"].mean(),
        100 * table["well_formed"].mean(),
    )


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    parser.add_argument("--predictions-out", type=Path, required=True, help="predictions.parquet")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
