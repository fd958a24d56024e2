import itertools

import h5py
import numpy as np
import pytest

from culture_neurons import store
from culture_neurons.errors import FileError

META = {"model": "m", "revision": "r", "dtype": "float32", "token_rule": "all", "mantissa_bits": 23}
SHAPE = (3, 20)  # layers, neurons


def samples(n=23, seed=0):
    rng = np.random.default_rng(seed)
    ids = [f"s{i:03d}" for i in range(n)]
    cultures = [["Ünï/..", "日本", "a"][i % 3] for i in range(n)]
    tokens = rng.integers(1, 300, n)
    fired = rng.integers(0, tokens[:, None, None] + 1, (n, *SHAPE))
    positive_sum = rng.exponential(size=(n, *SHAPE)).astype(np.float32)
    return ids, cultures, tokens, fired, positive_sum


def write(path, data, keep=None, meta=META, order=1):
    ids, cultures, tokens, fired, positive_sum = data
    keep = list(range(len(ids))) if keep is None else keep
    with store.statistics_writer(
        path, [ids[i] for i in keep], [cultures[i] for i in keep], "act_fn", *SHAPE, meta
    ) as w:
        for i in keep[::order]:
            w.write([ids[i]], tokens[i : i + 1], fired[i : i + 1], positive_sum[i : i + 1])
    return path


def test_statistics_per_culture_equal_a_float64_sum(tmp_path):
    data = samples()
    _, cultures, tokens, fired, positive_sum = data
    statistics, metadata = store.read_statistics(write(tmp_path / "s.h5", data))
    assert statistics.cultures == sorted(set(cultures))
    assert metadata == META | {"site": "act_fn", "samples": {c: cultures.count(c) for c in statistics.cultures}}
    for c, name in enumerate(statistics.cultures):
        rows = [i for i, culture in enumerate(cultures) if culture == name]
        assert statistics.tokens[c] == tokens[rows].sum()
        np.testing.assert_array_equal(statistics.fired[c], fired[rows].sum(axis=0))
        np.testing.assert_allclose(statistics.positive_sum[c], positive_sum[rows].astype(float).sum(axis=0), rtol=1e-12)


def test_statistics_of_other_labels_leave_out_samples_without_one(tmp_path):
    data = samples()
    ids, cultures, tokens, fired, positive_sum = data
    store.merge_statistics([write(tmp_path / "s.h5", data)], tmp_path / "m.h5", {})  # its totals are of the true labels
    other = {i: ("", "x", "y")[k % 3] for k, i in enumerate(ids)}
    seen = []

    def relabel(file_ids, file_cultures):
        seen.append((file_ids, file_cultures))
        return [other[i] for i in file_ids]

    statistics, metadata = store.read_statistics(tmp_path / "m.h5", relabel)
    assert seen == [(list(ids), list(cultures))]
    assert statistics.cultures == ["x", "y"]
    assert metadata["samples"] == {"x": 8, "y": 7}
    for name, k in (("x", 1), ("y", 2)):
        c = statistics.cultures.index(name)
        assert statistics.tokens[c] == tokens[k::3].sum()
        np.testing.assert_array_equal(statistics.fired[c], fired[k::3].sum(axis=0))
        np.testing.assert_allclose(statistics.positive_sum[c], positive_sum[k::3].sum(axis=0, dtype=float), rtol=1e-12)


def test_attributes_tell_other_readers_what_the_file_is(tmp_path):
    with h5py.File(write(tmp_path / "s.h5", samples())) as file:
        assert dict(file.attrs) == META | {"schema": 1, "site": "act_fn"}
        assert file["act_fn/fired"].chunks is not None
        assert file["act_fn/fired"].id.get_create_plist().get_nfilters() == 2


def test_shards_merge_to_the_same_bytes_in_any_number_and_order(tmp_path):
    data = samples()
    digests = set()
    for n in (1, 2, 5):
        shards = [write(tmp_path / f"{n}-{k}.h5", data, list(range(23))[k::n], order=-1) for k in range(n)]
        for arrangement in itertools.islice(itertools.permutations(shards), 3):
            store.merge_statistics(arrangement, tmp_path / "merged.h5", {"step": "merge"})
            digests.add((tmp_path / "merged.h5").read_bytes())
    assert len(digests) == 1
    merged, metadata = store.read_statistics(tmp_path / "merged.h5")
    unsharded, _ = store.read_statistics(write(tmp_path / "whole.h5", data))
    np.testing.assert_array_equal(merged.fired, unsharded.fired)
    np.testing.assert_array_equal(merged.positive_sum, unsharded.positive_sum)
    assert {k: metadata[k] for k in META} == META


