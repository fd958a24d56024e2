"""What a dry run and the start of a run or plan can say of `reuse`: from where no answers will be taken, and why.

What only a loaded model or the questions themselves tell is said by the job that asks (`steps/known_answers.py`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from culture_neurons import files
from culture_neurons.errors import CultureNeuronsError
from culture_neurons.files import first_line
from culture_neurons.workflow.run import Run

#: A model folder of more bytes is not digested for a note: the job that loads it compares revisions anyhow.
MOST_BYTES = 1 << 30


def notes(run: Run) -> list[str]:
    """A line for each folder of `reuse`, or model in it, whose answers can't be those that this run still has to ask
    for; none where all models have answered."""
    asking = [model for model in run.models if not Path(run.path("predictions", of="", model=model)).exists()]
    if not asking:
        return []
    return [f"reuse: {line}" for folder in run.config["reuse"] for line in _of_folder(run, Path(folder), asking)]


def _of_folder(run: Run, folder: Path, asking: list[str]) -> list[str]:
    if not folder.is_dir():
        return [f"{folder}: no such folder; nothing is reused from it"]
    if not (folder / "samples.parquet").is_file():
        return [f"{folder}: no samples.parquet; expected the results of a run; nothing is reused from it"]
    answers = {model: folder / model / "predictions.parquet" for model in asking}
    without = [model for model, path in answers.items() if not path.is_file()]
    lines = [f"{folder}: no answers of {', '.join(without)}: not asked there, or not yet"] if without else []
    for model in asking:
        if model not in without and (why := _difference(run, model, answers[model])):
            lines.append(f"{answers[model]}: {why}; its answers are not reused")
    return lines


def _difference(run: Run, model: str, path: Path) -> str:
    """In what these answers are not those that the run would get, as far as it is known without its model."""
    try:
        _, metadata = files.read_table(path, ["sample_id"], only=True)
    except CultureNeuronsError as error:
        return first_line(error).removeprefix(f"{path}: ").partition(";")[0]
    there, here = str(metadata.get("revision")), _revision(run, model)
    if here and not there.startswith(here):
        return f"of revision {there} of {model}, which is {here} here"
    if metadata.get("settings", {}).get("prompt") != run.config["prompt"]:
        return "of another prompt"
    return ""


def _revision(run: Run, model: str) -> str:
    """The revision that a model will have; "" where only loading it tells."""
    stanza: dict[str, Any] = run.models[model]
    made_here = model in (*run.trained, *run.converted, *run.with_eye)
    folder = Path(run.path("model", model=model) if made_here else stanza["path"])
    if folder.is_dir():
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        return files.model_digest(folder) if size <= MOST_BYTES else ""
    named = str(stanza.get("revision") or "")
    return named if not made_here and re.fullmatch(r"[0-9a-f]{7,40}", named) else ""
