"""Attribute one model's right answers to units: gradient times activation, summed per culture."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from culture_neurons.errors import DataError
from culture_neurons.steps import cli, model_arguments


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet, predictions.parquet -> one shard of attributions

    Of all identify questions, whatever the model answers, of the cultures with enough right answers (as in `record`).
    The control asks for the options alone, without question and image; there a negative s_u counts as 0.
    """
    import numpy as np

    from culture_neurons import files, store
    from culture_neurons.data.prompts import without_question
    from culture_neurons.data.samples import read_samples
    from culture_neurons.models.attribution import attribute, attributor
    from culture_neurons.types import Attributions

    model_arguments.check_part("shard", o.shard, o.shards)
    samples, opener = read_samples(o.samples, split="identify")
    predictions, metadata = files.read_table(o.predictions, ["culture", "split", "correct"])
    cultures, left_out = model_arguments.kept_cultures(predictions, o.min_correct)
    for culture, n in left_out.items():
        cli.log.warning("left out: culture %r has %d correct answers, fewer than %d", culture, n, o.min_correct)
    sample_cultures = {sample.culture for sample in samples}
    if left := [culture for culture in cultures if culture not in sample_cultures]:
        named, known = (", ".join(map(repr, names)) for names in (left[:5], sorted(sample_cultures)[:20]))
        raise DataError(
            f"{o.samples}: no question about {named}, and so nothing to attribute; found {known}\n"
            "  data: mentions must name all recorded cultures, as the data does"
        )
    samples = [sample for sample in samples if sample.culture in cultures]
    if o.control:
        samples = [without_question(sample) for sample in samples]
    loaded, prompt = model_arguments.load(o)
    model_arguments.check_revision(o.predictions, metadata, loaded)
    by_site = model_arguments.check_sites(loaded, o.sites)
    todo = model_arguments.batches(o, loaded, samples, prompt)
    counts = np.zeros(len(cultures), np.int64)
    with attributor(loaded, by_site) as hooks:
        sums = hooks.zeros(len(cultures))
        work = partial(attribute, loaded, hooks=hooks)
        for batch, (_, attributions) in model_arguments.run(loaded, todo, opener, prompt, "attributions", work):
            at = [cultures.index(sample.culture) for sample in batch.samples]
            for site, values in attributions.items():
                for culture, value in zip(at, values, strict=True):
                    sums[site][culture] += np.maximum(value, 0) if o.control else value
            counts += np.bincount(at, minlength=len(cultures))
    made_by = cli.provenance("attribute", o, **model_arguments.made_with(loaded), control=o.control)
    store.write_attributions(o.attributions_out, Attributions(cultures, counts, sums), made_by)
    units = sum(int(present.sum()) for present in hooks.present.values())
    cli.log.info("%s: %d questions (shard %d of %d), %d units", loaded.name, counts.sum(), o.shard + 1, o.shards, units)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    model_arguments.add_shard(parser)
    parser.add_argument("--predictions", type=Path, required=True, help="predictions.parquet of the same model")
    parser.add_argument("--min-correct", type=int, default=1, help="correct answers a culture needs")
    parser.add_argument("--sites", nargs="+", required=True, help="projections, such as gate_proj q_proj")
    parser.add_argument("--control", action="store_true", help="ask without question and image")
    parser.add_argument("--attributions-out", type=Path, required=True, help="HDF5 file of this shard")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
