"""Paired effects of two runs, against plain loops over questions in float64."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from culture_neurons.analysis import compared_effects, intervals, mask_effects, paired_changes
from culture_neurons.analysis.compared_effects import BASELINE, compare, join_units, of_baseline, of_masks, relabel
from tests.analysis.test_transfer import asked, loops

SIZES = {"a": 10, "b": 10, "c": 10}


def run(seed: int, cultures: str = "bcd", rename: dict[str, str] | None = None, keep=slice(None)):
    """One run: its questions in a plain table, and its baseline and paired changes."""
    samples, predictions, outcomes = asked(seed, cultures)
    samples = samples.assign(label=1)
    table = outcomes["cas", "0"]
    for answers in (predictions, table):
        answers["correct"] = answers["prediction"] == 1
    samples, predictions = samples.iloc[keep], predictions.iloc[keep]
    table = table[table["sample_id"].isin(samples["sample_id"])]
    names = rename or {}
    samples, predictions = (frame.assign(culture=frame["culture"].replace(names)) for frame in (samples, predictions))
    table = table.assign(**{name: table[name].replace(names) for name in ("culture", "mask_culture")})
    base = mask_effects.baseline(samples, predictions, "p")
    sizes = {names.get(name, name): n for name, n in SIZES.items()}
    paired = paired_changes.pair(base, mask_effects.changes(base, table, sizes, "o", "p"), sizes)
    return samples, predictions, table, base, paired


def plain(samples, predictions, table) -> pd.DataFrame:
    found = loops(samples, predictions, table)
    return found.assign(sample_id=sorted(table["sample_id"].unique())).set_index("sample_id")


def test_means_over_shared_questions_are_those_of_plain_loops():
    one, other = run(0), run(1, keep=slice(4, None))
    table = compare(of_masks(*one[3:]), of_masks(*other[3:]), replicates=50)
    # Own masks are those of b and c; questions of d have none.
    loop = plain(*one[:3]).join(plain(*other[:3]), rsuffix="_other", how="inner")
    loop = loop[loop["culture"].isin(["b", "c"])]
    assert len(loop) == 18
    assert (table["n"] == 18)[table["culture"].isna()].all()
    whole = table[table["culture"].isna()].set_index(["what", "measure"])
    assert set(whole["averaged_over"]) == {"cultures"}
    for what, column in (("self", "own_{}change"), ("cross", "other_{}change")):
        for measure, prefix in (("accuracy", ""), ("logprob", "logprob_")):
            name = column.format(prefix)
            values = [loop.groupby("culture")[f"{name}{end}"].mean().mean() for end in ("", "_other")]
            row = whole.loc[(what, measure)]
            assert [row["value"], row["other_value"]] == pytest.approx(values)
            assert row["difference"] == pytest.approx(values[0] - values[1])
            of_b = table[(table["culture"] == "b") & (table["what"] == what) & (table["measure"] == measure)]
            mean = loop.loc[loop["culture"] == "b", name].mean()
            assert of_b["value"].item() == pytest.approx(mean)
    specific = whole.loc[("self", "logprob"), "value"] - whole.loc[("cross", "logprob"), "value"]
    assert whole.loc[("specificity", "logprob"), "value"] == pytest.approx(specific)


def test_answers_without_masks_are_paired_too():
    one, other = run(0), run(1)
    whole = compare(of_baseline(one[3]), of_baseline(other[3]), replicates=50)
    whole = whole[whole["culture"].isna()].set_index("measure")
    right = [100 * run[1].groupby("culture")["correct"].mean().mean() for run in (one, other)]
    assert [whole.loc["accuracy", "value"], whole.loc["accuracy", "other_value"]] == pytest.approx(right)
    assert set(whole["what"]) == {BASELINE}
    # An accuracy is not held against 0; a difference is.
    assert whole[["value_p", "other_value_p"]].isna().all(axis=None)
    assert whole["p_value"].notna().all()
    assert (whole["value_low"] >= -1000).all()
    assert whole.loc["accuracy", "value_low"] >= 0


def test_a_run_against_itself_differs_in_nothing_and_swapped_runs_in_the_sign():
    one, other = of_masks(*run(0)[3:]), of_masks(*run(1)[3:])
    same = compare(one, one, replicates=50)
    assert (same["difference"] == 0).all()
    assert (same["p_value"] == 1).all()
    there, back = compare(one, other, replicates=200), compare(other, one, replicates=200)
    assert there["difference"].to_numpy() == pytest.approx(-back["difference"].to_numpy())
    assert there["p_value"].to_numpy() == pytest.approx(back["p_value"].to_numpy())


def test_without_a_common_baseline_a_difference_reaches_twice_as_far():
    """All changes of the one run are -100 points and of the other 100: the interval has room for it, and some more."""
    base = run(0)[3]
    ones = np.ones(len(base.sample_id))

    def values(change: float, logprob: np.ndarray) -> compared_effects.Values:
        column = intervals.Column(change * ones, intervals.POINTS)
        return compared_effects.Values(base.sample_id, base.culture, base.unit, logprob, {("self", "accuracy"): column})

    far = compare(values(-100, base.logprob), values(100, base.logprob + 1), replicates=200).iloc[0]
    assert far["difference"] == -200
    assert far["ci_low"] == -200 < far["ci_high"] < -100
    near = [compare(values(-10, base.logprob), values(10, base.logprob + d), replicates=200).iloc[0] for d in (0, 1)]
    widths = [row["ci_high"] - row["ci_low"] for row in near]
    assert widths[1] > 1.5 * widths[0]


def test_other_groupings_count_every_question_the_same():
    """A question of b is x in the other run, of c y: pairs of cultures have rows, and the mean is over questions."""
    one, other = run(0), run(1, rename={"b": "x", "c": "x2", "d": "x"}, keep=slice(4, None))
    table = compare(of_masks(*one[3:]), of_masks(*other[3:]), replicates=50)
    whole = table[table["culture"].isna()]
    assert set(whole["averaged_over"]) == {"questions"}
    pairs = table.dropna(subset="culture")[["culture", "other_culture"]].drop_duplicates()
    assert pairs.to_numpy().tolist() == [["b", "x"], ["c", "x2"]]
    means = table[(table["what"] == "self") & (table["measure"] == "logprob")].set_index("culture")
    weighted = (means.loc[["b", "c"], "value"] * means.loc[["b", "c"], "n"]).sum() / means.loc[["b", "c"], "n"].sum()
    assert whole.set_index(["what", "measure"]).loc[("self", "logprob"), "value"] == pytest.approx(weighted)


def test_nothing_in_common_gives_no_rows():
    one, other = of_masks(*run(0, "b")[3:]), of_masks(*run(1, "c")[3:])
    assert list(compare(one, other).columns) == list(compared_effects.COLUMNS)
    assert len(compare(one, other)) == 0


def test_moved_masks_take_the_names_that_their_own_run_gave():
    base = relabel(run(0)[3], {"b": "Bee", "c": "Cee"})
    assert set(base.culture) == {"Bee", "Cee", ""}


def test_units_that_either_run_puts_together_are_together():
    first = np.array(["i1", "i1", "i2", "i3", "i4"], dtype=object)
    second = np.array(["u", "v", "v", "w", "x"], dtype=object)
    joined = join_units(first, second)
    assert list(joined) == ["i1", "i1", "i1", "i3", "i4"]
    assert list(join_units(first, first)) == list(first)
