import numpy as np
import pandas as pd
import pytest

from culture_neurons.analysis import overlaps
from culture_neurons.analysis.overlaps import Masks


def masks(shape=(2, 10), **chosen):
    return Masks(shape, {name: np.array(flat, dtype=np.int64) for name, flat in chosen.items()})


def test_chance_is_over_the_neurons_that_there_are():
    """Two layers of 10 and 4 neurons, side by side as [2, 10]."""
    one = Masks((2, 10), {"a": np.array([0, 1, 2]), "b": np.array([2, 10])}, (10, 4))
    (row,) = overlaps.compare_cultures(one)
    assert row["expected"] == pytest.approx((3 * 2 / 14) / (5 - 3 * 2 / 14))
    assert next(overlaps.compare_masks(one, one))["expected"] == pytest.approx((9 / 14) / (6 - 9 / 14))


def test_overlaps_within_a_model_by_hand():
    one = masks(a=[0, 1, 2, 3], b=[2, 3, 4, 5], c=[])
    rows = {(row["a"], row["b"]): row for row in overlaps.compare_cultures(one)}
    assert list(rows) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert (rows["a", "b"]["n_a"], rows["a", "b"]["n_b"], rows["a", "b"]["n_shared"]) == (4, 4, 2)
    assert rows["a", "b"]["overlap"] == pytest.approx(2 / 6)
    assert rows["a", "b"]["expected"] == pytest.approx(0.8 / 7.2)
    assert rows["a", "c"]["overlap"] == rows["a", "c"]["expected"] == 0
    other = masks(b=[2, 3, 4, 5], d=[1], c=[])
    found = {row["culture"]: row["overlap"] for row in overlaps.compare_masks(one, other)}
    assert found["b"] == 1
    assert np.isnan(found["c"])
    assert set(found) == {"b", "c"}


def test_expected_overlap_is_about_that_of_random_masks():
    rng = np.random.default_rng(0)
    found = [
        overlaps.overlap_row(*(rng.choice(400, n, replace=False) for n in (60, 100)), 400)["overlap"]
        for _ in range(400)
    ]
    assert np.mean(found) == pytest.approx(
        overlaps.overlap_row(np.arange(60), np.arange(100), 400)["expected"], rel=0.02
    )


def test_depth_overlap_by_hand_and_its_laws():
    assert overlaps.depth_overlap(np.array([1, 1]), np.array([5, 5])) == 1
    assert overlaps.depth_overlap(np.array([1, 0]), np.array([0, 3])) == 0
    # Half of the depth against two thirds of it: densities 2 and 1.5 meet on [0, 1/2].
    assert overlaps.depth_overlap(np.array([4, 0]), np.array([1, 1, 0])) == pytest.approx(0.75)
    # An even spread is the same whatever the number of layers.
    assert overlaps.depth_overlap(np.full(28, 3), np.full(32, 2)) == pytest.approx(1)
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = rng.integers(0, 5, 7) + 1, rng.integers(0, 5, 4) + 1
        assert overlaps.depth_overlap(a, b) == pytest.approx(overlaps.depth_overlap(b, a))
        # Splitting each layer in two changes nothing.
        assert overlaps.depth_overlap(np.repeat(a, 2), b) == pytest.approx(overlaps.depth_overlap(a, b))
    assert np.isnan(overlaps.depth_overlap(np.zeros(2), np.ones(2)))
    large, small = (overlaps.expected_depth_overlap(n, n, 4, 4) for n in (2000, 4))
    assert small < 0.75 < 0.95 < large < 1


def test_table_has_each_pair_once():
    one, few = masks(a=[0, 1, 2], b=[2, 3, 12]), masks(a=[0], b=[2])
    deep = masks((4, 5), a=[0, 1, 2], b=[2, 3, 12])
    files = {("m", "x", "0.2"): one, ("m", "x", "0.1"): few, ("m", "y", "0.2"): one, ("n", "x", "0.2"): deep}
    table = overlaps.tabulate(files, {("m", "x", "0.1", "image"): one}, "all")
    assert table["kind"].value_counts().to_dict() == {
        "cultures": 4, "selectors": 2, "fractions": 2, "tokens": 2, "models": 2,
    }  # fmt: skip
    assert list(table.columns) == list(overlaps.COLUMNS)
    by_kind = {kind: part for kind, part in table.groupby("kind")}
    assert (by_kind["selectors"]["overlap"] == 1).all()
    assert by_kind["fractions"]["overlap"].tolist() == pytest.approx([1 / 3, 1 / 3])
    assert by_kind["tokens"][["a", "b"]].drop_duplicates().values.tolist() == [["all", "image"]]
    assert by_kind["models"]["n_shared"].isna().all()


