import h5py
import numpy as np
import pytest

from culture_neurons import store
from culture_neurons.errors import FileError

LAYERS, NEURONS = 2, 7
IDENTITY = {"model": "m", "revision": "r", "dtype": "float32", "token_rule": "all"}


def sums(n=40, seed=0):
    """Ids, cultures, T, K and S; S of very different sizes, so that a sum depends on its order."""
    rng = np.random.default_rng(seed)
    fired = rng.integers(0, 300, (n, LAYERS, NEURONS))
    positive_sum = rng.lognormal(sigma=12, size=fired.shape).astype(np.float32)
    return [f"s{i:02d}" for i in range(n)], ["b", "日本", "a"] * (n // 3) + ["a"] * (n % 3), 300, fired, positive_sum


def shards(folder, data, number):
    ids, cultures, tokens, fired, positive_sum = data
    for k in range(number):
        part = slice(k, None, number)
        with store.statistics_writer(
            folder / f"{k}.h5", ids[part], cultures[part], "act_fn", LAYERS, NEURONS, IDENTITY
        ) as writer:
            for i in reversed(range(k, len(ids), number)):
                writer.write([ids[i]], np.array([tokens]), fired[i : i + 1], positive_sum[i : i + 1])
    return [folder / f"{k}.h5" for k in range(number)]


@pytest.mark.parametrize("number", [1, 3, 7])
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_totals_are_sums_in_the_order_of_ids(tmp_path, monkeypatch, number, block):
    monkeypatch.setattr(store.merging, "_BLOCK_BYTES", block)
    monkeypatch.setattr(store.statistics, "_CHUNK_BYTES", block)
    data = _, cultures, _, fired, positive_sum = sums()
    expected = np.zeros((3, LAYERS, NEURONS))
    for culture, row in zip(cultures, positive_sum, strict=True):
        expected[["a", "b", "日本"].index(culture)] += row
    other_order = np.zeros_like(expected)
    for culture, row in zip(cultures[::-1], positive_sum[::-1], strict=True):
        other_order[["a", "b", "日本"].index(culture)] += row
    assert (other_order != expected).any()
    store.merge_statistics(shards(tmp_path, data, number), tmp_path / "m.h5", {})
    statistics, metadata = store.read_statistics(tmp_path / "m.h5")
    assert statistics.cultures == ["a", "b", "日本"]
    np.testing.assert_array_equal(statistics.positive_sum, expected)
    for c, culture in enumerate(statistics.cultures):
        rows = np.array(cultures) == culture
        np.testing.assert_array_equal(statistics.fired[c], fired[rows].sum(axis=0))
        assert (statistics.tokens[c], metadata["samples"][culture]) == (300 * rows.sum(), rows.sum())


def test_merged_file_is_read_from_its_totals_and_a_shard_from_its_samples(tmp_path):
    (shard,) = shards(tmp_path, sums(), 1)
    store.merge_statistics([shard], tmp_path / "m.h5", {})
    before, _ = store.read_statistics(shard)
    for path in (shard, tmp_path / "m.h5"):
        with h5py.File(path, "a") as file:
            file["act_fn/fired"][...] = 0
    with h5py.File(tmp_path / "m.h5") as file:
        totals = file["act_fn/totals/fired"], file["act_fn/totals/positive_sum"]
        assert [(d.dtype, d.chunks, d.fletcher32) for d in totals] == [
            (np.int64, (1, LAYERS, NEURONS), True), (np.float64, (1, LAYERS, NEURONS), True),
        ]  # fmt: skip
    np.testing.assert_array_equal(store.read_statistics(tmp_path / "m.h5")[0].fired, before.fired)
    assert not store.read_statistics(shard)[0].fired.any()


def test_flipped_bit_in_the_totals_is_found(tmp_path):
    store.merge_statistics(shards(tmp_path, sums(), 2), tmp_path / "m.h5", {})
    with h5py.File(tmp_path / "m.h5") as file:
        chunks = [file[f"act_fn/totals/{name}"].id.get_chunk_info(1) for name in ("fired", "positive_sum")]
    good = (tmp_path / "m.h5").read_bytes()
    for chunk in chunks:
        for at in (0, chunk.size // 2, chunk.size - 1):
            bad = bytearray(good)
            bad[chunk.byte_offset + at] ^= 4
            (tmp_path / "m.h5").write_bytes(bad)
            with pytest.raises(FileError, match=r"m\.h5: damaged"):
                store.read_statistics(tmp_path / "m.h5")


def test_merged_file_can_be_merged_again(tmp_path):
    store.merge_statistics(shards(tmp_path, sums(), 2), tmp_path / "m.h5", {})
    store.merge_statistics([tmp_path / "m.h5"], tmp_path / "again.h5", {})
    assert (tmp_path / "m.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()
