from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from culture_neurons.analysis import mask_effects, paired_changes, significance, verdicts
from culture_neurons.analysis.mask_effects import Baseline, Changes
from culture_neurons.analysis.random_controls import available_controls, controls_for, is_same_size
from tests.conftest import slow


def row(difference, p, least=0.001, p_questions=0.5, detectable=5.0):
    return pd.Series({"difference": difference, "p_adjusted": p, "p_value": p, "least": least, "measure": "accuracy",
                      "p_questions": p_questions, "detectable": detectable})  # fmt: skip


@pytest.mark.parametrize(
    ("random", "cross", "expected"),
    [
        (row(-5, 0.01), row(-5, 0.01), significance.SPECIFIC),
        (row(-5, 0.01), row(-5, 0.2), significance.UNSPECIFIC),
        (row(-5, 0.01), row(5, 0.01, p_questions=0.01, detectable=10.1), significance.UNSPECIFIC),
        (row(-5, 0.01), row(-5, 0.2, p_questions=0.01), significance.UNRESOLVED),
        (row(-5, 0.01), row(5, 0.2, p_questions=0.01), significance.UNRESOLVED),
        (row(-5, 0.01), row(-5, 0.2, detectable=10.1), significance.UNRESOLVED),
        (row(-5, 0.01), row(-5, 0.2, detectable=np.nan), significance.UNRESOLVED),
        (row(-5, 0.01), row(-5, 0.01, p_questions=0.01, detectable=10.1), significance.SPECIFIC),
        (row(-5, 0.05), row(-5, 0.01), significance.NOTHING),
        (row(5, 0.01), row(-5, 0.01), significance.LESS),
        (row(5, 0.05), row(-5, 0.01), significance.NOTHING),
        (row(-5, 0.05, p_questions=0.01), row(-5, 0.01), significance.INCONCLUSIVE),
        (row(-5, 0.05, detectable=10.1), row(-5, 0.01), significance.INCONCLUSIVE),
        (row(-5, 0.05, detectable=np.nan), row(-5, 0.01), significance.INCONCLUSIVE),
        (row(-5, 0.05, least=0.2, p_questions=0.01), row(-5, 0.01), significance.TOO_FEW),
        (row(0, 0.01), row(-5, 0.01), significance.NOTHING),
        (row(-5, 0.01), row(0, 0.01), significance.UNSPECIFIC),
        (row(-5, 0.2, least=0.2), row(-5, 0.01), significance.TOO_FEW),
        (row(-5, 0.01), row(-5, 0.3, least=0.3), significance.TOO_FEW),
        (row(-5, 0.01), row(np.nan, np.nan, least=1.0), significance.TOO_FEW),
        (row(-5, 0.01), row(np.nan, np.nan, least=0.0), significance.UNSPECIFIC),
        (row(np.nan, np.nan), row(-5, 0.01), significance.UNTESTED),
    ],
)
def test_verdict(random, cross, expected):
    assert verdicts.decide_verdict(random, cross) == expected


def test_controls_for():
    controls = {"random": "", "m2": "cas", "m1": "cas", "m3": "mad"}
    assert controls_for("cas", controls) == ["m1", "m2"]
    assert controls_for("mad", controls) == ["m3"]
    assert controls_for("lap", controls) == ["m1", "m2", "m3"]
    assert controls_for("lap", {"random": "", "again": ""}) == ["again", "random"]
    assert controls_for("lap", {}) == []


def test_masks_are_held_against_random_ones_of_the_same_place_only():
    names, base = world(3, 5)
    made = {"cas": "act_fn", "culnig": "gate_proj", "general": "gate_proj", "m1": "act_fn", "c1": "gate_proj"}
    some = change(np.random.default_rng(0), names, base)
    paired = {(name, "0.01"): paired_changes.pair(base, some, location=place) for name, place in made.items()}
    places = {key: part.location for key, part in paired.items()}
    controls = {"m1": "cas", "c1": "culnig", "gone": "cas"}
    found = {name: available_controls(places, (name, "0.01"), controls) for name in ("cas", "culnig", "general")}
    assert found == {"cas": [("m1", "0.01")], "culnig": [("c1", "0.01")], "general": [("c1", "0.01")]}
    assert available_controls(places, ("culnig", "0.01"), {"m1": "cas"}) == []


