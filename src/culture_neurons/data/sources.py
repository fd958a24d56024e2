"""Sources of data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class SourceTable:
    """Raw questions of a source, one per row, and how its image references are opened."""

    rows: pd.DataFrame
    images: dict[str, Any]
