from pathlib import Path

import pandas as pd
import pytest

from benchmarks import demo
from culture_neurons import files
from culture_neurons.errors import FileError


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Masks of three cultures, one without neurons; and masks at projections, which come first by name."""
    monkeypatch.setattr(demo, "RESULTS", tmp_path)
    for selector, sites, neurons in (
        ("culnig-specific", ["act_fn", "k_proj", "up_proj"], [1, 2, 3]),
        ("mad", "act_fn", [5, 5, 9]),
    ):
        table = {"culture": ["a", "a", "b"], "site": sites, "layer": [0, 1, 1], "neuron": neurons}
        path = tmp_path / "m" / "masks" / f"{selector}_top0.01.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_table(path, pd.DataFrame(table), {"cultures": ["a", "b", "c"], "layers": 2, "neurons": 10})
    return tmp_path


def test_masks_are_those_by_statistics_that_have_neurons():
    found = demo.masks("m", 2)
    assert [(mask.culture, mask.layer.tolist(), mask.neuron.tolist()) for mask in found] == [
        ("a", [0, 1], [5, 5]),
        ("b", [1], [9]),
    ]
    assert len(demo.masks("m", 1)) == 1


def test_too_few_masks_are_an_error():
    with pytest.raises(FileError, match="2 masks, expected 3; run make demo-all first"):
        demo.masks("m", 3)
