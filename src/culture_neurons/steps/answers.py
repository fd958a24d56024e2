"""What the steps that make tables read: questions, answers without an intervention, and answers under one.

Whatever is read is added to the history of the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from culture_neurons.steps.history import History

COLUMNS = ["sample_id", "culture", "prediction", "correct", "well_formed", "logprobs"]


def read_samples(path: Path, history: History, *more: str) -> Any:
    """The columns of samples.parquet that tables need, and those of `more` that there are."""
    from culture_neurons import files
    from culture_neurons.analysis import mask_effects

    table, metadata = files.read_table(
        path, mask_effects.REQUIRED_COLUMNS, only=True, optional=[*mask_effects.OPTIONAL_COLUMNS, *more]
    )
    history.add(metadata)
    return table


def read_baseline(samples: Any, path: Path, history: History) -> tuple[Any, dict[str, Any], Any]:
    """Answers without an intervention: `mask_effects.Baseline`, which model gave them, and the table of all splits."""
    from culture_neurons import files
    from culture_neurons.analysis import mask_effects

    table, metadata = files.read_table(path, [*COLUMNS, "split"])
    history.add(metadata)
    identity = {key: metadata.get(key) for key in ("model", "revision")}
    return mask_effects.baseline(samples, table, str(path)), identity, table


def open_reasoning(path: Path) -> str:
    """The tag of reasoning in which the prompts behind these answers end, "" where there is none."""
    from culture_neurons import files

    return str(files.read_table(path, ["sample_id"], only=True)[1].get("open_reasoning") or "")


def read_outcomes(
    path: Path, identity: Mapping[str, Any], of: Path, history: History, *more: str
) -> tuple[Any, dict[str, Any]]:
    """Answers under an intervention, with the columns `more` too, and their metadata.

    Raises FileError unless the model `identity` gave them, which gave those of the file `of`.
    """
    from culture_neurons import files

    table, metadata = files.read_table(path, [*more, *COLUMNS])
    files.check_same_model(of, identity, path, metadata)
    history.add(metadata)
    return table, metadata