@pytest.mark.parametrize("rows", [1, 3])
def test_merged_bytes_do_not_depend_on_the_shards_where_a_file_has_many_chunks(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(store.statistics, "_CHUNK_BYTES", rows * SHAPE[0] * SHAPE[1] * 4)
    monkeypatch.setattr(store.merging, "_BLOCK_BYTES", 4 * SHAPE[0] * SHAPE[1] * 6)
    ids, cultures, tokens, fired, positive_sum = samples()
    # Wide counts in a single sample: some shards are uint8, so that not all chunks can be copied as they are.
    data = ids, cultures, tokens + 256, fired % 256, positive_sum
    fired[:] = fired % 256
    fired[7, 1, 2] = 256
    for counts in (fired % 256, fired):
        data = ids, cultures, tokens + 256, counts, positive_sum
        digests = set()
        for n in (1, 2, 5, 30):
            shards = [write(tmp_path / f"{n}-{k}.h5", data, list(range(23))[k::n], order=-1) for k in range(n)]
            store.merge_statistics(shards[::-1], tmp_path / "merged.h5", {})
            digests.add((tmp_path / "merged.h5").read_bytes())
        assert len(digests) == 1
        with h5py.File(tmp_path / "merged.h5") as file:
            assert file["act_fn/fired"].chunks[0] == rows
            np.testing.assert_array_equal(file["act_fn/fired"][:], counts)
            np.testing.assert_array_equal(file["act_fn/positive_sum"][:], positive_sum)
            assert file["sample_id"].asstr()[:].tolist() == ids
            np.testing.assert_array_equal(file["tokens"][:], tokens + 256)


def test_more_shards_than_samples(tmp_path):
    data = samples(3)
    shards = [write(tmp_path / f"{k}.h5", data, list(range(3))[k::5]) for k in range(5)]
    store.merge_statistics(shards, tmp_path / "merged.h5", {})
    assert sum(store.read_statistics(tmp_path / "merged.h5")[1]["samples"].values()) == 3


def test_shards_of_another_revision_or_with_a_common_sample_are_refused(tmp_path):
    data = samples()
    one = write(tmp_path / "1.h5", data, [0, 1])
    other = write(tmp_path / "2.h5", data, [2, 3], META | {"revision": "older"})
    with pytest.raises(FileError, match="older"):
        store.merge_statistics([one, other], tmp_path / "m.h5", {})
    rounded = write(tmp_path / "4.h5", data, [4, 5], META | {"mantissa_bits": 8})
    with pytest.raises(FileError, match=r"4\.h5: mantissa_bits 8, but .*1\.h5 has 23; delete the shards"):
        store.merge_statistics([one, rounded], tmp_path / "m.h5", {})
    overlapping = write(tmp_path / "3.h5", data, [1, 2])
    with pytest.raises(FileError, match="'s001' is also in"):
        store.merge_statistics([one, overlapping], tmp_path / "m.h5", {})
    assert not (tmp_path / "m.h5").exists()


def test_sample_that_never_came_leaves_no_file(tmp_path):
    ids, cultures, tokens, fired, positive_sum = samples(2)
    with (
        pytest.raises(FileError, match="1 of 2 samples"),
        store.statistics_writer(tmp_path / "s.h5", ids, cultures, "act_fn", *SHAPE, META) as w,
    ):
        w.write(ids[:1], tokens[:1], fired[:1], positive_sum[:1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_activation_that_is_not_finite_names_sample_and_layer(tmp_path, value):
    ids, cultures, tokens, fired, positive_sum = samples(2)
    positive_sum[1, 2, 7] = value
    with (
        pytest.raises(FileError, match=r"'s001'.*layer 2"),
        store.statistics_writer(tmp_path / "s.h5", ids, cultures, "act_fn", *SHAPE, META) as w,
    ):
        w.write(ids, tokens, fired, positive_sum)
    with (
        pytest.raises(FileError, match=r"'s001'.*layer 2"),
        store.statistics_writer(tmp_path / "s.h5", ids, cultures, "act_fn", *SHAPE, META, negative_sum=True) as w,
    ):
        w.write(ids, tokens, fired, np.ones_like(positive_sum), -positive_sum)


def fired_type(path):
    with h5py.File(path) as file:
        return file["act_fn/fired"].dtype


@pytest.mark.parametrize(
    ("largest", "expected"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32)]
)
@pytest.mark.parametrize("order", [1, -1])
def test_counts_have_the_narrowest_type_that_holds_them(tmp_path, largest, expected, order):
    ids, cultures, tokens, fired, positive_sum = samples()
    fired %= 256
    # The large one comes first or last: either way nothing wraps around.
    fired[0, 1, 2] = largest
    tokens = np.maximum(tokens, fired.max(axis=(1, 2)))
    data = ids, cultures, tokens, fired, positive_sum
    assert fired_type(write(tmp_path / "s.h5", data, order=order)) == expected
    with h5py.File(tmp_path / "s.h5") as file:
        np.testing.assert_array_equal(file["act_fn/fired"][:], fired)
        assert set(file["act_fn"]) == {"fired", "positive_sum"}


def test_counts_grow_wider_over_many_chunks_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(store.statistics, "_CHUNK_BYTES", 3 * SHAPE[0] * SHAPE[1] * 4)
    ids, cultures, _, fired, positive_sum = samples()
    fired[5:] = fired[5:] + 300
    fired[20:] = fired[20:] + 70000
    data = ids, cultures, fired.max(axis=(1, 2)), fired, positive_sum
    path = write(tmp_path / "s.h5", data)
    with h5py.File(path) as file:
        assert (file["act_fn/fired"].dtype, file["act_fn/fired"].chunks) == (np.uint32, (3, *SHAPE))
        np.testing.assert_array_equal(file["act_fn/fired"][:], fired)
        np.testing.assert_array_equal(file["act_fn/positive_sum"][:], positive_sum)


def test_type_of_merged_counts_does_not_depend_on_the_shards(tmp_path):
    ids, cultures, _, fired, positive_sum = samples()
    fired %= 256
    fired[11, 1, 2] = 256
    data = ids, cultures, fired.max(axis=(1, 2)), fired, positive_sum
    digests = set()
    for n in (1, 2, 5):
        shards = [write(tmp_path / f"{n}-{k}.h5", data, list(range(23))[k::n]) for k in range(n)]
        assert {fired_type(path).name for path in shards} == ({"uint16"} if n == 1 else {"uint8", "uint16"})
        store.merge_statistics(shards, tmp_path / "merged.h5", {})
        assert fired_type(tmp_path / "merged.h5") == np.uint16
        digests.add((tmp_path / "merged.h5").read_bytes())
    assert len(digests) == 1


def test_any_flipped_bit_is_found_or_changes_nothing(tmp_path):
    path = write(tmp_path / "s.h5", samples())
    good = path.read_bytes()
    statistics, metadata = store.read_statistics(path)
    messages = []
    rng = np.random.default_rng(1)
    for position in rng.choice(len(good), 300, replace=False):
        bad = bytearray(good)
        bad[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        try:
            other, other_metadata = store.read_statistics(path)
        except FileError as error:
            messages.append(str(error))
        else:
            np.testing.assert_array_equal(other.fired, statistics.fired)
            np.testing.assert_array_equal(other.positive_sum, statistics.positive_sum)
            np.testing.assert_array_equal(other.tokens, statistics.tokens)
            assert (other.cultures, other_metadata) == (statistics.cultures, metadata)
    assert len(messages) > 150
    assert all(str(path) in message and "\n" not in message for message in messages)


def test_truncated_foreign_and_missing_files(tmp_path):
    path = write(tmp_path / "s.h5", samples())
    path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = [1]
    for name, message in [("s.h5", "damaged"), ("text.h5", "damaged"), ("foreign.h5", "layout"), ("no.h5", "no such")]:
        with pytest.raises(FileError, match=message) as error:
            store.read_statistics(tmp_path / name)
        assert name in str(error.value)


def test_file_of_the_right_schema_with_a_group_for_a_data_set(tmp_path):
    path = write(tmp_path / "s.h5", samples())
    with h5py.File(path, "a") as file:
        del file["tokens"]
        file.create_group("tokens")
    with pytest.raises(FileError, match="damaged"):
        store.read_statistics(path)


def test_counts_are_those_of_the_statistics(tmp_path):
    path = write(tmp_path / "s.h5", samples())
    statistics, metadata = store.read_statistics(path)
    expected = {
        c: (metadata["samples"][c], int(t)) for c, t in zip(statistics.cultures, statistics.tokens, strict=True)
    }
    assert store.count_tokens(path) == expected
    assert store.read_metadata(path) == META


def test_scores_come_back_as_float32_with_their_cultures(tmp_path):
    scores = np.random.default_rng(0).normal(size=(2, *SHAPE))
    scores[0, 0, 0] = -np.inf
    store.write_scores(tmp_path / "x.h5", scores, ["b", "日本"], "act_fn", META)
    got, cultures, site, metadata = store.read_scores(tmp_path / "x.h5")
    np.testing.assert_array_equal(got, scores.astype(np.float32))
    assert (got.dtype, cultures, site, metadata) == (np.float32, ["b", "日本"], "act_fn", META)
    with pytest.raises(FileError, match="3 cultures"):
        store.write_scores(tmp_path / "y.h5", scores, ["a", "b", "c"], "act_fn", META)


def test_same_content_gives_the_same_bytes(tmp_path):
    ids, cultures, tokens, fired, positive_sum = samples()
    data = ids, cultures, tokens, fired % 256, positive_sum
    assert write(tmp_path / "1.h5", data).read_bytes() == write(tmp_path / "2.h5", data, order=-1).read_bytes()
