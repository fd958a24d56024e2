import numpy as np
import pandas as pd
import pytest

from culture_neurons.analysis import data_overlaps
from culture_neurons.analysis.overlaps import Masks
from tests.analysis.test_overlaps import masks


def test_layers_and_what_is_expected_in_them_by_hand():
    # Two layers of 10 neurons: 3 and 1 of the one mask, 2 and 2 of the other.
    one, other = masks(a=[0, 1, 2, 19], b=[3], c=[]), masks(a=[1, 2, 10, 11], c=[], d=[4])
    rows = {(row["culture"], row["layer"]): row for row in data_overlaps.compare(one, other)}
    assert list(rows) == [(culture, layer) for culture in "ac" for layer in (None, 0, 1)]
    sizes = {key: (row["n_a"], row["n_b"], row["n_shared"]) for key, row in rows.items() if key[0] == "a"}
    assert sizes == {("a", None): (4, 4, 2), ("a", 0): (3, 2, 2), ("a", 1): (1, 2, 0)}
    assert [rows["a", layer]["overlap"] for layer in (None, 0, 1)] == pytest.approx([2 / 6, 2 / 3, 0])
    by_chance = [3 * 2 / 10 + 1 * 2 / 10, 3 * 2 / 10, 1 * 2 / 10]
    expected = [n / (total - n) for n, total in zip(by_chance, (8, 5, 3), strict=True)]
    assert [rows["a", layer]["expected"] for layer in (None, 0, 1)] == pytest.approx(expected)
    assert np.isnan([rows["c", None]["overlap"], rows["c", None]["expected"], rows["c", 1]["overlap"]]).all()


def test_layers_of_different_widths_by_hand():
    # Layers of 10 and 4 neurons: 3 and 1 of the one mask, 2 and 2 of the other.
    one, other = (
        Masks((2, 10), {"a": np.array(flat)}, (10, 4)) for flat in ([0, 1, 2, 13], [1, 2, 10, 11])
    )  # fmt: skip
    expected = [row["expected"] for row in data_overlaps.compare(one, other)]
    by_chance = [3 * 2 / 10 + 1 * 2 / 4, 3 * 2 / 10, 1 * 2 / 4]
    assert expected == pytest.approx([n / (total - n) for n, total in zip(by_chance, (8, 5, 3), strict=True)])


def test_expected_overlap_is_that_of_random_masks_in_the_same_layers():
    """Masks that crowd in one layer share more by chance than masks of these sizes anywhere."""
    rng, counts = np.random.default_rng(0), (40, 5, 0, 3)

    def draw():
        return masks((4, 100), a=np.concatenate([
            layer * 100 + np.sort(rng.choice(100, n, replace=False)) for layer, n in enumerate(counts)
        ]))  # fmt: skip

    found = [next(data_overlaps.compare(draw(), draw())) for _ in range(400)]
    (expected,) = {row["expected"] for row in found}
    assert np.mean([row["overlap"] for row in found]) == pytest.approx(expected, rel=0.03)
    anywhere = 48 * 48 / 400
    assert expected > 2.5 * anywhere / (96 - anywhere)


def test_pairs_are_of_selectors_that_chose_on_different_data_in_one_model():
    one, few = masks(a=[0, 1], b=[2]), masks(b=[2, 12])
    files = {("m", "x", "0.1"): one, ("m", "y", "0.1"): one, ("m", "z", "0.1"): few, ("m", "z", "0.2"): few,
             ("n", "x", "0.1"): one}  # fmt: skip
    table = data_overlaps.tabulate(files, {"x": "own", "y": "own", "z": "words"})
    assert list(table.columns) == list(data_overlaps.COLUMNS)
    about = ["model", "top_fraction", "culture", "a", "b", "chosen_on_a", "chosen_on_b"]
    whole = table[table["layer"].isna()]
    assert whole[about].to_numpy().tolist() == [["m", "0.1", "b", first, "z", "own", "words"] for first in "xy"]
    assert whole["overlap"].tolist() == [0.5, 0.5]
    assert table["layer"].astype("float").dropna().tolist() == [0, 1] * 2
    empty = data_overlaps.tabulate({("m", "x", "0.1"): one}, {"x": "own"})
    pd.testing.assert_index_equal(empty.columns, table.columns)
    assert len(empty) == 0
