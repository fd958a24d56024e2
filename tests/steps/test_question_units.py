from pathlib import Path

import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.steps import question_units


def test_units_by_sample(tmp_path):
    samples = pd.DataFrame({"sample_id": ["a", "b", "c"], "culture": "Ona", "image_id": ["i", "i", ""]})
    files.write_table(tmp_path / "samples.parquet", samples, {})
    unit = question_units.read(tmp_path / "samples.parquet")
    assert unit == {"a": "image i", "b": "image i", "c": "question c"}
    question_units.check_known(["c", "a"], unit, Path("s.h5"), Path("samples.parquet"))
    with pytest.raises(FileError, match=r"^s\.h5: sample 'd' is not in samples\.parquet; delete the older file$"):
        question_units.check_known(["e", "a", "d"], unit, Path("s.h5"), Path("samples.parquet"))
