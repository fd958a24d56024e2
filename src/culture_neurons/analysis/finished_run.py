"""What a results folder holds of a finished run, for comparing it with another: questions, answers, masks, effects.

Nothing but the files is asked: neither the config nor the workflow. Each file is read when it is needed; one that is
missing or damaged is a FileError of one line, so that whoever compares can go on with the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons import files, layout, selectors
from culture_neurons.analysis import mask_effects, paired_changes
from culture_neurons.analysis.mask_effects import Baseline, Changes
from culture_neurons.analysis.overlaps import Masks
from culture_neurons.analysis.paired_changes import Paired
from culture_neurons.errors import FileError
from culture_neurons.types import CULNIG, IMPORTED

#: Columns of answers that comparisons need.
ANSWERS = ["sample_id", "culture", "prediction", "correct", "well_formed", "logprobs"]
#: (model, selector, top fraction) of a file.
MaskKey = tuple[str, str, str]


def open_runs(folders: Sequence[str | Path]) -> list[FinishedRun]:
    """The runs in these folders, with the names of `names_of`. Raises FileError where one can't be read."""
    return [FinishedRun(folder, name) for folder, name in zip(folders, names_of(folders), strict=True)]


def names_of(folders: Sequence[str | Path]) -> list[str]:
    """Names that tell runs apart: those of their folders.

    Two that are equal get the first folders above them that differ: `before-demo` and `after-demo` of
    before/results/demo and after/results/demo. They stay equal where nothing above them differs.
    """
    paths = [Path(folder).resolve() for folder in folders]
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    for above in zip(*(path.parents for path in paths), strict=False):
        # Names of files and, on a cluster, of jobs are made of them.
        marks = [re.sub(r"[^\w.-]", "_", folder.name) for folder in above]
        if len(set(marks)) == len(marks):
            return [f"{mark}-{name}".removeprefix("-") for mark, name in zip(marks, names, strict=True)]
    return names


@dataclass(frozen=True)
class MaskFile:
    """The masks of one file.

    metadata   what the file says of itself
    sizes      culture -> number of neurons
    flat       the masks as flat indices; None where units lie at several sites, whose indices mean several things
    """

    metadata: Mapping[str, Any]
    sizes: dict[str, int]
    flat: Masks | None

    @property
    def control(self) -> bool:
        """Whether these are random masks."""
        method = self.metadata.get("selector", "")
        return method not in (IMPORTED, *CULNIG, "") and selectors.resolve(method).control


