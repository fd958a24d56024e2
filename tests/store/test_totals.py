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
    ids, cultures, tokens, *arrays = data
    for k in range(number):
        part = slice(k, None, number)
        with store.statistics_writer(
            folder / f"{k}.h5", ids[part], cultures[part], "act_fn", LAYERS, NEURONS, IDENTITY,
            negative_sum=len(arrays) == 3,
        ) as writer:  # fmt: skip
            for i in reversed(range(k, len(ids), number)):
                writer.write([ids[i]], np.array([tokens]), *(values[i : i + 1] for values in arrays))
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


def negative(data):
    """The same with N."""
    *rest, positive_sum = data
    return *rest, positive_sum, -positive_sum[:, ::-1] / 3


def test_moments_are_those_of_the_mean_per_question(tmp_path):
    data = ids, cultures, tokens, _, positive_sum, negative_sum = negative(sums())
    files = shards(tmp_path, data, 3)
    store.merge_statistics(files, tmp_path / "m.h5", {})
    with h5py.File(tmp_path / "m.h5") as file:
        assert list(file["act_fn/totals"]) == ["fired", "mean_sum", "negative_sum", "positive_sum", "square_sum"]
        np.testing.assert_array_equal(file["act_fn/negative_sum"][:], negative_sum)
    mean = (positive_sum.astype(float) + negative_sum) / tokens
    other = ["x" if i % 2 else "y" for i in range(len(ids))]
    for statistics, labels in (
        (store.read_statistics(tmp_path / "m.h5")[0], cultures),
        (store.read_statistics(tmp_path / "m.h5", lambda *_: other)[0], other),
    ):
        for c, culture in enumerate(statistics.cultures):
            rows = np.array(labels) == culture
            assert statistics.samples[c] == rows.sum()
            np.testing.assert_allclose(statistics.negative_sum[c], negative_sum[rows].sum(axis=0, dtype=float))
            np.testing.assert_allclose(statistics.mean_sum[c], mean[rows].sum(axis=0))
            np.testing.assert_allclose(statistics.square_sum[c], (mean[rows] ** 2).sum(axis=0))


def test_without_the_negative_part_there_are_no_moments(tmp_path):
    store.merge_statistics(shards(tmp_path, sums(), 2), tmp_path / "m.h5", {})
    statistics, _ = store.read_statistics(tmp_path / "m.h5")
    assert list(statistics.arrays) == ["tokens", "fired", "positive_sum", "samples"]
    assert statistics.samples.tolist() == [14, 13, 13]


def test_shards_with_and_without_the_negative_part_are_refused(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    first, _ = shards(one, sums(), 2)
    _, second = shards(other, negative(sums()), 2)
    with pytest.raises(FileError, match=r"1\.h5: negative_sum True, but .*0\.h5 has False; delete the shards"):
        store.merge_statistics([first, second], tmp_path / "m.h5", {})


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_negative_sums_merge_to_the_same_bytes(tmp_path, monkeypatch, block):
    monkeypatch.setattr(store.merging, "_BLOCK_BYTES", block)
    monkeypatch.setattr(store.statistics, "_CHUNK_BYTES", block)
    digests = set()
    for number in (1, 3):
        store.merge_statistics(shards(tmp_path, negative(sums()), number), tmp_path / "m.h5", {})
        digests.add((tmp_path / "m.h5").read_bytes())
    assert len(digests) == 1


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
