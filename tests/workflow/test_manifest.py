import hashlib

from culture_neurons.workflow import manifest


def test_digests_are_those_of_the_bytes_by_relative_name(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "b.csv").write_bytes(b"2")
    (tmp_path / "a.csv").write_bytes(b"1")
    found = manifest.digests(tmp_path, [tmp_path / "tables" / "b.csv", tmp_path / "a.csv"])
    assert list(found.items()) == [
        ("a.csv", hashlib.sha256(b"1").hexdigest()),
        ("tables/b.csv", hashlib.sha256(b"2").hexdigest()),
    ]
    assert manifest.changed_files(tmp_path, found) == []
    (tmp_path / "a.csv").write_bytes(b"3")
    (tmp_path / "tables" / "b.csv").unlink()
    assert manifest.changed_files(tmp_path, found) == ["a.csv: its content has changed", "tables/b.csv: missing"]


def test_seeds_are_found_wherever_they_are():
    config = {"prompt": {"seed": 1}, "selectors": {"random": {"seed": 0}, "cas": {}}, "seedling": 3, "seed": 4}
    assert manifest.seeds(config) == {"prompt.seed": 1, "selectors.random.seed": 0, "seed": 4}


def test_settings_that_differ_are_named_with_both_values():
    then = {"a": {"b": 1, "same": [1, 2]}, "empty": {}, "gone": 2}
    now = {"a": {"b": "x", "same": [1, 2]}, "empty": {}, "new": {"c": True}}
    assert manifest.changed_settings("config", then, now) == [
        "config a.b: 1 then, 'x' now",
        "config gone: 2 then, none now",
        "config new.c: none then, True now",
    ]
    assert manifest.changed_settings("config", then, then) == []
