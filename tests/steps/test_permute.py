from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files, selectors, store
from culture_neurons.analysis import p_values
from culture_neurons.errors import FileError
from culture_neurons.selectors import selection
from culture_neurons.steps import ablate, permute

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def statistics(base, step, tmp_path_factory):
    return step.recorded(base, tmp_path_factory.mktemp("permute") / "statistics.h5")


def run(step, base, statistics, out, *more):
    step.run(permute, "--statistics", statistics, "--samples", base / "samples.parquet", "--selector", "cas",
             "--top-fraction", "0.1", "--permutations", 3, "--seed", 1, "--out", out, *more)  # fmt: skip
    return files.read_table(out)


def test_masks_are_those_of_the_chain_under_shuffled_labels(base, step, statistics, tmp_path):
    table, metadata = run(step, base, statistics, tmp_path / "permuted.parquet")
    samples, _ = files.read_table(base / "samples.parquet")
    unit = {row.sample_id: f"image {row.image_id}" for row in samples.itertuples()}
    masks = []
    for number in range(3):
        relabelled, _ = store.read_statistics(
            statistics, lambda ids, c, k=number: p_values.shuffle_labels(c, [unit[i] for i in ids], 1, k)
        )
        masks.append(selection.select(selectors.score("cas", relabelled), relabelled.cultures, "0.1"))
        mine = table[table["permutation"] == number].drop(columns="permutation").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, masks[-1], check_dtype=False, check_categorical=False)
    assert not masks[0].equals(masks[1])
    assert (metadata["permutations"], metadata["selector"], metadata["top_fraction"]) == (3, "cas", "0.1")
    assert metadata["cultures"] == sorted(set(samples["culture"]))
    first = (tmp_path / "permuted.parquet").read_bytes()
    run(step, base, statistics, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == first


def test_variants_of_a_question_are_shuffled_together(base, step, statistics, tmp_path, monkeypatch):
    samples, metadata = files.read_table(base / "samples.parquet")
    variants = samples.assign(image_id="", question_id=[f"v{i % 2}" for i in range(len(samples))])
    files.write_table(tmp_path / "samples.parquet", variants, metadata)
    seen = []
    real = p_values.shuffle_labels
    monkeypatch.setattr(
        p_values, "shuffle_labels", lambda c, units, *more: seen.append(units) or real(c, units, *more)
    )
    step.run(permute, "--statistics", statistics, "--samples", tmp_path / "samples.parquet", "--selector", "cas",
             "--top-fraction", "0.1", "--permutations", 1, "--out", tmp_path / "out.parquet")  # fmt: skip
    assert all(name.startswith("variants v") for name in seen[0])
    assert len(set(seen[0])) < len(seen[0])


def test_labels_that_cannot_be_shuffled_are_named(step, tmp_path, caplog):
    """Labels go among images with equally many questions: the one image of "a" has three, all others two."""
    image = ["a1"] * 3 + ["b1"] * 2 + ["b2"] * 2 + ["c1"] * 2 + ["c2"] * 2
    ids, cultures = [f"s{i:02}" for i in range(11)], [name[0] for name in image]
    path, fired = tmp_path / "statistics.h5", np.random.default_rng(0).integers(1, 9, (11, 2, 20))
    with store.statistics_writer(path, ids, cultures, "act_fn", 2, 20, {"model": "m", "revision": "r"}) as writer:
        writer.write(ids, np.full(11, 9), fired, fired * 0.5)
    samples = pd.DataFrame({"sample_id": ids, "culture": cultures, "image_id": image})
    for name, table, same in (("some", samples, ["a"]), ("all", samples.assign(image_id=cultures), ["a"]),
                              ("none", samples.assign(image_id=""), [])):  # fmt: skip
        files.write_table(tmp_path / "samples.parquet", table, {})
        caplog.clear()
        _, metadata = run(step, tmp_path, path, tmp_path / f"{name}.parquet", "--permutations", 8)
        assert [culture for culture, times in metadata["changed"].items() if not times] == same
        assert metadata["changed"].keys() == set("abc")
        assert max(metadata["changed"].values()) <= 8
        assert ("a: no permutation gives other samples these names" in caplog.text) == bool(same)


def test_samples_of_another_run_are_refused(base, step, statistics, tmp_path):
    samples, metadata = files.read_table(base / "samples.parquet")
    files.write_table(tmp_path / "samples.parquet", samples.iloc[:5], metadata)
    with pytest.raises(FileError, match=r"sample '.*' is not in .*samples\.parquet"):
        step.run(permute, "--statistics", statistics, "--samples", tmp_path / "samples.parquet", "--selector", "cas",
                 "--top-fraction", "0.1", "--permutations", 1, "--out", tmp_path / "out.parquet")  # fmt: skip
    assert not (tmp_path / "out.parquet").exists()


def test_permutation_that_was_not_announced_is_refused(base, step, statistics, tmp_path):
    table, metadata = run(step, base, statistics, tmp_path / "permuted.parquet")
    files.write_table(tmp_path / "bad.parquet", table, metadata | {"permutations": 2})
    with pytest.raises(FileError, match=r"bad\.parquet: permutation 2; expected 0 to 1"):
        step.run(ablate, *step.shared(base), "--permuted", tmp_path / "bad.parquet", "--outcomes-out", tmp_path / "o")