def world(cultures, questions):
    names = [f"c{i}" for i in range(cultures)]
    n = cultures * questions
    ids = np.array([f"q{i:04d}" for i in range(n)], dtype=object)
    truth = np.ones(n, dtype=bool)
    base = Baseline(ids, np.repeat(np.array(names, dtype=object), questions), ids, np.zeros(n, int), np.zeros(n, int),
                    truth, truth, np.zeros(n), np.full(n, 4))  # fmt: skip
    return names, base


def change(rng, names, base, harm=0.05, own=0.0):
    """Every mask loses some answers, each mask at a rate of its own; its culture's answers more often by `own`."""
    rate = rng.exponential(harm, (len(names), 1)) + own * (np.array(names)[:, None] == base.culture)
    lost = rng.random((len(names), len(base.sample_id))) < rate
    return Changes(names, ~lost, np.zeros_like(lost), lost, lost, ~np.zeros_like(lost),
                   rng.normal(-5 * rate, 0.05))  # fmt: skip


def test_pair_by_hand():
    names, base = world(3, 2)
    changes = change(np.random.default_rng(0), names, base)
    paired = paired_changes.pair(base, changes)
    assert paired.cultures == names
    for q in range(6):
        own = q // 2
        assert paired.own["logprob"][q] == changes.logprob[own, q]
        others = [changes.logprob[m, q] for m in range(3) if m != own]
        assert paired.cross["logprob"][q] == pytest.approx(np.mean(others))
        assert paired.own["accuracy"][q] == -100 * changes.lost[own, q]
    assert paired.matrix["logprob"][2, 1] == pytest.approx(changes.logprob[2, 2:4].mean())


def test_pair_leaves_out_cultures_without_a_mask():
    names, base = world(3, 2)
    whole = change(np.random.default_rng(0), names, base)
    fewer = Changes(names[1:], *(getattr(whole, f)[1:] for f in ("correct", "gained", "lost", "flipped", "well_formed",
                                                                  "logprob")))  # fmt: skip
    paired = paired_changes.pair(base, fewer)
    assert paired.cultures == names[1:]
    np.testing.assert_array_equal(paired.matrix["logprob"], paired_changes.pair(base, whole).matrix["logprob"][1:, 1:])


def test_the_summary_is_over_the_same_questions():
    # c0 has no mask, and c3 no questions: neither counts, in self or in cross.
    names, whole = world(4, 5)
    asked = whole.culture != "c3"
    base = Baseline(*(getattr(whole, f.name)[asked] for f in fields(Baseline)))
    changes = change(np.random.default_rng(0), names[1:], base, harm=0.3, own=0.2)
    paired = paired_changes.pair(base, changes)
    assert paired.cultures == ["c1", "c2"]
    result = mask_effects.summary(mask_effects.effects(base, changes, names))

    def macro(values):
        return pytest.approx(values.reshape(2, 5).mean(axis=1).mean())

    assert result["self_drop"] == macro(paired.own["accuracy"])
    assert result["cross_drop"] == macro(paired.cross["accuracy"])
    assert result["cross_logprob_drop"] == macro(paired.cross["logprob"])
    assert result["specificity"] == macro(paired.own["accuracy"] - paired.cross["accuracy"])
    own, other = [0] * 5 + [1] * 5, [1] * 5 + [0] * 5  # rows of the masks c1 and c2, for the questions of c1 and c2
    for name in ("flipped", "well_formed"):
        column = {"flipped": "flip_rate", "well_formed": "well_formed_rate"}[name]
        assert result[f"self_{column}"] == macro(getattr(changes, name)[own, np.arange(5, 15)])
        assert result[f"cross_{column}"] == macro(getattr(changes, name)[other, np.arange(5, 15)])


CONTROLS = {"r1": "cas", "r2": "cas", "r3": "cas"}


