"""What a data source gives: raw rows, one per question, and how their images are opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from culture_neurons.errors import ConfigError, nearest

#: Columns that every source gives. Whatever other columns it has can be grouped by.
REQUIRED = ("sample_id", "question", "options", "label", "category", "image", "image_id")

#: Optional column: whose each option is, a list of names of cultures in the order of the options; None where that is
#: not known.
OPTION_CULTURES = "option_cultures"

#: Optional column: a reason of `data.reasons` for rows that the source itself leaves out, else None.
EXCLUDED = "excluded"


@dataclass(frozen=True)
class SourceTable:
    """Raw rows, one per question, not yet checked, and how their images are opened.

    rows      data frame with the columns of `REQUIRED`: sample_id, question, options (list of texts or
              None), label (index of the right option; -1 or None = hidden), category, image (a reference
              with one of the keys bytes, path, row; or None), image_id (text; rows that show one image
              share it; "" without an image). `excluded` and `option_cultures` are optional. Every other column is a
              group column.
    images    JSON-able: how `data.images.opener` opens the references
    warnings  what the user should know of how the rows were read
    origins   JSON-able records of what the rows were made from, where that is not a data set of its own: package,
              version, licence, kind, and counts
    """

    rows: pd.DataFrame
    images: Mapping[str, Any]
    warnings: Sequence[str] = ()
    origins: Sequence[Mapping[str, Any]] = ()


def check_keys(settings: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise ConfigError when `settings` has a key that is not in `known`; `where` names the stanza."""
    known = list(known)
    for key in settings:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, known)}; known: {', '.join(known)}")
