"""Sums of chosen neurons, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

from culture_neurons import store
from culture_neurons.errors import FileError
from culture_neurons.store import statistics

METADATA = {"model": "tiny", "revision": "r", "dtype": "float32", "token_rule": "all"}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of 7 samples in chunks of 2, and its arrays."""
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", 2 * 3 * 5 * 4)
    rng = np.random.default_rng(0)
    ids, tokens = [f"s{i}" for i in range(7)], rng.integers(5, 9, 7)
    fired = rng.integers(0, 6, (7, 3, 5))
    with store.statistics_writer(tmp_path / "s.h5", ids, list("abcabca"), "act_fn", 3, 5, METADATA) as writer:
        writer.write(ids, tokens, fired, fired * 0.5)
    return tmp_path / "s.h5", tokens, fired


def test_the_neurons_come_in_the_order_in_which_they_were_asked_for(file):
    path, tokens, fired = file
    neurons, metadata = store.read_neurons(path, [2, 0, 2], [4, 1, 0])
    assert (neurons.sample_ids, neurons.cultures) == ([f"s{i}" for i in range(7)], list("abcabca"))
    np.testing.assert_array_equal(neurons.tokens, tokens)
    np.testing.assert_array_equal(neurons.fired, fired[:, [2, 0, 2], [4, 1, 0]])
    np.testing.assert_array_equal(neurons.positive_sum, neurons.fired * 0.5)
    assert metadata["model"] == "tiny"
    assert store.read_neurons(path, [], [])[0].fired.shape == (7, 0)


@pytest.mark.parametrize(("layer", "neuron"), [(3, 0), (0, 5), (-1, 0)])
def test_a_neuron_that_is_not_there(file, layer, neuron):
    with pytest.raises(FileError, match=rf"s\.h5: neuron {neuron} of layer {layer}; it has 3 x 5"):
        store.read_neurons(file[0], [layer], [neuron])