def compare(seed, cultures=8, questions=30, selectors=None, controls=CONTROLS, replicates=200):
    rng = np.random.default_rng(seed)
    names, base = world(cultures, questions)
    selectors = {"cas": {}} if selectors is None else selectors
    made = {**{name: {} for name in controls}, **selectors}
    paired = {(s, "0.01"): paired_changes.pair(base, change(rng, names, base, **how)) for s, how in made.items()}
    return verdicts.compare(base, paired, controls, replicates)


def by_mask(table):
    return dict(zip(table["selector"] + " " + table["measure"], table["verdict"], strict=True))


def test_verdicts_of_three_kinds_of_masks():
    table, *_ = compare(0, selectors={"own": {"own": 0.5}, "all": {"harm": 0.5}, "none": {}})
    found = by_mask(table)
    assert {k.split()[0]: v for k, v in found.items() if "none" not in k} == {
        "own": significance.SPECIFIC, "all": significance.UNSPECIFIC,
    }  # fmt: skip
    # Masks that differ much among each other leave losses of 10 points open.
    assert {v for k, v in found.items() if "none" in k} <= {significance.NOTHING, significance.INCONCLUSIVE}
    assert set(table["selector"]) == {"own", "all", "none"}  # controls get no verdict
    assert (table["p_value"] == table[["p_questions", "p_masks"]].max(axis=1)).all()
    assert (table["p_adjusted"] >= table["p_value"]).all()


@pytest.mark.parametrize("runs", [16, slow(80)])
def test_masks_that_differ_among_each_other_are_no_evidence(runs):
    # Every mask has a rate of its own, so with enough questions any two differ: p_questions alone is too small.
    tables = [compare(seed, questions=40, controls={"r1": "cas", "r2": "cas"})[0] for seed in range(runs)]
    random = pd.concat([t[t["comparison"] == "self-vs-random"] for t in tables])
    assert (random["p_questions"] < 0.05).mean() > 0.2
    assert (random["p_value"] < 0.05).mean() < 0.08
    specific = np.mean([t["verdict"].eq(significance.SPECIFIC).any() for t in tables])
    assert specific < 0.05


@pytest.mark.parametrize(("questions", "runs"), [(10, 24), slow(10, 100), slow(20, 100), slow(30, 100)])
def test_specific_damage_is_seldom_called_unspecific(questions, runs):
    # Masks that harm every culture, and their own by what a design must be able to find: with few questions that is not
    # shown, which is not to say that it is not there.
    masks = {"own": {"own": significance.LARGE["accuracy"] / 100, "harm": 0.4}, "all": {"harm": 0.5}}
    tables = [
        compare(seed, cultures=6, questions=questions, controls={"r1": "", "r2": ""}, selectors=masks)[0]
        for seed in range(runs)
    ]
    found = pd.concat([t[(t["measure"] == "accuracy") & (t["comparison"] == "self-vs-cross")] for t in tables])
    shares = found.groupby("selector")["verdict"].value_counts(normalize=True).unstack(fill_value=0.0)
    decided = [significance.SPECIFIC, significance.UNSPECIFIC, significance.UNRESOLVED]
    shares = shares.reindex(columns=decided, fill_value=0.0)
    assert shares.loc["own", significance.UNSPECIFIC] <= 0.2
    assert shares.loc["all", significance.SPECIFIC] <= 0.1
    if questions == 10:
        assert shares.loc["own", significance.UNRESOLVED] > 0.25


def shared(rng, names, base, harm):
    """One mask under every culture's name."""
    one = change(rng, names[:1], base, harm=harm)
    return replace(one, masks=names, **{
        name: np.repeat(getattr(one, name), len(names), axis=0)
        for name in ("correct", "gained", "lost", "flipped", "well_formed", "logprob")
    })  # fmt: skip


