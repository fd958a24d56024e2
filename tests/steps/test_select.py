from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files, selectors, store
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.selectors import selection
from culture_neurons.steps import select

METADATA = {"model": "tiny", "revision": "abc", "dtype": "float32", "token_rule": "all", "step": "merge", "code": "0"}


def statistics(path, fired, metadata=METADATA):
    ids = [f"s{i}" for i in range(6)]
    with store.statistics_writer(path, ids, list("bacbac"), "act_fn", 2, 50, metadata, negative_sum=True) as writer:
        writer.write(ids, np.full(6, 9), fired, fired * 0.5, fired * -0.1)


@pytest.fixture
def folder(tmp_path):
    statistics(tmp_path / "statistics.h5", np.minimum(np.random.default_rng(0).integers(0, 10, (6, 2, 50)), 9))
    return tmp_path


def run(step, folder, method, *more, fractions=("0.1",), outs=None):
    """Run the step; the files of scores and masks."""
    scores = folder / f"{method}.h5"
    masks = [folder / f"{method}_top{fraction}.parquet" for fraction in fractions][:outs]
    step.run(select, "--statistics", folder / "statistics.h5", "--selector", method, "--top-fraction", *fractions,
             "--scores-out", scores, "--masks-out", *masks, *more)  # fmt: skip
    return scores, *masks


def matched(step, folder, *references):
    return run(step, folder, "random-matched", "--reference", *references)[1]


@pytest.mark.parametrize("method", list(selectors.SELECTORS))
def test_the_files_hold_scores_and_masks_of_them_and_where_they_are_from(folder, method, step):
    more = ["--reference", run(step, folder, "cas")[1]] if selectors.resolve(method).needs_reference else []
    score_file, mask_file = run(step, folder, method, *more)
    scores, cultures, site, metadata = store.read_scores(score_file)
    recorded, _ = store.read_statistics(folder / "statistics.h5")
    np.testing.assert_array_equal(scores, selectors.score(method, recorded).astype(np.float32))
    assert (cultures, site) == (["a", "b", "c"], "act_fn")
    expected = {
        "model": "tiny", "revision": "abc", "token_rule": "all", "samples": {"a": 2, "b": 2, "c": 2}, "step": "select",
    }  # fmt: skip
    assert {key: metadata[key] for key in expected} == expected
    mask, metadata = files.read_table(mask_file)
    assert list(mask.columns) == ["culture", "site", "layer", "neuron", "score", "rank"]
    expected = {
        "model": "tiny", "revision": "abc", "cultures": ["a", "b", "c"], "layers": 2, "neurons": 50, "budget": 10,
        "top_fraction": "0.1", "selector": method, "options": {}, "step": "select",
    }  # fmt: skip
    assert {key: metadata[key] for key in expected} == expected
    assert set(metadata["history"]) == {"merge"}
    if not more:
        chosen = selection.select(scores, cultures, "0.1", site, selector=method)
        pd.testing.assert_frame_equal(mask, chosen, check_categorical=False)


def test_masks_say_on_which_data_set_they_were_chosen(folder, step):
    """The same statistics give the same rows, and the same files but for that word."""
    own = run(step, folder, "cas")
    before = [path.read_bytes() for path in own]
    again = run(step, folder, "cas", "--chosen-on", "recognise")
    metadata = [store.read_scores(again[0])[3], files.read_table(again[1])[1]]
    assert [one["chosen_on"] for one in metadata] == ["recognise"] * 2
    chosen = files.read_table(again[1])[0]
    own = run(step, folder, "cas", "--chosen-on")
    assert [path.read_bytes() for path in own] == before
    table, metadata = files.read_table(own[1])
    assert "chosen_on" not in metadata
    assert "chosen_on" not in store.read_scores(own[0])[3]["settings"]
    pd.testing.assert_frame_equal(table, chosen)


def test_every_fraction_has_a_file_that_says_which(folder, step):
    _, *masks = run(step, folder, "cas", fractions=("0.1", "0.2"))
    tables, all_metadata = zip(*(files.read_table(path) for path in masks), strict=True)
    assert [one["top_fraction"] for one in all_metadata] == ["0.1", "0.2"]
    assert [one["settings"]["top_fraction"] for one in all_metadata] == ["0.1", "0.2"]
    assert [table["culture"].value_counts().to_dict() for table in tables] == [
        {"a": n, "b": n, "c": n} for n in (10, 20)
    ]
    alone = run(step, folder, "cas", fractions=("0.2",))[1]
    assert files.read_table(alone)[0].equals(tables[1])


def test_options_reach_the_method(folder, step):
    one, two = (
        [path.read_bytes() for path in run(step, folder, "random", "--options", f'{{"seed": {seed}}}')]
        for seed in (1, 2)
    )
    assert all(a != b for a, b in zip(one, two, strict=True))


def test_cultures_without_a_neuron_stay_in_the_metadata(folder, step):
    statistics(folder / "statistics.h5", np.zeros((6, 2, 50), int))
    mask, metadata = files.read_table(run(step, folder, "cas")[1])
    assert len(mask) == 0
    assert metadata["cultures"] == ["a", "b", "c"]


def test_lape_original_has_one_budget_for_all(folder, step):
    mask, _ = files.read_table(run(step, folder, "lape-original")[1])
    assert 0 < len(mask[["layer", "neuron"]].drop_duplicates()) <= 10


def test_random_matched_follows_its_reference(folder, step):
    reference = run(step, folder, "cas")[1]
    mask, _ = files.read_table(matched(step, folder, reference))
    by_layer = files.read_table(reference)[0].groupby(["culture", "layer"]).size()
    assert mask.groupby(["culture", "layer"]).size().to_dict() == by_layer.to_dict()


def test_random_matched_needs_a_reference_per_fraction(folder, step):
    with pytest.raises(ConfigError, match="--selector random-matched needs one --reference per top fraction"):
        matched(step, folder)
    with pytest.raises(ConfigError, match="2 top fractions and 1 outputs; expected as many"):
        run(step, folder, "cas", fractions=("0.1", "0.2"), outs=1)


def test_a_reference_from_another_revision_is_refused(folder, step):
    reference = run(step, folder, "cas")[1]
    mask, metadata = files.read_table(reference)
    files.write_table(reference, mask, {**metadata, "revision": "def"})
    with pytest.raises(FileError, match=r"cas_top0\.1\.parquet: revision 'def'.*another model revision"):
        matched(step, folder, reference)


def test_same_input_same_bytes(folder, step):
    first = [path.read_bytes() for path in run(step, folder, "cas")]
    # An empty reference is none.
    assert [path.read_bytes() for path in run(step, folder, "cas", "--reference")] == first


def test_mistakes_are_named(folder, step):
    with pytest.raises(ConfigError, match="did you mean 'cas'"):
        run(step, folder, "caz")
    with pytest.raises(ConfigError, match="unknown option 'sead'"):
        run(step, folder, "random", "--options", '{"sead": 1}')
    with pytest.raises(FileError, match="no such file"):
        run(step, folder / "other", "cas")


@pytest.mark.parametrize("fraction", ["0", "1.5", "-1", "much"])
def test_fraction_outside_the_range(folder, fraction, step):
    with pytest.raises(ConfigError, match=r"top fraction must be a number in \(0, 1\]"):
        run(step, folder, "cas", f"--top-fraction={fraction}")


def test_a_fraction_too_small_for_the_model(folder, step):
    with pytest.raises(ConfigError, match="2 layers x 50 neurons leaves no neuron"):
        run(step, folder, "cas", fractions=("0.001",))
