import numpy as np
import pandas as pd
import pytest

from culture_neurons.analysis import finetuning, intervals, p_values
from culture_neurons.analysis.mask_effects import LOGPROB_FLOOR, baseline
from culture_neurons.errors import FileError

CULTURES = {"Å": 7, "b": 5, "c": 9}


def questions(seed=0):
    """samples, and answers before."""
    rng = np.random.default_rng(seed)
    culture = [name for name, n in CULTURES.items() for _ in range(n)]
    ids = [f"q{i:02}" for i in range(len(culture))]
    label = rng.integers(3, size=len(ids))
    samples = pd.DataFrame({"sample_id": ids, "culture": culture, "split": "evaluate", "label": label,
                            "image_id": [f"i{i // 2}" if i % 3 else "" for i in range(len(ids))]})  # fmt: skip
    return samples, answers(samples, rng)


def answers(samples, rng, right=0.6):
    label = samples["label"].to_numpy()
    prediction = np.where(rng.random(len(label)) < right, label, (label + 1) % 3)
    return pd.DataFrame({
        "sample_id": samples["sample_id"], "culture": samples["culture"], "split": "evaluate",
        "prediction": prediction, "correct": prediction == label, "well_formed": rng.random(len(label)) < 0.9,
        "logprobs": [np.log(rng.dirichlet(np.ones(3))).astype(np.float32) for _ in label],
    })  # fmt: skip


RUNS = [(choice, seed) for choice in ("richest", "poorest", "random") for seed in ("1", "2")]


@pytest.fixture(scope="module")
def made():
    samples, before = questions()
    rng = np.random.default_rng(1)
    after = {run: answers(samples, rng, 0.4).sample(frac=1, random_state=3) for run in RUNS}
    base = baseline(samples, before, "before")
    table = finetuning.compare(base, after, {run: "/".join(run) for run in RUNS}, "before", 300, 4)
    return samples, before, after, table


def naive(samples, before, after, culture):
    """Question by question, in the order of ids: changes in points and in nats."""
    label = dict(zip(samples["sample_id"], samples["label"], strict=True))
    old = {row.sample_id: row for row in before.itertuples()}
    points, nats = {}, {}
    for row in after.itertuples():
        if culture in (row.culture, finetuning.ALL):
            was = old[row.sample_id]
            points[row.sample_id] = 100.0 * (int(row.correct) - int(was.correct))

            def own(values, at=label[row.sample_id]):
                values = np.asarray(values, float)
                return max(values[at] - np.log(np.exp(values).sum()), LOGPROB_FLOOR)

            nats[row.sample_id] = own(row.logprobs) - own(was.logprobs)
    return points, nats


def row_of(table, choice, seed, culture):
    (at,) = np.flatnonzero((table["choice"] == choice) & (table["seed"] == seed) & (table["culture"] == culture))
    return table.iloc[at]


@pytest.mark.parametrize("culture", [*CULTURES, finetuning.ALL])
def test_changes_equal_a_loop_over_questions(made, culture):
    samples, before, after, table = made
    for choice in ("richest", "poorest", "random"):
        each = [naive(samples, before, after[choice, seed], culture) for seed in ("1", "2")]
        mean = [{q: (a[q] + b[q]) / 2 for q in a} for a, b in zip(*each, strict=True)]
        against = [naive(samples, before, after["poorest", seed], culture) for seed in ("1", "2")]
        for seed, (points, nats) in zip(("1", "2", finetuning.ALL), [*each, mean], strict=True):
            row = row_of(table, choice, seed, culture)
            assert row["n"] == len(points)
            assert row["change"] == pytest.approx(np.mean(list(points.values())))
            assert row["logprob_change"] == pytest.approx(np.mean(list(nats.values())), rel=1e-6)
            assert row["accuracy_after"] - row["accuracy_before"] == pytest.approx(row["change"] / 100)
            if choice == "poorest":
                assert np.isnan(row["change_vs_poorest"])
            elif seed != finetuning.ALL:
                other = against[int(seed) - 1][0]
                expected = np.mean([points[q] - other[q] for q in points])
                assert row["change_vs_poorest"] == pytest.approx(expected)
            else:
                of_seeds = [row_of(table, choice, s, culture)["change_vs_poorest"] for s in ("1", "2")]
                assert row["change_vs_poorest"] == pytest.approx(np.mean(of_seeds))


