"""Masks on several data sets, against plain loops over questions in float64."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, false_discovery_control, spearmanr

from culture_neurons.analysis import intervals, mask_effects, p_values, transfer
from tests.conftest import slow

CULTURES = ["a", "b", "c"]  # masks are of these; the questions are of b, c and d
SIZES = {"cas": 10.0, "matched": 9.5, "other": 10.0, "large": 20.0}
CONTROLS = {"matched": "cas", "other": "mad", "large": "cas"}
FACTORS = ["0", "2"]


def asked(seed: int = 0, cultures: str = "bcd", per: int = 11):
    """Samples, predictions and outcomes (selector, factor) of one set; two questions per image, one has none."""
    rng = np.random.default_rng(seed)
    rows = [(f"{c}{i:02d}", c, "evaluate", int(rng.integers(3)), f"{c}{i // 2}" if i else "")
            for c in cultures for i in range(per)]  # fmt: skip
    samples = pd.DataFrame(rows, columns=["sample_id", "culture", "split", "label", "image_id"])

    def answers() -> pd.DataFrame:
        table = samples[["sample_id", "culture", "split"]].copy()
        table["logprobs"] = [row for row in rng.normal(-2, 1, (len(table), 3))]
        table["prediction"] = [int(np.argmax(row)) for row in table["logprobs"]]
        table["correct"] = table["prediction"].to_numpy() == samples["label"].to_numpy()
        return table.assign(well_formed=rng.random(len(table)) < 0.9)

    outcomes = {
        (selector, factor): pd.concat([answers().assign(mask_culture=c) for c in CULTURES], ignore_index=True)
        for selector in SIZES for factor in FACTORS
    }  # fmt: skip
    return samples, answers(), outcomes


def made(seed: int = 0, **options):
    samples, predictions, outcomes = asked(seed, **options)
    base = mask_effects.baseline(samples, predictions, "p")
    found = {}
    for key, table in outcomes.items():
        sizes = dict.fromkeys(CULTURES, SIZES[key[0]])
        change = mask_effects.changes(base, table, sizes, "o", "p")
        found[key] = transfer.mean_over_masks(base, change, sizes, transfer.effects(base, change, []))
    return samples, predictions, outcomes, base, found


def logprob(row, label):
    values = np.asarray(row, dtype=np.float64)
    return values[label] - np.log(np.exp(values).sum())


def loops(samples, predictions, table) -> pd.DataFrame:
    """Per question, changes under all masks, its own and the others', and whether it was right; one at a time."""
    label = dict(zip(samples["sample_id"], samples["label"], strict=True))
    before = {row.sample_id: row for row in predictions.itertuples()}
    rows = []
    for name, group in table.groupby("sample_id"):
        was = before[name]
        points = {row.mask_culture: 100.0 * (int(row.correct) - int(was.correct)) for row in group.itertuples()}
        nats = {row.mask_culture: logprob(row.logprobs, label[name]) - logprob(was.logprobs, label[name])
                for row in group.itertuples()}  # fmt: skip
        found = {"culture": was.culture, "was": was.correct, "is": np.mean(group["correct"])}
        for prefix, values in (("", points), ("logprob_", nats)):
            others = [value for culture, value in values.items() if culture != was.culture and culture in "bc"]
            found[f"{prefix}change"] = np.mean(list(values.values()))
            found[f"own_{prefix}change"] = values.get(was.culture, np.nan)
            found[f"other_{prefix}change"] = np.mean(others) if was.culture in values else np.nan
        rows.append(found)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def everything():
    return made()


def test_means_are_those_of_loops_over_questions(everything):
    samples, predictions, outcomes, base, found = everything
    table = transfer.compare(base, found, CONTROLS, 50, 1).set_index(["selector", "factor"])
    assert len(table) == 8
    for key, row in table.iterrows():
        expected = loops(samples, predictions, outcomes[key])
        assert (row["n"], row["n_cultures"], row["n_own"], row["n_masks"]) == (33, 3, 22, 3)
        assert row["neurons"] == SIZES[key[0]]
        assert row["baseline_accuracy"] == pytest.approx(expected["was"].mean(), abs=1e-12)
        assert row["masked_accuracy"] == pytest.approx(expected["is"].mean(), abs=1e-12)
        assert row["change"] == pytest.approx(100 * (row["masked_accuracy"] - row["baseline_accuracy"]))
        assert row["chance"] == pytest.approx(1 / 3)
        for prefix in ("", "logprob_"):
            for name in (f"{prefix}change", f"own_{prefix}change", f"other_{prefix}change"):
                assert row[name] == pytest.approx(expected[name].mean(), abs=1e-12), name
                assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
            specific = row[f"own_{prefix}change"] - row[f"other_{prefix}change"]
            assert row[f"{prefix}specificity"] == pytest.approx(specific, abs=1e-12)
            assert 0 < row[f"{prefix}specificity_p"] <= 1
    formed = [np.mean(outcomes["cas", "0"]["well_formed"]), np.mean(predictions["well_formed"])]
    assert table.loc[("cas", "0"), ["well_formed_rate", "baseline_well_formed_rate"]].tolist() == pytest.approx(formed)