class FinishedRun:
    """A results folder.

    folder      results/{dataset}
    name        what tables, figures and files call it: the name of the folder, if no other is given
    samples     the questions, columns of `mask_effects.REQUIRED_COLUMNS`, and of its OPTIONAL_COLUMNS where they exist
    answers, masks, outcomes   model, or (model, selector, top fraction) -> file

    Raises FileError where the folder holds no questions or no answers.
    """

    def __init__(self, folder: str | Path, name: str | None = None) -> None:
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name
        path = self.folder / "samples.parquet"
        if not path.is_file():
            raise FileError(f"{self.folder}: no samples.parquet; expected the results of a run, such as results/demo")
        self.samples, self.sources = files.read_table(
            path, mask_effects.REQUIRED_COLUMNS, only=True, optional=mask_effects.OPTIONAL_COLUMNS
        )
        self.answers: dict[str, Path] = {
            model: file for (model,), file in self._find("predictions", "*/predictions.parquet", "model").items()
        }
        self.masks = self._find("masks", "*/masks/*.parquet", "model", "selector", "fraction")
        self.outcomes = self._find("outcomes", "*/ablation/*.parquet", "model", "selector", "fraction")
        if not self.answers:
            raise FileError(f"{self.folder}: no answers of a model (no predictions.parquet); let the run end first")
        self._baselines: dict[str, tuple[Baseline, dict[str, Any]]] = {}

    def _find(self, name: str, pattern: str, *parts: str) -> dict[Any, Path]:
        home = self.folder.resolve()
        paths = layout.by(name, sorted(home.glob(pattern)), *parts)
        return {key: self.folder / path.relative_to(home) for key, path in paths.items()}

    @property
    def models(self) -> list[str]:
        """Models that answered, sorted."""
        return sorted(self.answers)

    @cached_property
    def group_noun(self) -> str:
        """What the run calls a group of questions (config: group_noun), as its manifest says; "" where it does not."""
        manifest = self.folder / "manifest.json"
        try:
            written = files.read_json(manifest) if manifest.is_file() else {}
        except FileError:  # a word of the page is no reason to compare nothing
            return ""
        config = written.get("config") if isinstance(written, dict) else None
        return str(config.get("group_noun") or "") if isinstance(config, dict) else ""

    @cached_property
    def planted(self) -> set[str]:
        """Those of them whose culture neurons are planted."""
        return {model for model in self.models if (self.folder / model / "planted.csv").is_file()}

    def baseline(self, model: str) -> Baseline:
        """The evaluate questions and the model's answers without masks."""
        return self._answered(model)[0]

    def metadata(self, model: str) -> dict[str, Any]:
        """What the file of a model's answers says of itself: model, revision, dtype, settings."""
        return self._answered(model)[1]

    def identity(self, model: str) -> dict[str, Any]:
        """What tells one model from another, whatever it is called."""
        return {key: self.metadata(model).get(key) for key in ("revision", "dtype", "gguf")}

    def prompt(self, model: str) -> dict[str, Any]:
        """How questions are asked, as the file of answers says."""
        return dict((self.metadata(model).get("settings") or {}).get("prompt") or {})

    def _answered(self, model: str) -> tuple[Baseline, dict[str, Any]]:
        if model not in self._baselines:
            table, metadata = files.read_table(self.answers[model], [*ANSWERS, "split"])
            self._baselines[model] = (
                mask_effects.baseline(self.samples, table, str(self.answers[model])), metadata,
            )  # fmt: skip
        return self._baselines[model]

    def mask_file(self, key: MaskKey) -> MaskFile:
        """The masks of one selector and top fraction."""
        table, metadata = files.read_table(self.masks[key], ["culture", "site", "layer", "neuron"])
        width, layers, cultures = metadata["neurons"], metadata["layers"], metadata["cultures"]
        of = table["culture"].astype(str)
        sizes = {name: int((of == name).sum()) for name in cultures}
        differ = len(set((metadata.get("experts") or {}).get("widths", []))) > 1
        if isinstance(width, Mapping) or differ:
            return MaskFile(metadata, sizes, None)
        index = np.ravel_multi_index((table["layer"], table["neuron"]), (layers, width))
        flat = {name: np.sort(index[(of == name).to_numpy()]) for name in cultures}
        return MaskFile(metadata, sizes, Masks((layers, width), flat))

    def changes(self, key: MaskKey) -> Changes:
        """What the masks of one file do to the evaluate questions of their run, question by question."""
        if key not in self.outcomes:
            raise FileError(f"{self.masks[key]}: no answers under these masks ({self.folder / key[0] / 'ablation'})")
        return self.changes_of(key[0], self.outcomes[key], self.mask_file(key).sizes)

    def changes_of(self, model: str, path: Path, sizes: dict[str, int], rows: pd.DataFrame | None = None) -> Changes:
        """The same of answers in a file, or in those `rows` of it, under masks of these sizes."""
        source = self.answers[model]
        if rows is None:
            rows, metadata = files.read_table(path, ["mask_culture", *ANSWERS])
            identity = {k: self.metadata(model).get(k) for k in ("model", "revision")}
            files.check_same_model(source, identity, path, metadata)
        return mask_effects.changes(self.baseline(model), rows, sizes, str(path), str(source))

    def paired(self, key: MaskKey) -> Paired:
        """Own and other masks' changes, question by question."""
        return paired_changes.pair(self.baseline(key[0]), self.changes(key), self.mask_file(key).sizes)
