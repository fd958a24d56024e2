"""Record activation statistics of the identify samples that one model answered correctly."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from culture_neurons.steps import cli, model_arguments


def chosen(predictions, min_correct: int) -> tuple[list[str], dict[str, int]]:
    """Ids of the samples to record, sorted, and the cultures left out with their number of right answers.

    A sample counts when it is in the identify split, was answered correctly, and its culture is one of
    `model_arguments.kept_cultures`.
    """
    kept, left_out = model_arguments.kept_cultures(predictions, min_correct)
    identify = predictions[predictions["split"] == "identify"]
    ids = identify.loc[identify["correct"] & identify["culture"].isin(kept), "sample_id"]
    return sorted(ids), left_out


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet, predictions.parquet -> one shard of statistics"""
    from culture_neurons import files, store
    from culture_neurons.data.samples import read_samples
    from culture_neurons.models.hooks import record
    from culture_neurons.models.inputs import contexts
    from culture_neurons.models.recording import NEED_CONTENT, activation_sums

    model_arguments.check_part("shard", o.shard, o.shards)
    samples, opener = read_samples(o.samples, split="identify")
    predictions, metadata = files.read_table(o.predictions, ["sample_id", "culture", "split", "correct"])
    ids, left_out = chosen(predictions, o.min_correct)
    for culture, n in left_out.items():
        cli.log.warning("left out: culture %r has %d correct answers, fewer than %d", culture, n, o.min_correct)
    right = set(ids)
    loaded, prompt = model_arguments.load(o)
    model_arguments.check_revision(o.predictions, metadata, loaded)
    todo = model_arguments.batches(o, loaded, [s for s in samples if s.sample_id in right], prompt)
    todo = [contexts(batch, o.options) for batch in todo]
    samples = sorted((q.sample for batch in todo for q in batch), key=lambda s: s.sample_id)
    made_by = cli.provenance("record", o, **model_arguments.made_with(loaded), token_rule=o.token_rule)
    with (
        store.statistics_writer(
            o.statistics_out,
            [s.sample_id for s in samples],
            [s.culture for s in samples],
            o.site,
            loaded.adapter.n_layers,
            loaded.adapter.n_neurons,
            made_by,
            mantissa_bits=o.mantissa_bits,
            negative_sum=o.negative_sum,
            experts=loaded.adapter.expert_axis,
        ) as writer,
        record(loaded.adapter, o.negative_sum) as recorder,
    ):
        work = partial(activation_sums, loaded, rule=o.token_rule, recorder=recorder)
        content = o.token_rule in NEED_CONTENT
        for batch, sums in model_arguments.run(loaded, todo, opener, prompt, "activations", work, content):
            writer.write([s.sample_id for s in batch.samples], *sums)
    size, raw = store.bytes_on_disk(o.statistics_out)
    cli.log.info(
        "%s: recorded %d samples (shard %d of %d); %.1f kB per sample on disk, %.0f %% of the plain sums",
        loaded.name,
        len(samples),
        o.shard + 1,
        o.shards,
        size / max(1, len(samples)) / 1000,
        100 * size / max(1, raw),
    )


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    model_arguments.add_shard(parser)
    parser.add_argument("--predictions", type=Path, required=True, help="predictions.parquet of the same model")
    parser.add_argument("--site", default="act_fn", help="where neurons are recorded")
    parser.add_argument("--token-rule", default="all", help="which tokens count: all, content, image, text, last")
    parser.add_argument("--min-correct", type=int, default=1, help="correct answers a culture needs")
    parser.add_argument("--mantissa-bits", type=int, default=8, help="precision of stored sums, 1 to 23 (exact)")
    parser.add_argument("--negative-sum", action="store_true", help="record the sum of min(g, 0) too")
    parser.add_argument("--options", action="store_true", help="record the right option's text too")
    parser.add_argument("--statistics-out", type=Path, required=True, help="HDF5 file of this shard")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
