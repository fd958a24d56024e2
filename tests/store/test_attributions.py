import numpy as np
import pytest

from culture_neurons import store
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.types import Attributions

MADE = {"model": "m", "revision": "r", "dtype": "float32", "control": False}


def part(seed, cultures=("a", "b"), sites=("gate_proj", "q_proj")):
    rng = np.random.default_rng(seed)
    sums = {site: rng.normal(size=(len(cultures), 3, 10 + k)) for k, site in enumerate(sites)}
    return Attributions(list(cultures), rng.integers(0, 9, len(cultures)), sums)


def test_shards_add_up(tmp_path):
    parts = [part(seed) for seed in range(3)]
    paths = [tmp_path / f"{i}.h5" for i in range(3)]
    for path, one in zip(paths, parts, strict=True):
        store.write_attributions(path, one, MADE)
    total, metadata = store.read_attributions(paths)
    assert (total.cultures, metadata) == (["a", "b"], MADE)
    np.testing.assert_array_equal(total.samples, sum(one.samples for one in parts))
    for site, values in total.sums.items():
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, parts[0].sums[site] + parts[1].sums[site] + parts[2].sums[site])
    first, _ = store.read_attributions(paths[:1])
    np.testing.assert_array_equal(first.sums["q_proj"], parts[0].sums["q_proj"])


@pytest.mark.parametrize(
    ("other", "metadata", "message"),
    [
        (part(1, ("a", "c")), MADE, "cultures"),
        (part(1, sites=("gate_proj",)), MADE, "sites"),
        (part(1), MADE | {"revision": "s"}, "revision 's', but .* has 'r'"),
        (part(1), MADE | {"control": True}, "control True"),
    ],
)
def test_shards_of_different_runs_are_refused(tmp_path, other, metadata, message):
    store.write_attributions(tmp_path / "0.h5", part(0), MADE)
    store.write_attributions(tmp_path / "1.h5", other, metadata)
    with pytest.raises(FileError, match=message):
        store.read_attributions([tmp_path / "0.h5", tmp_path / "1.h5"])


def test_damage_is_noticed(tmp_path):
    path = tmp_path / "0.h5"
    store.write_attributions(path, part(0), MADE)
    content = bytearray(path.read_bytes())
    at = len(content) // 2
    path.write_bytes(content[:at])
    with pytest.raises(FileError, match="damaged"):
        store.read_attributions([path])


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ConfigError, match="2 cultures, but gate_proj"):
        Attributions(["a", "b"], [1, 2], {"gate_proj": np.zeros((3, 2, 4))})
    with pytest.raises(ConfigError, match="occurs twice"):
        Attributions(["a", "a"], [1, 2], {})


def test_units_that_a_layer_does_not_have_stay_absent(tmp_path):
    parts = [part(seed) for seed in range(2)]
    for one in parts:
        one.sums["q_proj"][:, 1, 4:] = one.sums["q_proj"][:, 2] = np.nan
    paths = [tmp_path / "0.h5", tmp_path / "1.h5"]
    for path, one in zip(paths, parts, strict=True):
        empty = {"v_proj": np.zeros((2, 3, 0))}
        store.write_attributions(path, Attributions(one.cultures, one.samples, one.sums | empty), MADE)
    total, _ = store.read_attributions(paths)
    assert total.widths("q_proj") == [11, 4, 0]
    assert total.sums["v_proj"].shape == (2, 3, 0)
    np.testing.assert_array_equal(total.sums["q_proj"], parts[0].sums["q_proj"] + parts[1].sums["q_proj"])


def test_shards_that_lack_other_units_are_refused(tmp_path):
    one, other = part(0), part(1)
    other.sums["q_proj"][:, 2, 10:] = np.nan
    store.write_attributions(tmp_path / "0.h5", one, MADE)
    store.write_attributions(tmp_path / "1.h5", other, MADE)
    with pytest.raises(FileError, match=r"1\.h5: sites .*\[11, 11, 10\].*, but .*0\.h5 has "):
        store.read_attributions([tmp_path / "0.h5", tmp_path / "1.h5"])


def test_single_values_that_are_no_numbers_are_refused(tmp_path):
    one = part(0)
    one.sums["q_proj"][0, 2, 5] = np.nan
    store.write_attributions(tmp_path / "0.h5", one, MADE)
    with pytest.raises(FileError, match=r"0\.h5: attributions: q_proj holds values that are no numbers .*; rebuild it"):
        store.read_attributions([tmp_path / "0.h5"])
