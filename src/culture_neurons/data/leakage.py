"""Questions that judge neurons must not choose them: repeats of one data set in another are found here."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from culture_neurons.data.splitting import EVALUATE, IDENTIFY

#: What makes two questions the same, whatever their ids, cultures and the order of their options.
COLUMNS = ("question", "options", "label", "image_id", "split")


def repeats(rows: pd.DataFrame, judging: Iterable[pd.DataFrame]) -> np.ndarray:
    """Which rows choose neurons and judge them elsewhere: bool [row].

    rows       columns `COLUMNS`
    judging    tables of other data sets, with the same columns: their rows of the half `evaluate` judge neurons

    A row of the half `identify` counts when a judging one has its question, options in any order, right option and
    image.
    """
    judges = {key for table in judging for key, side in zip(_keys(table), table["split"], strict=True)
              if side == EVALUATE}  # fmt: skip
    return np.array(
        [side == IDENTIFY and key in judges for key, side in zip(_keys(rows), rows["split"], strict=True)], dtype=bool
    )


def _keys(table: pd.DataFrame) -> list[tuple]:
    columns = (table[name] for name in COLUMNS[:-1])
    return [
        (question, frozenset(options), options[int(label)], image_id)
        for question, options, label, image_id in zip(*columns, strict=True)
    ]
