"""Which questions are drawn or shuffled together, as the steps that read statistics per sample need it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from culture_neurons.errors import FileError


def read(path: Path) -> dict[str, str]:
    """Sample id -> its unit (`question_groups.units`), of the questions in samples.parquet."""
    from culture_neurons import files, question_groups

    samples, _ = files.read_table(
        path, list(question_groups.COLUMNS), only=True, optional=list(question_groups.OPTIONAL)
    )
    return dict(zip(samples["sample_id"], question_groups.units(samples), strict=True))


def check_known(ids: Collection[str], unit: Mapping[str, str], statistics: Path, samples: Path) -> None:
    """Raise FileError unless every sample of the statistics has a unit."""
    if missing := set(ids) - unit.keys():
        raise FileError(f"{statistics}: sample {min(missing)!r} is not in {samples}; delete the older file")