def test_random_masks_are_those_matched_and_of_the_size(everything):
    samples, predictions, outcomes, base, found = everything
    table = transfer.compare(base, found, CONTROLS, 50, 1).set_index(["selector", "factor"])
    for factor in FACTORS:
        mine, random = (loops(samples, predictions, outcomes[name, factor]) for name in ("cas", "matched"))
        row = table.loc["cas", factor]
        assert row["n_controls"] == 1  # `large` is matched too, but twice as large; `other` is matched to another
        for prefix in ("", "logprob_"):
            expected = random[f"{prefix}change"].mean()
            assert row[f"random_{prefix}change"] == pytest.approx(expected, abs=1e-12)
            expected = mine[f"{prefix}change"].mean() - expected
            assert row[f"{prefix}difference"] == pytest.approx(expected, abs=1e-12)
            assert row[f"{prefix}difference_low"] < row[f"{prefix}difference"] < row[f"{prefix}difference_high"]
    controls = table.loc[list(CONTROLS)]
    assert (controls["n_controls"] == 0).all()
    assert controls[["random_change", "difference", "difference_p"]].isna().all(axis=None)
    assert controls["change_p"].notna().all()


def test_intervals_draw_the_questions_of_an_image_together(everything):
    base, found = everything[3], everything[4]
    row = transfer.compare(base, found, CONTROLS, 4000, 1).set_index(["selector", "factor"]).loc["cas", "0"]
    rng, values = np.random.default_rng(5), found["cas", "0"].change["logprob"]
    units = [np.flatnonzero(base.unit == unit) for unit in sorted(set(base.unit))]
    assert len(units) < len(base.unit)
    plan = p_values.design(np.full(len(base.unit), ""), base.unit)
    several = intervals.scale("logprob", several=True)
    low, high = intervals.interval(plan, values[:, None], [several], 4000, 1)
    np.testing.assert_allclose([row["logprob_change_low"], row["logprob_change_high"]], [low[0], high[0]])
    flipped = []
    sums = np.array([values[unit].sum() for unit in units])
    for _ in range(4000):
        flipped.append((sums * rng.choice([-1, 1], size=len(units))).sum() / len(values))
    expected = np.mean(np.abs(flipped) >= abs(row["logprob_change"]))
    assert row["logprob_change_p"] == pytest.approx(expected, abs=0.03)


def test_a_set_of_another_kind_has_no_own_masks():
    *_, base, found = made(cultures="x")
    table = transfer.compare(base, found, {}, 20)
    assert (table["n_own"] == 0).all()
    assert (table["n_controls"] == 0).all()
    assert table[["own_change", "other_change", "specificity", "own_rank", "random_change"]].isna().all(axis=None)
    assert table[["change", "change_low", "change_p"]].notna().all(axis=None)


def test_one_culture_of_masks_has_no_others_and_one_image_no_interval():
    *_, base, found = made(cultures="bx")
    table = transfer.compare(base, found, {}, 20)
    assert table["own_change"].notna().all()
    assert table[["other_change", "specificity"]].isna().all(axis=None)
    *_, base, found = made(cultures="x", per=1)
    table = transfer.compare(base, found, {}, 20)
    assert table["change"].notna().all()
    assert table[["change_low", "change_p"]].isna().all(axis=None)


def test_ranks_go_by_log_probability_and_then_by_name():
    samples, predictions, outcomes = asked(3, cultures="abcd")
    base = mask_effects.baseline(samples, predictions, "p")
    unchanged = predictions.assign(mask_culture="c").drop(columns="split")
    table = outcomes["cas", "0"].drop(columns="split")
    table = pd.concat([table[table["mask_culture"] != "c"], unchanged], ignore_index=True)
    change = mask_effects.changes(base, table, dict.fromkeys(CULTURES, 1), "o", "p")
    cells = transfer.effects(base, change, ["a", "b", "c", "d", "nobody"])
    for mask, part in cells.groupby("mask_culture"):
        part = part.set_index("eval_culture")
        assert pd.isna(part.loc["nobody", "rank"])
        drops = part.loc[list("abcd"), "logprob_drop"]
        order = sorted("abcd", key=lambda name, drops=drops: (drops[name], name))
        if mask == "c":  # it changes nothing, so no culture loses most
            assert part["rank"].isna().all()
        else:
            assert part.loc[order, "rank"].tolist() == [1, 2, 3, 4], mask
    reduced = transfer.mean_over_masks(base, change, dict.fromkeys(CULTURES, 1), cells)
    own = cells[cells["mask_culture"] == cells["eval_culture"]]
    assert reduced.own_rank == pytest.approx(own["rank"].astype(float).mean())


