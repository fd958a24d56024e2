"""Masks chosen on further data sets: one with the questions of the run's own identify half, one of other cultures."""

import json

import pandas as pd
import pytest

from culture_neurons import files
from tests.pipeline.test_incremental import DRAWN

pytestmark = pytest.mark.workflow


def test_the_same_questions_choose_the_same_neurons(wide_finished):
    results = wide_finished.results
    own, again = (files.read_table(results(*of, "samples.parquet"))[0] for of in ((), ("choose", "again")))
    identify = own[own["split"] == "identify"]
    assert set(own["split"]) == {"identify", "evaluate"}
    assert set(again["split"]) == {"identify"}
    assert again["sample_id"].tolist() == identify["sample_id"].tolist()
    for fraction in ("0.05", "0.2"):
        (mask, about), (same, about_same) = (
            files.read_table(results("loaded", "masks", f"{name}_top{fraction}.parquet"))
            for name in ("cas", "cas-again")
        )
        assert len(mask) > 0
        pd.testing.assert_frame_equal(mask, same)
        assert (about.get("chosen_on"), about_same["chosen_on"]) == (None, "again")
        assert about_same["cultures"] == about["cultures"]
    answers = [results("loaded", "ablation", f"{name}_top0.05.parquet") for name in ("cas", "cas-again")]
    pd.testing.assert_frame_equal(*(files.read_table(path)[0] for path in answers))


def test_cultures_of_a_data_set_that_chooses_have_masks_of_their_own_on_all_data(wide_finished):
    results = wide_finished.results
    names = ["Brenmark", "Old Aldovia"]
    mask, about = files.read_table(results("loaded", "masks", "cas-part_top0.05.parquet"))
    assert about["cultures"] == sorted(set(mask["culture"])) == names
    control, about = files.read_table(results("loaded", "masks", "random-part_top0.05.parquet"))
    assert (about["cultures"], about["chosen_on"]) == (names, "part")
    sizes = [one.groupby(["culture", "layer"], observed=True).size() for one in (mask, control)]
    pd.testing.assert_series_equal(*sizes)

    effects = pd.read_csv(results("tables", "effects.csv")).query("selector == 'cas-part'")
    assert set(effects["mask_culture"]) == set(names)
    assert set(effects["eval_culture"]) == {"Aldovia", "Brenmark", "Costa Verena"}
    summary = pd.read_csv(results("tables", "summary.csv")).set_index(["selector", "top_fraction"])
    n_cultures = summary.loc[["cas", "cas-again", "cas-part"], "n_cultures"].unstack()
    assert n_cultures.to_numpy().tolist() == [[3, 3], [3, 3], [1, 1]]
    evidence = pd.read_csv(results("tables", "evidence.csv")).query("selector == 'cas-part'")
    assert (evidence["n_controls"] >= 1).all()
    # What has no questions in the run has some in another data set.
    sets = pd.read_csv(results("tables", "sets.csv")).query("selector == 'cas-part' and factor == 0").set_index("set")
    assert sets["n_masks"].to_dict() == {"small": 2, "pictures": 2, "texts": 2}
    questions = files.read_table(results("sets", "pictures", "samples.parquet"))[0]
    assert sets.loc["pictures", "n_own"] == questions["culture"].isin(names).sum() > 0


def test_masks_chosen_on_different_data_are_compared_and_named(wide_finished):
    results = wide_finished.results
    table = pd.read_csv(results("tables", "data_overlaps.csv"))
    pairs = table[["a", "b", "chosen_on_a", "chosen_on_b"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [["cas", "cas-again", "small", "again"], ["cas", "cas-part", "small", "part"],
                     ["cas-again", "cas-part", "again", "part"]]  # fmt: skip
    same = table[(table["b"] == "cas-again") & table["layer"].isna()]
    assert (same["overlap"] == 1).all()
    assert same["expected"].between(0, 0.5, inclusive="neither").all()
    other = table[table["b"] == "cas-part"]
    assert set(other.loc[other["a"] == "cas", "culture"]) == {"Brenmark"}
    assert other["layer"].dropna().unique().tolist() == [0, 1]
    page = results("report.html").read_text(encoding="utf-8")
    assert "cas-part (chosen on part)" in page
    assert "cas (chosen on" not in page.lower()
    cards = json.loads(results("loaded", "cards.json").read_text(encoding="utf-8"))
    assert cards["selector"] == "cas"
    assert {name for card in cards["cards"] for name in card["ranks"]} == {"cas"}


def test_another_data_set_that_chooses_is_a_branch_of_its_own(wide):
    config = wide.read()
    config["data"]["choose"]["more"] = config["data"]["choose"]["part"]
    config["selectors"]["lap"] = {"choose_on": "more"}
    config["figures"]["selectors"] = ["cas"]
    wide.write(config)
    jobs = wide.planned()
    assert jobs["prepare"] == jobs["infer"] == jobs["record"] == jobs["merge"] == jobs["select"] == 1
    assert jobs["tabulate_overlaps"] == 1
    assert not {"tabulate_sets", "stability", "cards", "finetune"} & set(jobs) - set(DRAWN)
