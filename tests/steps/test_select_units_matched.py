import json

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.selectors import culnig, selection
from culture_neurons.steps import ablate, select_units

pytestmark = pytest.mark.workflow

WIDTHS = {"gate_proj": 48, "q_proj": 32, "k_proj": 16, "v_proj": 16}
MADE_BY = {"model": "m", "revision": "r", "cultures": ["a", "b"], "layers": 2, "neurons": WIDTHS, "top_fraction": "0.1",
           "selector": "culnig-specific", "options": {}, "settings": {}, "code": "x"}  # fmt: skip


@pytest.fixture
def reference(tmp_path):
    rng = np.random.default_rng(0)
    units = [(c, s, k, i) for c in "ab" for s, w in WIDTHS.items() for k in (0, 1) for i in rng.permutation(w)[:4]]
    table = pd.DataFrame(units, columns=["culture", "site", "layer", "neuron"]).assign(score=1.0, rank=1)
    files.write_table(tmp_path / "culnig.parquet", table.astype(selection.COLUMNS), MADE_BY)
    return tmp_path / "culnig.parquet"


def draw(step, reference, out, **options):
    words = ["--selector", "random-matched", "--options", json.dumps(options), "--top-fraction", "0.1"]
    step.run(select_units, *words, "--reference", reference, "--out", out)


def test_a_control_can_be_ablated_and_says_what_it_is_matched_to(reference, tmp_path, step):
    out = tmp_path / "random.parquet"
    draw(step, reference, out, match="mine", seed=3)
    table, metadata = files.read_table(out)
    expected = culnig.random_control(files.read_table(reference)[0], ["a", "b"], 2, WIDTHS, 3)
    pd.testing.assert_frame_equal(table.astype(str), expected.astype(str))
    assert (metadata["selector"], metadata["options"]) == ("random-matched", {"match": "mine", "seed": 3})
    assert metadata["neurons"] == WIDTHS
    masks, _ = ablate.read_masks(out)
    assert [len(mask) for mask in masks] == [32, 32]


def test_masks_of_activations_are_refused(reference, tmp_path, step):
    table, _ = files.read_table(reference)
    files.write_table(tmp_path / "other.parquet", table, {**MADE_BY, "neurons": 48})
    with pytest.raises(FileError, match=r"other\.parquet: no masks at projections"):
        draw(step, tmp_path / "other.parquet", tmp_path / "x", match="cas")
    assert not (tmp_path / "x").exists()
