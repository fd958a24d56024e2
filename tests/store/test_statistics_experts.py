"""Files of models with routed experts count the tokens of each expert; those of other models are as ever."""

import h5py
import numpy as np
import pytest

from culture_neurons import store
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.types import Experts, Statistics
from tests import expert_statistics as made


@pytest.mark.parametrize("number", [0, 1, 3])
def test_rates_are_over_the_tokens_that_reach_an_expert(tmp_path, number):
    given = made.world()
    shards = [made.write(tmp_path / f"{k}.h5", given, slice(k, None, number or 1)) for k in range(number or 1)]
    if number:
        store.merge_statistics(shards, tmp_path / "m.h5", {})
    statistics, metadata = store.read_statistics(tmp_path / ("m.h5" if number else "0.h5"))
    assert metadata["experts"] == {"widths": [5, 12, 6], "counts": [0, 3, 2]}
    np.testing.assert_allclose(statistics.probability, made.rates(given, given.fired), rtol=1e-12)
    np.testing.assert_allclose(statistics.mean_positive, made.rates(given, given.positive), rtol=1e-12)
    for c, culture in enumerate("abc"):
        mine = given.tokens[[name == culture for name in given.cultures]]
        np.testing.assert_array_equal(statistics.tokens[c], mine.sum(axis=0))
        np.testing.assert_array_equal(statistics.samples[c], (mine > 0).sum(axis=0))
    assert store.count_tokens(tmp_path / "0.h5")["a"][1] == sum(
        int(t) for t, c, i in zip(given.tokens[:, 0], given.cultures, range(24), strict=True)
        if c == "a" and (number < 2 or i % number == 0)
    )  # fmt: skip


def test_means_of_a_question_are_over_its_tokens_that_reach_an_expert(tmp_path):
    given = made.world()
    store.merge_statistics([made.write(tmp_path / "s.h5", given)], tmp_path / "m.h5", {})
    statistics, _ = store.read_statistics(tmp_path / "m.h5")
    expected = np.zeros((2, 3, *made.SHAPE))
    for i, culture in enumerate(given.cultures):
        for layer, width in enumerate(made.EXPERTS.widths):
            for neuron in range(width):
                if n := given.tokens[i, made.column(layer, neuron)]:
                    x = (given.positive[i, layer, neuron] + given.negative[i, layer, neuron]) / n
                    expected[:, "abc".index(culture), layer, neuron] += x, x * x
    np.testing.assert_allclose(statistics.mean_sum, expected[0], atol=1e-12)
    np.testing.assert_allclose(statistics.square_sum, expected[1], atol=1e-12)


def test_tokens_of_chosen_neurons_are_those_of_their_experts(tmp_path):
    given = made.world()
    sums, _ = store.read_neurons(made.write(tmp_path / "s.h5", given), [0, 1, 2, 1], [4, 5, 5, 0])
    np.testing.assert_array_equal(sums.tokens, given.tokens[:, [0, 2, 5, 1]])
    np.testing.assert_array_equal(sums.fired, given.fired[:, [0, 1, 2, 1], [4, 5, 5, 0]])


def test_shards_of_other_experts_are_not_merged(tmp_path):
    given = made.world()
    first = made.write(tmp_path / "0.h5", given, slice(0, 12))
    with h5py.File(made.write(tmp_path / "1.h5", given, slice(12, None)), "r+") as file:
        text = file["metadata"][0].decode().replace("[0, 3, 2]", "[0, 3, 3]")
        del file["metadata"]
        store.hdf5.write_strings(file, "metadata", [text])
    with pytest.raises(FileError, match=r"1\.h5: experts Experts.*counts=\(0, 3, 3\)"):
        store.merge_statistics([first, tmp_path / "1.h5"], tmp_path / "m.h5", {})


def test_files_of_other_models_say_nothing_of_experts(tmp_path):
    with store.statistics_writer(tmp_path / "s.h5", ["s"], ["a"], "act_fn", 1, 2, {}) as writer:
        writer.write(["s"], np.array([3]), np.ones((1, 1, 2), int), np.ones((1, 1, 2), np.float32))
    statistics, metadata = store.read_statistics(tmp_path / "s.h5")
    assert statistics.column is None
    assert "experts" not in metadata
    with h5py.File(tmp_path / "s.h5") as file:
        assert sorted(file["act_fn"]) == ["fired", "positive_sum"]


def test_columns_count_layer_after_layer():
    expected = [[0, 0, -1, -1], [1, 1, 2, 2], [3, 4, -1, -1]]
    np.testing.assert_array_equal(Experts((2, 4, 2), (0, 2, 2)).column(), expected)
    with pytest.raises(ConfigError, match="expected multiples"):
        Experts((5,), (2,))


def test_a_neuron_that_fires_more_often_than_its_expert_is_reached_is_an_error():
    fired = np.array([[[1, 3]]])
    Statistics(["a"], [[9, 1, 3]], fired, fired, column=np.array([[1, 2]]))
    with pytest.raises(ConfigError, match="fired on more tokens than there are"):
        Statistics(["a"], [[9, 1, 2]], fired, fired, column=np.array([[1, 2]]))
    with pytest.raises(ConfigError, match="differ"):
        Statistics(["a"], [[9, 1, 3]], fired, fired, column=np.array([[1]]))
