"""Which questions belong together: they are drawn together, shuffled together, and stay on one side of a split."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: Columns of samples.parquet that `units` reads; the last one only where it is there.
COLUMNS, OPTIONAL = ("sample_id", "culture", "image_id"), ("question_id",)


def units(rows: pd.DataFrame) -> np.ndarray:
    """The unit of each question, a text [question].

    That is: questions about one image; without an image, variants of one question to one culture (equal `question_id`);
    any other question is a unit of its own.
    """
    variants = rows["question_id"] if "question_id" in rows else [""] * len(rows)
    result = []
    for name, culture, image, variant in zip(*(rows[column] for column in COLUMNS), variants, strict=True):
        if isinstance(image, str) and image:
            result.append(f"image {image}")
        elif isinstance(variant, str) and variant:
            result.append(f"variants {variant} of {culture}")
        else:
            result.append(f"question {name}")
    return np.array(result, dtype=object)
