"""Two finished runs side by side, as the config names them (`runs`, `comparison`): their files, and jobs with a model.

What is compared is read from the results folders. None of their files is an input of a rule: whatever has changed in
code or config since, a finished run is never made again for a comparison.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from culture_neurons import files, layout
from culture_neurons.analysis.finished_run import FinishedRun, MaskKey, names_of, open_runs
from culture_neurons.errors import CultureNeuronsError
from culture_neurons.workflow.run import NOT_LOADED, Run
from culture_neurons.workflow.settings import as_json

#: How a job with a model runs that the config at hand does not have.
JOB = ("batch_size", "threads", "gpus", "mem_mb")


class Comparison:
    """What the rules of a comparison read.

    run      the run of the config at hand: it says how jobs run, and how often is resampled
    stanza   the schema of a model's stanza, for a model that this config does not have
    """

    def __init__(self, run: Run, stanza: Mapping[str, Any]) -> None:
        self.run = run
        self.folders: list[str] = [str(Path(folder)) for folder in run.config["runs"]]
        self.settings: Mapping[str, Any] = run.config["comparison"]
        self._defaults = {key: stanza["properties"][key]["default"] for key in JOB}

    @property
    def name(self) -> str:
        """Name of the comparison, and of its folder below results/."""
        return self.settings["name"] or "-vs-".join(names_of(self.folders)) or "none"

    def path(self, name: str, **given: object) -> str:
        """A path of the comparison; see `layout.path`."""
        return layout.path(name, dataset=self.name, **given)

    @property
    def top(self) -> list[str]:
        """The top fraction that figures show and that is transferred, if one is named."""
        wanted = self.settings["top_fraction"]  # on a command line a text, also of nothing
        return [] if wanted in (None, "null") else [layout.fraction_text(float(wanted))]

    @cached_property
    def finished_runs(self) -> list[FinishedRun]:
        """The two runs; none where either can't be read, or nothing tells them apart: the step says why."""
        try:
            runs = open_runs(self.folders)
        except CultureNeuronsError:
            return []
        return runs if len({run.name for run in runs}) == len(runs) else []

    @property
    def with_transfer(self) -> bool:
        """Whether masks change places; a command line gives a text."""
        return str(self.settings["transfer"]).lower() == "true"

    @property
    def state(self) -> str:
        """A digest that changes where a run was made again: of what its manifest says, or of its files' sizes."""
        digest = hashlib.sha256()
        for folder in map(Path, self.folders):
            manifest = folder / "manifest.json"
            if manifest.is_file():
                digest.update(manifest.read_bytes())
            else:
                sizes = [f"{p.relative_to(folder)} {p.stat().st_size}" for p in sorted(folder.rglob("*.parquet"))]
                digest.update("\n".join(sizes).encode())
        return digest.hexdigest()[:16]

    # Masks of one run on the questions of the other.

    @cached_property
    def transfers(self) -> dict[tuple[str, str], tuple[FinishedRun, FinishedRun, list[MaskKey]]]:
        """(model, name of the run whose masks they are) -> that run, the run that is asked, and the masks.

        Of models of one name, revision and dtype, and of masks at neurons that both runs have.
        """
        if not self.with_transfer or len(self.finished_runs) != 2:
            return {}
        result = {}
        for source, target in (self.finished_runs, self.finished_runs[::-1]):
            for model in source.models:
                if model in target.models and source.identity(model) == target.identity(model):
                    keys = self._shared_masks(source, target, model)
                    if keys:
                        result[model, source.name] = source, target, keys
        return result

    def _shared_masks(self, source: FinishedRun, target: FinishedRun, model: str) -> list[MaskKey]:
        both = sorted(key for key in source.masks if key in target.masks and key[0] == model)
        top = self.top or sorted({key[2] for key in both}, key=float)[:1]
        return [key for key in both if key[2] in top and _is_at_neurons(source.masks[key])]

    @property
    def transfer_files(self) -> list[str]:
        """Answers under masks of the other run."""
        return [self.path("transfer", model=model, masks_of=name) for model, name in self.transfers]

    def masks(self, model: str, masks_of: str) -> list[str]:
        """The mask files that a job takes to the questions of the other run."""
        source, _, keys = self.transfers[model, masks_of]
        return [str(source.masks[key]) for key in keys]

    def questions(self, model: str, masks_of: str) -> FinishedRun:
        """The run whose questions are asked."""
        return self.transfers[model, masks_of][1]

    def model_settings(self, model: str, masks_of: str) -> str:
        """What loading needs, as the run that is asked noted it in its manifest: JSON."""
        judge = self.questions(model, masks_of)
        stanza = files.read_json(judge.folder / "manifest.json")["config"]["models"][model]
        here = "path" not in stanza or "eye" in stanza
        load = {key: value for key, value in stanza.items() if key not in NOT_LOADED}
        return as_json(load | {"name": model, "path": str(judge.folder / model / "model") if here else stanza["path"]})

    def prompt(self, model: str, masks_of: str) -> str:
        """How the run that is asked asks its questions, as JSON."""
        return as_json(self.questions(model, masks_of).prompt(model))

    def job(self, model: str, attempt: int = 1) -> dict[str, Any]:
        """What a job with a model asks for: as in the config at hand, else as the schema has it."""
        if model in self.run.models:
            return self.run.job(model, attempt)
        known = self._defaults
        return {
            "gpu": known["gpus"], "nodes": 1, "mem_mb": attempt * known["mem_mb"], "batch_size": known["batch_size"],
            "device_map": "default",
        }  # fmt: skip

    def threads(self, model: str) -> int:
        """Threads of a job with a model."""
        return self.run.models.get(model, self._defaults)["threads"]


def _is_at_neurons(path: Path) -> bool:
    """Whether a mask file is of neurons at one site, as activation statistics choose them."""
    return not isinstance(files.read_table(path, ["culture"], only=True)[1].get("neurons"), Mapping)
