"""Ask one model the questions of one shard, and keep what it answered."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from culture_neurons.steps import cli, known_answers, model_arguments


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet -> the answers to one shard of the questions"""
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.data.samples import read_samples

    model_arguments.check_part("shard", o.shard, o.shards)
    samples, opener = read_samples(o.samples)
    loaded, prompt = model_arguments.load(o)
    model_arguments.check_padding(loaded)
    # Whether later steps can attribute at all is said before the first question is asked.
    model_arguments.check_sites(loaded, [site for site in o.check_sites if site != "none"])
    # Batches never mix splits: those of evaluate are the batches of ablate, so that what a batch does to the last
    # digits of a half-precision model is no effect of a mask.
    reasoning = model_arguments.open_reasoning(loaded)
    folders = [folder for folder in o.reuse.split(os.pathsep) if folder not in ("", "none")]
    known, sources = known_answers.find(folders, o.samples, samples, loaded, o.prompt, o.model)
    table = model_arguments.answers(
        o, loaded, [s for s in samples if s.sample_id not in known], opener, prompt, "answers"
    )
    if known and o.shard == 0:
        reused = pd.DataFrame(list(known.values()), columns=known_answers.COLUMNS)
        parts = [part for part in (table, reused) if len(part)]
        table = pd.concat(parts).sort_values("sample_id", ignore_index=True)
    reuse = {"reused": len(known), "reused_from": sources} if known else {}
    model_metadata = model_arguments.made_with(loaded) | reuse
    files.write_table(
        o.answers_out, table, cli.provenance("infer", o, **model_metadata, rows=len(samples), open_reasoning=reasoning)
    )
    cli.log.info("%s: %d answers (shard %d of %d)", loaded.name, len(table), o.shard + 1, o.shards)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    model_arguments.add_shard(parser)
    parser.add_argument("--check-sites", nargs="*", default=[], help="projections that later steps attribute; or none")
    parser.add_argument("--reuse", default="", help="results folders of other runs whose answers are taken where "
                        f"model, question and prompt are the same, with {os.pathsep!r} between them")  # fmt: skip
    parser.add_argument("--answers-out", type=Path, required=True, help="parquet file of this shard")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
