import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.provenance import closure
from culture_neurons.steps import flat_masks
from culture_neurons.steps.history import History


def test_masks_are_sorted_flat_indices_of_every_culture_and_noted(tmp_path):
    rows = pd.DataFrame([("b", 1, 3), ("b", 0, 4), ("b", 0, 0)], columns=["culture", "layer", "neuron"])
    metadata = {"cultures": ["NA", "b"], "layers": 2, "neurons": 10, "step": "select", "code": "c0de"}
    files.write_table(tmp_path / "cas_top0.1.parquet", rows, metadata)
    history = History()
    masks, about = flat_masks.read(tmp_path / "cas_top0.1.parquet", history)
    assert masks.shape == (2, 10)
    assert {culture: flat.tolist() for culture, flat in masks.neurons.items()} == {"NA": [], "b": [0, 4, 13]}
    assert about["cultures"] == ["NA", "b"]
    assert history.as_dict()["steps"]["select"]["code"] == ["c0de"]


@pytest.mark.parametrize("step", ["select", "select_units", "import_masks", "permute"])
def test_how_masks_are_compared_chooses_none_again(step):
    """An edit of what compares masks makes no mask out of date."""
    names = {path.name for path in closure(f"culture_neurons.steps.{step}")}
    assert "mask_files.py" in names
    assert "overlaps.py" not in names
