import numpy as np
import pandas as pd
import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.steps import mask_files

TABLE = pd.DataFrame(
    {"culture": pd.Categorical(["b", "a", "b"]), "layer": [1, 0, 0], "neuron": [2, 3, 1], "score": [9.0, 8.0, 7.0]}
)


def test_an_output_for_each(tmp_path):
    mask_files.check_outputs(["0.1"], [tmp_path])
    with pytest.raises(ConfigError, match=r"^2 top fractions and 1 outputs; expected as many$"):
        mask_files.check_outputs(["0.1", "0.2"], [tmp_path])
    with pytest.raises(ConfigError, match=r"^0 reference masks and 1 outputs; expected as many$"):
        mask_files.check_outputs([], [tmp_path], "reference masks")


def test_indices_keep_the_order_of_rows():
    flat = mask_files.flat_indices(TABLE, (2, 5))
    assert flat.tolist() == [7, 3, 1]
    parts = mask_files.split_by_culture(TABLE, ["a", "b", "c"], flat)
    assert [part.tolist() for part in parts] == [[3], [7, 1], []]
    scores = mask_files.split_by_culture(TABLE, ["b"], TABLE["score"].to_numpy(np.float32))
    assert scores[0].dtype == np.float32


def test_indices_of_a_mask_without_neurons():
    flat = mask_files.flat_indices(TABLE.iloc[:0], (2, 5))
    assert flat.dtype == np.int64
    assert [part.size for part in mask_files.split_by_culture(TABLE.iloc[:0], ["a", "b"], flat)] == [0, 0]