def effects(cultures, change):
    """Rows of effects.csv from a matrix [mask culture, evaluated culture]."""
    rows = [("x", 0.1, a, b, change[i, j], -change[i, j]) for i, a in enumerate(cultures) for j, b in
            enumerate(cultures)]  # fmt: skip
    return pd.DataFrame(
        rows, columns=["selector", "top_fraction", "mask_culture", "eval_culture", "drop", "logprob_drop"]
    )


def pairs(cultures, similarity):
    rows = [("x", "0.1", a, b, 5, 5, similarity[i, j]) for i, a in enumerate(cultures) for j, b in
            enumerate(cultures) if i < j]  # fmt: skip
    return pd.DataFrame(rows, columns=["selector", "top_fraction", "a", "b", "n_a", "n_b", "overlap"])


def test_related_cultures_are_hurt_more_where_they_share_neurons():
    rng, cultures = np.random.default_rng(0), [f"c{i}" for i in range(9)]
    similarity = rng.random((9, 9))
    similarity = (similarity + similarity.T) / 2
    change = -10 * similarity + 0.1 * rng.random((9, 9))
    found = overlaps.relate_to_effects(pairs(cultures, similarity), effects(cultures, change)).set_index("measure")
    assert list(found.reset_index()[list(overlaps.RELATED)].columns) == list(overlaps.RELATED)
    assert found.loc["accuracy", "correlation"] < -0.95
    assert found.loc["accuracy", "verdict"] == overlaps.HURT
    assert found.loc["logprob", "verdict"] == overlaps.SPARED
    assert (found["n_pairs"] == 72).all()
    nothing = overlaps.relate_to_effects(pairs(cultures, np.zeros((9, 9))), effects(cultures, change))
    assert set(nothing["verdict"]) == {overlaps.SAME}
    few = overlaps.relate_to_effects(pairs(cultures[:3], similarity), effects(cultures, change))
    assert set(few["verdict"]) == {overlaps.TOO_FEW}
    # A culture without a mask, or without questions, does not count.
    some = overlaps.relate_to_effects(pairs(cultures, similarity), effects(cultures[:8], change[:8, :8]))
    assert (some["n_cultures"] == 8).all()
    other = overlaps.relate_to_effects(pairs(cultures, similarity), effects(cultures, rng.random((9, 9)))).set_index(
        "measure"
    )
    assert other.loc["accuracy", "verdict"] == overlaps.NOTHING


def test_cultures_with_an_empty_mask_or_without_questions_count_nowhere():
    """One mask without neurons shares nothing and harms no one: of both it would be evidence."""
    rng, cultures = np.random.default_rng(0), [f"c{i}" for i in range(9)]
    similarity = rng.random((9, 9))
    similarity = (similarity + similarity.T) / 2
    change = -10 * similarity + 0.1 * rng.random((9, 9))
    wanted = overlaps.relate_to_effects(pairs(cultures[:7], similarity), effects(cultures, change))
    table = pairs(cultures, similarity)
    table.loc[table["b"] == "c8", ["n_b", "overlap"]] = 0
    asked = effects(cultures, change)
    asked.loc[asked["eval_culture"] == "c7", ["drop", "logprob_drop"]] = np.nan  # as the table of effects says it
    pd.testing.assert_frame_equal(overlaps.relate_to_effects(table, asked), wanted)
    assert set(wanted["verdict"]) == {overlaps.HURT, overlaps.SPARED}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_cultures_show_no_relation(n):
    cultures = [f"c{i}" for i in range(n)]
    similarity = np.arange(n * n).reshape(n, n) * 0.1
    found = overlaps.relate_to_effects(pairs(cultures, similarity + similarity.T), effects(cultures, -similarity))
    assert found["p_value"].isna().all()
    assert set(found["verdict"]) <= {overlaps.TOO_FEW}
    assert len(found) == (2 if n > 1 else 0)  # one culture has no pairs
    assert found["correlation"].isna().all() == (n < 3)