def test_one_mask_of_all_cultures_is_one_draw_and_not_one_per_culture():
    rng = np.random.default_rng(0)
    names, base = world(8, 30)
    for controls, verdict in ((3, significance.TOO_FEW), (90, significance.UNSPECIFIC)):
        random = {f"r{i}": "one" for i in range(controls)}
        paired = {(name, "0.01"): paired_changes.pair(base, shared(rng, names, base, 0.01)) for name in random}
        paired["one", "0.01"] = paired_changes.pair(base, shared(rng, names, base, 0.6))
        assert paired["one", "0.01"].single_mask
        table, *_ = verdicts.compare(base, paired, random, 500)
        mine = table[table["comparison"] == "self-vs-random"]
        assert mine["p_masks"].tolist() == [pytest.approx(2 / (controls + 1))] * 2
        assert set(table["verdict"]) == {verdict}
        assert table.loc[table["comparison"] == "self-vs-cross", "p_value"].isna().all()
    assert not paired_changes.pair(base, change(rng, names, base)).single_mask


def test_one_random_mask_of_all_cultures_is_one_draw_too():
    rng = np.random.default_rng(1)
    names, base = world(8, 30)
    paired = {("r", "0.01"): paired_changes.pair(base, shared(rng, names, base, 0.3))}
    paired["mine", "0.01"] = paired_changes.pair(base, change(rng, names, base, own=0.4))
    table, *_ = verdicts.compare(base, paired, {"r": ""}, 200)
    assert (table.loc[table["comparison"] == "self-vs-random", "p_masks"] == 1).all()  # of two, either is as likely
    assert set(table["verdict"]) == {significance.TOO_FEW}


def test_what_cannot_be_significant_takes_nothing_from_the_others():
    rng = np.random.default_rng(0)
    names, base = world(8, 30)
    made = {name: paired_changes.pair(base, change(rng, names, base)) for name in CONTROLS}
    made["cas"] = paired_changes.pair(base, change(rng, names, base, own=0.1))
    alone, *_ = verdicts.compare(base, {(k, "0.01"): v for k, v in made.items()}, CONTROLS, 200)
    made["one"] = paired_changes.pair(base, shared(rng, names, base, 0.05))
    both, *_ = verdicts.compare(base, {(k, "0.01"): v for k, v in made.items()}, CONTROLS, 200)
    both = both[both["selector"] == "cas"].reset_index(drop=True)
    pd.testing.assert_series_equal(both["p_adjusted"], alone["p_adjusted"])


def test_few_cultures():
    table, *_ = compare(0, cultures=3, selectors={"cas": {"own": 0.9}}, controls={"r1": "cas"})
    assert set(table["verdict"]) == {significance.TOO_FEW}
    table, *_ = compare(0, cultures=1, selectors={"cas": {"own": 0.9}})
    assert set(table["verdict"]) == {significance.TOO_FEW}
    assert table.loc[table["comparison"] == "self-vs-cross", "difference"].isna().all()


def test_no_questions():
    table, averages, _ = compare(0, questions=0)
    assert set(table["verdict"]) == {significance.UNTESTED}
    assert (table["n"] == 0).all()
    assert averages.drop(columns=["selector", "top_fraction"]).isna().all(axis=None)


def test_differences_and_intervals_agree_with_the_averages():
    table, averages, _ = compare(1, selectors={"cas": {"own": 0.2}}, replicates=500)
    mine = averages[averages["selector"] == "cas"].iloc[0]
    logprob = table[(table["measure"] == "logprob") & (table["comparison"] == "self-vs-random")].iloc[0]
    middle = (mine["self_logprob_drop_low"] + mine["self_logprob_drop_high"]) / 2
    assert logprob["difference"] == pytest.approx(middle - mine["random_self_logprob_drop"], abs=0.05)
    assert logprob["ci_low"] < logprob["difference"] < logprob["ci_high"] < 0
    assert logprob["unit"] == "nats"
    assert logprob["n_controls"] == 3


def test_only_controls():
    table, averages, _ = compare(0, selectors={})
    assert len(table) == 0
    assert len(averages) == 3


