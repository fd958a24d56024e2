from __future__ import annotations

import numpy as np
import pytest

from culture_neurons import files, store
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import mask as step
from culture_neurons.steps import score

METADATA = {"model": "tiny", "revision": "abc", "dtype": "float32", "token_rule": "all"}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f"s{i}" for i in range(6)]
    with store.statistics_writer(tmp_path / "statistics.h5", ids, list("bababa"), "act_fn", 2, 50, METADATA) as writer:
        fired = rng.integers(0, 10, (6, 2, 50))
        writer.write(ids, np.full(6, 9), np.minimum(fired, 9), fired * 0.5)
    for method in ("cas", "lape-original", "random-matched"):
        run_score(tmp_path, method)
    return tmp_path


def run_score(folder, method):
    score.main(score.arguments().parse_args(
        ["--statistics", f"{folder}/statistics.h5", "--selector", method, "--out", f"{folder}/{method}.h5"]
    ))  # fmt: skip


def run(folder, method, *more, fraction="0.1"):
    out = folder / f"{method}_top{fraction}.parquet"
    step.main(step.arguments().parse_args(
        ["--scores", f"{folder}/{method}.h5", "--selector", method, "--top-fraction", fraction, "--out", str(out),
         *more]
    ))  # fmt: skip
    return out


def test_the_file_holds_the_mask_and_where_it_is_from(folder):
    mask, metadata = files.read_table(run(folder, "cas"))
    assert list(mask.columns) == ["culture", "site", "layer", "neuron", "score", "rank"]
    assert mask["culture"].value_counts().to_dict() == {"a": 10, "b": 10}
    expected = {
        "model": "tiny", "revision": "abc", "cultures": ["a", "b"], "layers": 2, "neurons": 50, "budget": 10,
        "top_fraction": "0.1", "selector": "cas", "options": {},
    }  # fmt: skip
    assert {key: metadata[key] for key in expected} == expected


def test_cultures_without_a_neuron_stay_in_the_metadata(folder):
    store.write_scores(folder / "cas.h5", np.zeros((2, 2, 50)), ["b", "a"], "act_fn", METADATA)
    mask, metadata = files.read_table(run(folder, "cas"))
    assert len(mask) == 0
    assert metadata["cultures"] == ["a", "b"]


def test_lape_original_has_one_budget_for_all(folder):
    mask, _ = files.read_table(run(folder, "lape-original"))
    assert 0 < len(mask[["layer", "neuron"]].drop_duplicates()) <= 10


def test_random_matched_follows_its_reference(folder):
    reference = run(folder, "cas")
    more = ["--statistics", f"{folder}/statistics.h5", "--reference", str(reference)]
    mask, _ = files.read_table(run(folder, "random-matched", *more))
    by_layer = files.read_table(reference)[0].groupby(["culture", "layer"]).size()
    assert mask.groupby(["culture", "layer"]).size().to_dict() == by_layer.to_dict()


def test_random_matched_needs_both_files(folder):
    with pytest.raises(ConfigError, match="needs --statistics and one --reference per top fraction"):
        run(folder, "random-matched")


def test_a_reference_from_another_revision_is_refused(folder):
    reference = run(folder, "cas")
    mask, metadata = files.read_table(reference)
    files.write_table(reference, mask, {**metadata, "revision": "def"})
    more = ["--statistics", f"{folder}/statistics.h5", "--reference", str(reference)]
    with pytest.raises(FileError, match=r"cas_top0\.1\.parquet: revision 'def'.*another model revision"):
        run(folder, "random-matched", *more)


def test_an_empty_reference_is_none(folder):
    plain = run(folder, "cas").read_bytes()
    assert run(folder, "cas", "--reference").read_bytes() == plain
    assert run(folder, "cas", "--reference", "").read_bytes() == plain


def test_same_input_same_bytes(folder):
    first = run(folder, "cas").read_bytes()
    assert run(folder, "cas").read_bytes() == first


@pytest.mark.parametrize("fraction", ["0", "1.5", "-1", "much"])
def test_fraction_outside_the_range(folder, fraction):
    with pytest.raises(ConfigError, match=r"top fraction must be a number in \(0, 1\]"):
        run(folder, "cas", f"--top-fraction={fraction}")


def test_a_fraction_too_small_for_the_model(folder):
    with pytest.raises(ConfigError, match="2 layers x 50 neurons leaves no neuron"):
        run(folder, "cas", fraction="0.001")
