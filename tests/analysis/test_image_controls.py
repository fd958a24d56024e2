"""Worked by hand: two cultures, three images, four questions with an image and one without."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from culture_neurons.analysis import image_controls, intervals, p_values
from culture_neurons.analysis.image_controls import ALL, SHOWN, SWAPPED, adjust, check_complete, compare
from culture_neurons.analysis.mask_effects import baseline
from culture_neurons.errors import FileError
from tests.conftest import slow

SAMPLES = pd.DataFrame({
    "sample_id": ["a1", "a2", "a3", "b1", "b2", "c1"],
    "culture": ["A", "A", "A", "B", "B", "C"],
    "split": "evaluate",
    "label": 0,
    "image_id": ["x", "x", "y", "z", "", ""],
})  # fmt: skip
SOURCES = {SHOWN: "predictions.parquet", "blank": "blank.parquet", "none": "none.parquet"}


def answers(**right: bool) -> pd.DataFrame:
    """Answers to the questions that are named: a right one has p = 3/4, a wrong one p = 1/4, of two options."""
    table = SAMPLES[SAMPLES["sample_id"].isin(right)][["sample_id", "culture", "split"]]
    correct = np.array([right[name] for name in table["sample_id"]])
    p = np.where(correct, 0.75, 0.25)
    return table.assign(
        prediction=np.where(correct, 0, 1), correct=correct, well_formed=True, logprobs=list(np.log([p, 1 - p]).T)
    )


SHOWN_ANSWERS = answers(a1=True, a2=True, a3=True, b1=False, b2=True, c1=True)
BASE = baseline(SAMPLES, SHOWN_ANSWERS, "predictions.parquet")
CONTROLS = {
    "blank": answers(a1=False, a2=True, a3=True, b1=True),
    "none": answers(a1=True, a2=True, a3=True, b1=False),
}


def rows(table: pd.DataFrame, culture: str, control: str) -> pd.Series:
    return table[(table["culture"] == culture) & (table["control"] == control)].iloc[0]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return compare(BASE, CONTROLS, ["A", "B", "C"], SOURCES, replicates=500)


def test_changes_are_of_questions_with_an_image_and_averaged_over_cultures(table) -> None:
    assert list(table.columns) == [*image_controls.COLUMNS, *image_controls.SWAPPED_COLUMNS]
    assert table[image_controls.SWAPPED_COLUMNS].isna().all(axis=None)
    assert table[["culture", "control"]].apply(tuple, axis=1).tolist() == [
        (culture, control) for culture in ("A", "B", "C", ALL) for control in (SHOWN, "blank", "none")
    ]
    a, b, c, every = (rows(table, culture, "blank") for culture in ("A", "B", "C", ALL))
    assert [row["n"] for row in (a, b, c, every)] == [3, 1, 0, 4]
    assert [row["n_without_image"] for row in (a, b, c, every)] == [0, 1, 1, 2]
    assert_allclose([a["change"], b["change"], every["change"]], [-100 / 3, 100, (100 - 100 / 3) / 2])
    assert_allclose([a["accuracy"], b["accuracy"], every["accuracy"]], [2 / 3, 1, 5 / 6])
    assert_allclose(every["logprob_change"], np.log(3) * (1 - 1 / 3) / 2)
    assert (every["gained"], every["lost"]) == (1, 1)
    assert every["chance"] == 0.5
    assert c[["accuracy", "change", "change_low", "mcnemar_p", "chance"]].isna().all()
    shown = rows(table, ALL, SHOWN)
    assert shown["accuracy"] == 0.5  # A all right, B none
    assert shown[["change", "change_low", "logprob_change", "mcnemar_p"]].isna().all()


def test_intervals_and_p_are_those_of_the_resampling_of_images(table) -> None:
    plan = p_values.design(np.array(["A", "A", "A", "B"]), np.array(["image x", "image x", "image y", "image z"]))
    change = np.array([[-100.0], [0], [0], [100]])
    low, high = intervals.interval(plan, change, [intervals.POINTS], 500, 0)
    found = rows(table, ALL, "blank")
    assert_allclose([found["change_low"], found["change_high"]], [low[0], high[0]])
    assert found["mcnemar_p"] == 1.0
    assert rows(table, "A", "blank")["mcnemar_p"] == p_values.mcnemar(1, 0)


def test_a_model_that_ignores_the_image_shows_no_change(table) -> None:
    same = table[(table["control"] == "none") & (table["n"] > 0)]
    assert (same[["change", "logprob_change"]] == 0).all(axis=None)
    assert (same["mcnemar_p"] == 1).all()
    several = same[same["culture"] != "B"]  # of B there is one image
    assert (several[["logprob_change_low", "logprob_change_high"]] == 0).all(axis=None)
    assert (several["change_low"] < -10).all()
    assert (several["change_high"] > 10).all()
    assert same.loc[same["culture"] == "B", ["change_low", "logprob_change_high"]].isna().all(axis=None)


@pytest.mark.parametrize("times", [30, slow(200)])
def test_guessing_with_and_without_the_image_is_rarely_a_change(times: int) -> None:
    """Answers that are right by luck, anew under the control: at most about 5 % of p below 0.05, intervals with 0."""
    rng, n = np.random.default_rng(0), 60
    samples = pd.DataFrame({
        "sample_id": [f"q{i:02}" for i in range(n)], "culture": ["A", "B"] * (n // 2), "split": "evaluate", "label": 0,
        "image_id": [f"i{i // 4}" for i in range(n)],
    })  # fmt: skip

    def guessed() -> pd.DataFrame:
        p = rng.dirichlet(np.ones(4), n)
        best = p.argmax(axis=1)
        return samples[["sample_id", "culture", "split"]].assign(
            prediction=best, correct=best == 0, well_formed=True, logprobs=list(np.log(p))
        )

    small = covered = 0
    for _ in range(times):
        base = baseline(samples, guessed(), "p")
        found = compare(base, {"blank": guessed()}, ["A", "B"], {SHOWN: "p", "blank": "b"}, replicates=200)
        row = rows(found, ALL, "blank")
        small += row["mcnemar_p"] < 0.05
        covered += row["logprob_change_low"] <= 0 <= row["logprob_change_high"]
    assert small / times <= 0.075
    assert covered / times >= 0.88


def test_p_is_adjusted_in_four_families_of_each_data_set() -> None:
    p = {"own": [0.01, 0.02, 0.03, 0.04], "further": [0.01, 0.2, 0.3, 0.9]}
    every = [
        pd.DataFrame({"culture": culture, "control": "blank", "mcnemar_p": p[name], "planted": planted, "set": name})
        for name in p
        for planted in ("yes", "no")
        for culture in ("A", ALL)
    ]
    shown = {"culture": "A", "control": SHOWN, "mcnemar_p": np.nan, "planted": "no", "set": "own"}
    found = adjust(pd.concat([*every, pd.DataFrame([shown])], ignore_index=True))["mcnemar_p_adjusted"]
    expected = [list(p_values.benjamini_hochberg(np.array(values))) * 4 for values in p.values()]
    assert_allclose(found[:32], np.concatenate(expected))
    assert np.isnan(found[32])


def test_a_model_without_questions_that_have_an_image_has_empty_rows() -> None:
    nothing = {"blank": CONTROLS["blank"].iloc[:0], "none": CONTROLS["none"].iloc[:0]}
    found = compare(BASE, nothing, ["A", "B", "C"], SOURCES, replicates=10)
    assert (found["n"] == 0).all()
    assert found["accuracy"].isna().all()
    assert rows(found, ALL, "blank")["n_without_image"] == 6


def test_files_of_other_questions_are_named() -> None:
    with pytest.raises(FileError, match=r"none\.parquet and predictions\.parquet .*'b1'"):
        compare(BASE, {**CONTROLS, "none": CONTROLS["none"].iloc[:3]}, ["A"], SOURCES)
    made = {"rows": 4, "without_image": 2}
    check_complete(CONTROLS["blank"], made, BASE, "blank.parquet")
    for table, metadata in ((CONTROLS["blank"].iloc[:3], made), (CONTROLS["blank"], {"rows": 4}),
                            (CONTROLS["blank"].iloc[:3], {"rows": 3, "without_image": 2})):  # fmt: skip
        with pytest.raises(FileError, match=r"blank\.parquet: \d answers, expected 6 less those without an image"):
            check_complete(table, metadata, BASE, "blank.parquet")


# The image of another culture, by hand: name, culture, image, whose the options are (the first is right), whose image
# was shown, the answers with the own image and with the other one.
SWAPS = [
    ("a1", "A", "x", ("A", "B", "C"), "B", 0, 1),  # follows the image
    ("a2", "A", "x", ("A", "B", "C"), "C", 0, 0),  # stays
    ("a3", "A", "y", ("A", "C", "B"), "B", 0, 1),  # becomes the option of a third culture
    ("a4", "A", "w", ("A", "B", "C"), "B", 1, 1),  # was wrong with its own image
    ("b1", "B", "z", (), "A", 0, 0),  # nobody knows whose its options are
    ("b2", "B", "v", ("B", "A", "C"), "A", 0, 1),  # follows
    ("b3", "B", "u", ("B", "B", "B"), "", 0, 0),  # no image of another culture
    ("c1", "C", "", ("C", "A", "B"), "", 0, 0),  # no image
]
SWAP_OWNERS = {name: list(owners) for name, _, _, owners, *_ in SWAPS}


def exchanged(column: int, *names: str) -> pd.DataFrame:
    """Answers to the questions that are named: with the own image (column 5) or another one (6)."""
    found = [row for row in SWAPS if row[0] in names]
    return pd.DataFrame({
        "sample_id": [row[0] for row in found], "culture": [row[1] for row in found], "split": "evaluate",
        "prediction": [row[column] for row in found], "correct": [row[column] == 0 for row in found],
        "well_formed": True, "logprobs": [np.log(np.where(np.arange(3) == row[column], 0.8, 0.1)) for row in found],
        "shown_culture": [row[4] for row in found],
    })  # fmt: skip


SWAP_SAMPLES = pd.DataFrame({
    "sample_id": [row[0] for row in SWAPS], "culture": [row[1] for row in SWAPS], "split": "evaluate", "label": 0,
    "image_id": [row[2] for row in SWAPS],
})  # fmt: skip
SWAP_BASE = baseline(SWAP_SAMPLES, exchanged(5, *SWAP_OWNERS), "predictions.parquet")
SWAPPED_ANSWERS = exchanged(6, "a1", "a2", "a3", "a4", "b1", "b2")
BLANK_ANSWERS = exchanged(6, "a1", "a2", "a3", "a4", "b1", "b2", "b3")
SWAP_SOURCES = {SHOWN: "predictions.parquet", "blank": "blank.parquet", SWAPPED: "swapped.parquet"}


def compare_swapped(owners=SWAP_OWNERS, left_out=("b3",), **controls: pd.DataFrame) -> pd.DataFrame:
    controls = controls or {SWAPPED: SWAPPED_ANSWERS}
    return compare(SWAP_BASE, controls, ["A", "B", "C"], SWAP_SOURCES, 300, 0, left_out, owners)


def test_answers_that_follow_the_image_by_hand() -> None:
    table = compare_swapped()
    a, b, c, every = (rows(table, culture, SWAPPED) for culture in ("A", "B", "C", ALL))
    assert [row["n"] for row in (a, b, c, every)] == [4, 2, 0, 6]
    assert [row["n_without_image"] for row in (a, b, c, every)] == [0, 0, 1, 1]
    assert [row["n_without_other_image"] for row in (a, b, c, every)] == [0, 1, 0, 1]
    assert [row["followed_n"] for row in (a, b, c, every)] == [3, 1, 0, 4]
    assert_allclose([a["followed"], b["followed"], every["followed"]], [1 / 3, 1, 2 / 3])
    assert c[["followed", "followed_low", "followed_high", "accuracy"]].isna().all()
    plan = p_values.design(np.array(list("AAAB")), np.array(["image x", "image x", "image y", "image v"]))
    low, high = intervals.interval(plan, np.array([[1.0], [0], [0], [1]]), [intervals.SHARE], 300, 0)
    assert_allclose([every["followed_low"], every["followed_high"]], [low[0], high[0]])
    assert 0 <= low[0] < 2 / 3 < high[0] <= 1
    # Changes are of the questions that were asked again; those as they are have one more.
    assert_allclose([a["accuracy"], b["accuracy"], every["accuracy"]], [1 / 4, 1 / 2, 3 / 8])
    assert_allclose([a["change"], b["change"], every["change"]], [-50, -50, -50])
    assert (every["gained"], every["lost"], every["chance"]) == (0, 3, pytest.approx(1 / 3))
    assert_allclose(every["logprob_change"], (np.log(1 / 8) * 2 / 4 + np.log(1 / 8) / 2) / 2)
    shown = rows(table, "B", SHOWN)
    assert (shown["n"], shown["accuracy"]) == (3, 1)
    assert rows(table, ALL, SHOWN)[image_controls.SWAPPED_COLUMNS].isna().all()


def test_where_nobody_knows_whose_options_are_nothing_follows() -> None:
    table = compare_swapped(owners=None)
    swapped = table[table["control"] == SWAPPED]
    assert (swapped["followed_n"] == 0).all()
    assert swapped[["followed", "followed_low", "followed_high"]].isna().all(axis=None)
    assert rows(table, ALL, SWAPPED)["change"] == -50


def test_another_control_beside_it_is_what_it_is_alone() -> None:
    both = compare_swapped(blank=BLANK_ANSWERS, swapped=SWAPPED_ANSWERS)
    alone = compare_swapped(left_out=(), blank=BLANK_ANSWERS)
    pd.testing.assert_frame_equal(both[both["control"] != SWAPPED].reset_index(drop=True), alone)
    mine = both[both["control"] == SWAPPED].reset_index(drop=True)
    swapped = compare_swapped()
    pd.testing.assert_frame_equal(mine, swapped[swapped["control"] == SWAPPED].reset_index(drop=True))


def test_an_image_of_a_culture_without_an_option_of_its_own_is_named() -> None:
    for owners in (["A", "C", "C"], ["A", "B", "B"]):
        with pytest.raises(FileError, match=r"swapped\.parquet: 'a1' was shown an image of 'B', which has [02] of its"):
            compare_swapped(owners=SWAP_OWNERS | {"a1": owners})


def test_a_file_of_swapped_images_is_complete_with_what_it_left_out() -> None:
    metadata = {"rows": 6, "without_image": 1, "without_other_image": ["b3"]}
    check_complete(SWAPPED_ANSWERS, metadata, SWAP_BASE, "swapped.parquet")
    with pytest.raises(FileError, match=r"swapped\.parquet: 6 answers, expected 8 less"):
        check_complete(SWAPPED_ANSWERS, metadata | {"without_other_image": []}, SWAP_BASE, "swapped.parquet")
    with pytest.raises(FileError, match=r"swapped\.parquet and predictions\.parquet do not hold the same .*'b2'"):
        compare_swapped(swapped=SWAPPED_ANSWERS.iloc[:-1], blank=BLANK_ANSWERS)