def test_p_values_are_adjusted_apart_for_planted_models_and_controls(everything):
    base, found = everything[3], everything[4]
    one = transfer.compare(base, found, CONTROLS, 50, 1).assign(planted="no")
    whole = pd.concat([one, one.assign(planted="yes", change_p=one["change_p"] / 2)], ignore_index=True)
    table = transfer.adjust(whole, list(CONTROLS))
    assert list(table.columns) == list(whole.columns)
    judged = table["selector"] == "cas"
    for planted in ("no", "yes"):
        for mine in (judged, ~judged):
            family = table[(table["planted"] == planted) & mine]
            for p in ("change_p", "logprob_change_p"):
                np.testing.assert_allclose(family[f"{p}_adjusted"], false_discovery_control(family[p]))
    assert table.loc[~judged, "difference_p_adjusted"].isna().all()


def cells_of(matrices: dict[str, np.ndarray], names: str, selector: str = "cas") -> pd.DataFrame:
    rows = [(selector, "0.01", "0", name, m, e, 10, values[i, j])
            for name, values in matrices.items() for i, m in enumerate(names) for j, e in enumerate(names)]  # fmt: skip
    columns = ["selector", "top_fraction", "factor", "set", "mask_culture", "eval_culture", "n", "logprob_drop"]
    return pd.DataFrame(rows, columns=columns)


def test_transfer_sees_related_cultures_and_not_fragile_ones():
    rng, names = np.random.default_rng(0), "abcdefgh"
    n = len(names)
    alike = rng.normal(size=(n, n))  # how much the mask of one hurts another
    fragile = 5 * rng.normal(size=n)  # under any mask
    strong = 5 * rng.normal(size=n)  # masks, on any culture

    def noisy(scale):
        return scale * alike + 0.1 * rng.normal(size=(n, n)) + fragile + strong[:, None]

    table = transfer.correlate_sets(cells_of({"one": noisy(1), "two": noisy(1), "three": noisy(0)}, names), 999)
    assert table[["set", "other_set"]].values.tolist() == [["one", "two"], ["one", "three"], ["two", "three"]]
    assert table["correlation"][0] > 0.6
    assert table["p_value"][0] < 0.01
    assert (table["p_value"][1:] > 0.05).all()
    assert (table["n_cultures"] == n).all()


def test_what_is_compared_is_neither_of_the_mask_nor_of_the_culture_alone():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(6, 6))
    rest = transfer.interaction(values)
    off = ~np.eye(6, dtype=bool)
    assert np.isnan(np.diag(rest)).all()
    np.testing.assert_allclose(np.where(off, rest, 0).sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.where(off, rest, 0).sum(axis=1), 0, atol=1e-12)
    shifted = transfer.interaction(values + rng.normal(size=6) + rng.normal(size=(6, 1)))
    np.testing.assert_allclose(shifted[off], rest[off], atol=1e-12)
    other = rng.normal(size=(6, 6))
    names = "abcdef"
    row = transfer.correlate_sets(cells_of({"one": values, "two": other}, names), 99).iloc[0]
    expected = spearmanr(rest[off], transfer.interaction(other)[off]).statistic
    assert row["correlation"] == pytest.approx(expected)


def test_equal_masks_and_few_cultures_are_not_compared():
    rng, names = np.random.default_rng(2), "abcdef"
    one, two = (np.tile(rng.normal(size=6), (6, 1)) for _ in range(2))
    row = transfer.correlate_sets(cells_of({"one": one, "two": two}, names), 99).iloc[0]
    assert np.isnan(row["correlation"])
    assert np.isnan(row["p_value"])
    few = cells_of({"one": one[:4, :4], "two": two[:4, :4]}, "abcd")
    assert list(transfer.correlate_sets(few).columns) == transfer.TRANSFER
    assert not len(transfer.correlate_sets(few))


@pytest.mark.parametrize(("cultures", "runs"), [(16, 20), slow(16, 100)])
def test_own_masks_that_do_as_the_others_are_seldom_specific(cultures, runs):
    """Every mask loses 1 % of all answers: p of specificity is below 0.05 in at most 6 % of runs."""
    hits, held = 0, 0
    names = [f"c{i:02}" for i in range(cultures)]
    n = cultures * 12
    ids = np.array([f"q{i:04}" for i in range(n)], dtype=object)
    truth = np.ones(n, dtype=bool)
    base = mask_effects.Baseline(ids, np.repeat(np.array(names, dtype=object), 12), ids, np.zeros(n, int),
                               np.zeros(n, int), truth, truth, np.zeros(n), np.full(n, 4))  # fmt: skip
    for run in range(runs):
        lost = np.random.default_rng(run).random((cultures, n)) < 0.01
        change = mask_effects.Changes(names, ~lost, lost & False, lost, lost, ~(lost & False), -1.0 * lost)
        sizes = dict.fromkeys(names, 5)
        one = transfer.mean_over_masks(base, change, sizes, transfer.effects(base, change, []))
        row = transfer.compare(base, {("cas", "0"): one}, {}, 399, run).iloc[0]
        hits += row["specificity_p"] < 0.05
        held += row["specificity_low"] <= 0 <= row["specificity_high"]
    assert binomtest(hits, runs, 0.05, alternative="greater").pvalue > 0.01
    assert binomtest(held, runs, 0.92, alternative="less").pvalue > 0.01