def test_intervals_draw_questions_about_one_image_together(made):
    """Against a bootstrap and sign flips written out for one culture."""
    samples, before, after, table = made
    points, _ = naive(samples, before, after["richest", "1"], "c")
    other, _ = naive(samples, before, after["poorest", "1"], "c")
    of = samples[samples["culture"] == "c"].sort_values("sample_id")
    unit = [f"image {i}" if i else f"question {q}" for i, q in zip(of["image_id"], of["sample_id"], strict=True)]
    plan = p_values.design(np.full(len(unit), ""), np.array(unit, object))
    difference = np.array([[points[q], points[q] - other[q]] for q in of["sample_id"]])
    low, high = intervals.interval(plan, difference, [intervals.POINTS] * 2, 300, 4)
    row = row_of(table, "richest", "1", "c")
    assert row[["change_low", "change_high"]].tolist() == pytest.approx([low[0], high[0]])
    assert row[["change_vs_poorest_low", "change_vs_poorest_high"]].tolist() == pytest.approx([low[1], high[1]])
    null = p_values.sign_flips(plan, difference[:, 1:], 300, 4)
    p = p_values.two_sided(difference[:, 1:].mean(axis=0), null)
    assert row["change_vs_poorest_p"] == pytest.approx(p[0])


def test_a_run_without_the_poorest_has_nothing_to_be_held_against():
    samples, before = questions()
    after = {("richest", "1"): answers(samples, np.random.default_rng(2))}
    table = finetuning.compare(baseline(samples, before, "b"), after, {("richest", "1"): "r"}, "b", 50, 0)
    assert table["change_vs_poorest"].isna().all()
    assert table["change_vs_poorest_p"].isna().all()
    one, mean = (table[table["seed"] == seed].drop(columns="seed").reset_index(drop=True) for seed in ("1", ""))
    pd.testing.assert_frame_equal(one, mean)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_questions(n):
    """None, one image, two images: means are there as soon as one question is, what speaks of others from two on."""
    samples, before = questions()
    samples, before = samples[:n].assign(image_id=""), before[:n]
    runs = [("richest", "1"), ("poorest", "1")]
    after = {run: answers(samples, np.random.default_rng(i)) for i, run in enumerate(runs)}
    base = baseline(samples, before, "b")
    table = finetuning.compare(base, after, {run: "r" for run in runs}, "b", 50, 0)
    assert list(table.columns) == finetuning.COLUMNS
    table = table[(table["culture"] == finetuning.ALL) & (table["choice"] == "richest")]
    assert table["seed"].tolist() == ["1", finetuning.ALL]
    assert (table["n"] == n).all()
    means = ["accuracy_before", "accuracy_after", "change", "logprob_change", "change_vs_poorest", "well_formed_rate"]
    assert table[means].notna().all(axis=None) == (n > 0)
    sure = [c for c in finetuning.COLUMNS if c.endswith(("_low", "_high", "_p"))]
    assert table[sure].isna().all(axis=None) == (n < 2)


def test_other_questions_are_refused():
    samples, before = questions()
    after = {("richest", "1"): answers(samples, np.random.default_rng(2))[1:]}
    with pytest.raises(FileError, match="r and b do not hold the same questions"):
        finetuning.compare(baseline(samples, before, "b"), after, {("richest", "1"): "r"}, "b", 50, 0)


def test_values_of_p_are_adjusted_in_families(made):
    table = pd.concat([made[3].assign(planted=planted) for planted in ("no", "yes")], ignore_index=True)
    found = finetuning.adjust(table)
    assert found["change_vs_poorest_p_adjusted"].isna().equals(found["change_vs_poorest_p"].isna())
    for planted in ("no", "yes"):
        for every in (True, False):
            for mean in (True, False):
                mine = (table["planted"] == planted) & ((table["culture"] == "") == every)
                mine &= (table["seed"] == "") == mean
                for measure in finetuning.MEASURES:
                    p = table.loc[mine, f"{measure}_vs_poorest_p"].to_numpy(float)
                    expected = p_values.benjamini_hochberg(p)
                    np.testing.assert_allclose(found.loc[mine, f"{measure}_vs_poorest_p_adjusted"], expected)
