"""Ask one model the evaluate questions again with a grey image, or without one."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.errors import ConfigError
from culture_neurons.steps import cli, model_arguments


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet -> the answers under each control; questions that have no image are left out"""
    from culture_neurons import files, layout
    from culture_neurons.data.image_controls import CONTROLS, apply_control
    from culture_neurons.data.samples import read_samples

    outputs = {control: path for (control,), path in layout.by("image_control", o.answers_out, "control").items()}
    if not outputs.keys() <= set(CONTROLS):
        raise ConfigError(f"--answers-out: of {' and '.join(outputs)}; expected {' and '.join(CONTROLS)}")
    samples, opener = read_samples(o.samples, split="evaluate")
    loaded, prompt = model_arguments.load(o)
    for control, path in outputs.items():
        questions, open_image = apply_control(control, samples, opener)
        table = model_arguments.answers(o, loaded, questions, open_image, prompt, f"image control {control}")
        made_by = cli.provenance(
            "infer_image_controls", o, **model_arguments.made_with(loaded), image_control=control, rows=len(questions),
            without_image=len(samples) - len(questions),
        )  # fmt: skip
        files.write_table(path, table, made_by)
        cli.log.info(
            "%s: %d answers under image control %s; %d questions have no image", loaded.name, len(table), control,
            len(samples) - len(questions),
        )  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    model_arguments.add(parser)
    parser.add_argument(
        "--answers-out",
        type=Path,
        nargs="+",
        required=True,
        help="a parquet file per control: blank (a grey image), none (no image)",
    )
    parser.set_defaults(shard=0, shards=1)  # one job: both controls take less than twice the time of the answers
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
