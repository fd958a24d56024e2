"""Add up what a run will cost, from the samples, the config and a calibration of each model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from culture_neurons.errors import FileError
from culture_neurons.files import damaged
from culture_neurons.steps import cli


def read_calibration(path: Path, models: Mapping[str, Any]) -> dict[str, Any]:
    """What `calibrate` wrote. Raises FileError when the file is missing, damaged, or of none of the models."""
    try:
        calibration = json.loads(path.read_text(encoding="utf-8"))
        name, _ = calibration["model"], calibration["seconds_per_question"]
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (ValueError, LookupError, TypeError):
        raise damaged(path, "damaged, or no calibration") from None
    if name not in models:
        raise FileError(f"{path}: of model {name!r}; expected one of {', '.join(models)}; delete it and run again")
    return calibration


def main(o: argparse.Namespace) -> None:
    """samples.parquet, calibrations -> plan.txt, plan.json"""
    from culture_neurons import files, layout
    from culture_neurons.workflow import jobs, plan_text, planning
    from culture_neurons.workflow.run import Run

    table, _ = files.read_table(o.samples, ["culture", "split"], only=True)
    splits = {
        str(culture): {str(split): int(n) for split, n in part.value_counts().items()}
        for culture, part in table.groupby("culture")["split"]
    }
    amount = Run(o.config).amount_of_work
    calibrations = [read_calibration(path, amount["models"]) for path in o.calibrations]
    further = {}
    for path in o.further:
        name = layout.key("samples", path)["of"].rstrip("/").removeprefix("sets/")
        further[name] = len(files.read_table(path, ["sample_id"], only=True)[0])
    measured = [of for of in calibrations if of["seconds_per_question"]]
    plan = planning.plan(amount, splits, measured, further, jobs.count(o.config, o.snakefile))
    # Of a run that is over at once: its model was not loaded.
    plan["unmeasured"] = {of["model"]: of["passes"] for of in calibrations if of not in measured}
    content = {**cli.provenance("plan", o), **plan}
    files.write_text(o.json_out, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    files.write_text(o.text_out, plan_text.text(plan))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="samples.parquet")
    parser.add_argument("--further", type=Path, nargs="*", default=[], help="samples.parquet of all other questions")
    parser.add_argument("--calibrations", type=Path, nargs="+", required=True, help="calibration.json of each model")
    parser.add_argument("--config", type=cli.json_object, required=True, help="JSON: the whole config")
    parser.add_argument("--snakefile", type=Path, required=True, help="the workflow, whose jobs are counted")
    parser.add_argument("--text-out", type=Path, required=True, help="the plan to read")
    parser.add_argument("--json-out", type=Path, required=True, help="the plan for programs")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