@pytest.mark.parametrize(
    ("mask", "control", "same"),
    [(100, 100, True), (100, 91, True), (100, 89, False), (10, 102, False), (0, 0, True), (np.nan, 10, True)],
)
def test_controls_of_another_size_are_not_used(mask, control, same):
    assert is_same_size(mask, control) == same
    rng = np.random.default_rng(3)
    names, base = world(8, 20)
    made = {**{name: {} for name in CONTROLS}, "cas": {"own": 0.6}}
    sizes = {s: dict.fromkeys(names, control if s in CONTROLS else mask) for s in made}
    paired = {
        (s, "0.01"): paired_changes.pair(base, change(rng, names, base, **how), sizes[s]) for s, how in made.items()
    }
    table, averages, _ = verdicts.compare(base, paired, CONTROLS, 200)
    assert (significance.UNTESTED not in set(table["verdict"])) == same
    assert (table["n_controls"] == (3 if same else 0)).all()
    assert averages.set_index("selector")["random_self_drop"].notna()["cas"] == same


def test_masks_of_fewer_cultures_are_held_against_the_random_masks_of_these_alone():
    rng = np.random.default_rng(5)
    names, base = world(8, 20)
    some = names[1:7]
    whole = {s: change(rng, names, base, own=own) for s, own in (("cas", 0.6), ("theirs", 0.6), ("r1", 0.0))}
    sizes = {"cas": dict.fromkeys(names, 5), "theirs": dict.fromkeys(some, 9),
             "r1": dict.fromkeys(names, 5), "r2": dict.fromkeys(names, 0) | dict.fromkeys(some, 9)}  # fmt: skip
    whole["r2"] = whole["r1"]
    rows = [names.index(name) for name in some]
    fields = ("correct", "gained", "lost", "flipped", "well_formed", "logprob")
    theirs = Changes(some, *(getattr(whole["theirs"], f)[rows] for f in fields))
    controls = {"r1": "cas", "r2": "theirs"}

    def paired(*selectors):
        made = {s: theirs if s == "theirs" else whole[s] for s in selectors}
        return {(s, "0.01"): paired_changes.pair(base, changes, sizes[s]) for s, changes in made.items()}

    both, averages, _ = verdicts.compare(base, paired("cas", "r1", "r2", "theirs"), controls, 200)
    alone, *_ = verdicts.compare(base, paired("cas", "r1"), controls, 200)
    assert list(averages["selector"]) == ["cas", "r1", "r2", "theirs"]
    columns = ["difference", "ci_low", "ci_high", "p_questions", "p_masks", "n", "n_cultures", "n_controls"]
    pd.testing.assert_frame_equal(both[both["selector"] == "cas"][columns], alone[columns])
    found = both[(both["selector"] == "theirs") & (both["measure"] == "logprob")].set_index("comparison")
    assert (found["n_cultures"] == 6).all()
    assert (found["n"] == 6 * 20).all()
    # Of the right size for these cultures, though not on average of all.
    assert (found["n_controls"] == 1).all()
    mean = {
        s: np.mean([whole[s].logprob[names.index(c), base.culture == c].mean() for c in some])
        for s in ("theirs", "r1")
    }  # fmt: skip
    assert found.loc["self-vs-random", "difference"] == pytest.approx(mean["theirs"] - mean["r1"])
    assert (found["verdict"] == significance.SPECIFIC).all()


@pytest.mark.parametrize("runs", [15, slow(50)])
def test_luck_of_the_questions_is_not_taken_for_an_effect_where_answers_change_seldom(runs):
    """All masks, random ones too, lose 1 % of the answers: neither comparison finds luck of the questions excluded."""
    names, base = world(8, 24)
    hits = dict.fromkeys(verdicts.COMPARISONS, 0)
    for run in range(runs):
        rng = np.random.default_rng(run)
        paired = {}
        for name in ("cas", *CONTROLS):
            lost = rng.random((8, len(base.sample_id))) < 0.01
            none = np.zeros_like(lost)
            paired[name, "0.01"] = paired_changes.pair(
                base, Changes(names, ~lost, none, lost, lost, ~none, -1.0 * lost)
            )
        table, *_ = verdicts.compare(base, paired, CONTROLS, 299, run)
        table = table[table["measure"] == "accuracy"].set_index("comparison")
        for comparison in verdicts.COMPARISONS:
            hits[comparison] += table.loc[comparison, "p_questions"] < 0.05
    for comparison, n in hits.items():
        assert binomtest(n, runs, 0.06, alternative="greater").pvalue > 0.01, (comparison, n)
