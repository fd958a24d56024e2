import math

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from culture_neurons import store
from culture_neurons.errors import ConfigError

LARGEST, SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_normal)
positive = st.floats(0, LARGEST, width=32, allow_subnormal=True)
bits = st.integers(1, 23)


def single(value, bits):
    """The same by plain arithmetic: Python's round takes the nearest, ties to even."""
    _, exponent = math.frexp(value)  # value = m * 2**exponent, 0.5 <= m < 1
    unit = math.ldexp(1, exponent - 1 - bits)
    return round(value / unit) * unit


@given(st.lists(positive, min_size=1), bits)
def test_rounding_is_that_of_plain_arithmetic_where_the_result_is_a_normal_number(values, bits):
    values = np.array(values, np.float32)
    rounded = store.round_mantissa(values, bits)
    assert rounded.dtype == np.float32
    for value, actual in zip(values.tolist(), rounded.tolist(), strict=True):
        if value < SMALLEST or single(value, bits) > LARGEST:
            assert actual == value
        else:
            assert actual == single(value, bits)


@given(st.lists(positive, min_size=1), bits)
def test_error_is_bounded_and_rounding_again_changes_nothing(values, bits):
    values = np.array(values, np.float32)
    rounded = store.round_mantissa(values, bits)
    assert np.isfinite(rounded).all()
    np.testing.assert_array_equal(rounded > 0, values > 0)
    error = np.abs(rounded.astype(float) - values.astype(float))
    assert (error <= values.astype(float) * 2.0 ** -(bits + 1)).all()
    np.testing.assert_array_equal(store.round_mantissa(rounded, bits), rounded)


@given(st.lists(positive, min_size=1), bits)
def test_negative_values_are_rounded_as_positive_ones(values, bits):
    values = np.array(values, np.float32)
    rounded = store.round_mantissa(-values, bits)
    assert rounded.tobytes() == (-store.round_mantissa(values, bits)).tobytes()


def test_by_hand():
    # 1 + 1/8 lies between 1 and 1 + 1/4 and goes to the even one; 1 + 3/8 up, to even; 1 + 7/8 up, into the exponent.
    values = np.array([[1.125, 1.375, 1.3, 1.875, 0.0]])
    assert store.round_mantissa(values, 2).tolist() == [[1.0, 1.5, 1.25, 2.0, 0.0]]
    assert store.round_mantissa(values, 23).tolist() == values.astype(np.float32).tolist()


def test_given_values_are_left_alone():
    values = np.array([1.3, 2.7], np.float32)
    for bits in (8, 23):
        store.round_mantissa(values, bits)
        assert values.tolist() == np.array([1.3, 2.7], np.float32).tolist()


def test_sums_are_rounded_when_written_and_not_again_when_merged(tmp_path):
    rng = np.random.default_rng(0)
    positive_sum = rng.exponential(size=(4, 2, 5)).astype(np.float32)
    fired, tokens, ids = np.ones((4, 2, 5), int), np.ones(4, int), list("abcd")
    shards = []
    for k in range(2):
        path = tmp_path / f"{k}.h5"
        with store.statistics_writer(path, ids[k::2], ["x", "y"], "act_fn", 2, 5, {}, mantissa_bits=8) as writer:
            writer.write(ids[k::2], tokens[k::2], fired[k::2], positive_sum[k::2])
        shards.append(path)
    store.merge_statistics(shards, tmp_path / "m.h5", {"step": "merge"})
    assert store.read_metadata(tmp_path / "m.h5") == {"step": "merge", "mantissa_bits": 8}
    with h5py.File(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(file["act_fn/positive_sum"][:], store.round_mantissa(positive_sum, 8))
        assert file.attrs["mantissa_bits"] == 8


def test_fewer_bits_take_less_room(tmp_path):
    rng = np.random.default_rng(0)
    fired = rng.binomial(50, rng.random((1, 4, 200)), (100, 4, 200))
    positive_sum = (fired * rng.lognormal(size=fired.shape)).astype(np.float32)
    ids = [f"{i:03d}" for i in range(100)]
    share = {}
    for bits in (8, 23):
        path = tmp_path / f"{bits}.h5"
        with store.statistics_writer(path, ids, ["x"] * 100, "act_fn", 4, 200, {}, mantissa_bits=bits) as writer:
            writer.write(ids, np.full(100, 50), fired, positive_sum)
        size, raw = store.bytes_on_disk(path)
        assert (size, raw) == (path.stat().st_size, fired.size * (1 + 4))
        share[bits] = size / raw
    assert share[8] < 0.5 < 0.75 < share[23]


@pytest.mark.parametrize("bits", [0, 24, 8.0, True, None])
def test_number_of_bits_that_there_can_not_be(tmp_path, bits):
    with (
        pytest.raises(ConfigError, match="expected a whole number from 1 to 23"),
        store.statistics_writer(tmp_path / "s.h5", [], [], "act_fn", 2, 5, {}, mantissa_bits=bits),
    ):
        pass
