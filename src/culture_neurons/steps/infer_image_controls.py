"""Ask one model the evaluate questions again with a grey image, without one, or with that of another culture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from culture_neurons.errors import ConfigError
from culture_neurons.steps import cli, model_arguments


@model_arguments.names_memory
def main(o: argparse.Namespace) -> None:
    """samples.parquet -> the answers under each control; questions that have no image are left out"""
    from culture_neurons import files, layout
    from culture_neurons.data import image_controls
    from culture_neurons.data.samples import read_samples

    outputs = {control: path for (control,), path in layout.by("image_control", o.answers_out, "control").items()}
    if not outputs.keys() <= set(image_controls.CONTROLS):
        known = ", ".join(image_controls.CONTROLS)
        raise ConfigError(f"--answers-out: of {', '.join(outputs)}; expected some of {known}")
    samples, opener = read_samples(o.samples, split="evaluate")
    with_image = [sample for sample in samples if sample.image is not None]
    loaded, prompt = model_arguments.load(o)
    for control, path in outputs.items():
        questions, open_image = image_controls.apply_control(control, samples, opener)
        table = model_arguments.answers(o, loaded, questions, open_image, prompt, f"image control {control}")
        counts: dict[str, Any] = {"rows": len(questions), "without_image": len(samples) - len(with_image)}
        note = ""
        if control == image_controls.SWAPPED:
            chosen = image_controls.choose_images(samples)
            table["shown_culture"] = [chosen[name].culture for name in table["sample_id"]]
            left_out = sorted(sample.sample_id for sample in with_image if sample.sample_id not in chosen)
            counts["without_other_image"], note = left_out, f", for {len(left_out)} there is none of another culture"
        made_by = cli.provenance(
            "infer_image_controls", o, **model_arguments.made_with(loaded), image_control=control, **counts
        )
        files.write_table(path, table, made_by)
        cli.log.info(
            "%s: %d answers under image control %s; %d questions have no image%s", loaded.name, len(table), control,
            counts["without_image"], note,
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
        help="a parquet file per control: blank (a grey image), none (no image), swapped (that of another culture)",
    )
    parser.set_defaults(shard=0, shards=1)  # one job: all controls take less than three times as long as the answers
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
