"""Masks judged on further data sets, with neurons suppressed and enhanced; and mentions of cultures."""

import pandas as pd
import pytest

from tests.pipeline.conftest import TEXTS
from tests.pipeline.test_incremental import DRAWN

pytestmark = pytest.mark.workflow

#: Files of outcomes: 9 selectors' masks of 2 sizes, and 4 selectors' masks at 2 factors on 3 data sets.
GATHERED = 9 * 2 + 4 * 2 * 3
#: Rules of what the small project leaves out.
NEW = {
    "gather_outcomes": GATHERED, "tabulate_sets": 1, "attribute": 3, "select_units": 3, "import_masks": 1,
    "infer_image_controls": 2, "finetune": 2, "infer_finetuned": 2, "tabulate_changed_answers": 1,
}  # fmt: skip
#: The same rules for the run's own questions, for two data sets that choose neurons, two further sets, mentions and a
#: task.
SHARED = {
    "prepare": 1 + 2 + 2 + 1 + 1, "infer": 1 + 2 + 2, "gather_answers": 1 + 2 + 2, "record": 1 + 2, "merge": 1 + 2,
    "select": 5, "ablate": 1 + 3,
}  # fmt: skip


def test_jobs_are_those_of_the_config(wide):
    assert wide.planned() == {}
    jobs = wide.planned("--forceall")
    assert (NEW | SHARED).items() <= jobs.items()


def test_masks_are_judged_on_further_data_sets(wide_finished):
    project = wide_finished
    # A random control has as many units of each site and layer, and one set where the other has one.
    masks = {
        name: pd.read_parquet(project.results("loaded", "masks", f"{name}_top0.05.parquet"))
        for name in ("culnig-general", "random-general")
    }
    sizes = [mask.groupby(["culture", "site", "layer"], observed=True).size() for mask in masks.values()]
    pd.testing.assert_series_equal(*sizes)
    assert len(masks["random-general"]) > 0

    # The run's own data among them; by factor 0 the same as in the main ablation.
    own = pd.read_parquet(project.results("loaded", "sets", "small", "ablation", "cas_x0.parquet"))
    main = pd.read_parquet(project.results("loaded", "ablation", "cas_top0.05.parquet"))
    pd.testing.assert_frame_equal(own, main)
    twice = pd.read_parquet(project.results("loaded", "sets", "small", "ablation", "cas_x2.parquet"))
    assert not own["logprobs"].apply(tuple).equals(twice["logprobs"].apply(tuple))

    pictures = pd.read_parquet(project.results("loaded", "sets", "pictures", "ablation", "culnig-general_x2.parquet"))
    assert set(pictures["culture"]) == {"Old Aldovia", "Brenmark", "Costa Verena"}
    assert len(pictures) == 12 * pictures["mask_culture"].nunique()
    texts = pd.read_parquet(project.results("loaded", "sets", "texts", "predictions.parquet"))
    assert set(texts["culture"]) == {"all"}
    assert set(texts["split"]) == {"evaluate"}

    # Tables, figures and the report: each data set in the order of the config.
    table = pd.read_csv(project.results("tables", "sets.csv"))
    assert list(dict.fromkeys(table["set"])) == ["small", "pictures", "texts"]
    assert len(table) == 3 * 4 * 2
    mine = table.query("set == 'small' and selector == 'cas' and factor == 0").iloc[0]
    outcomes = main.merge(pd.read_parquet(project.results("loaded", "predictions.parquet")), on="sample_id")
    assert mine["masked_accuracy"] == pytest.approx(main["correct"].mean())
    changes = outcomes["correct_x"].astype(int) - outcomes["correct_y"].astype(int)
    assert mine["change"] == pytest.approx(100 * changes.mean())
    assert set(table[table["set"] == "texts"]["n_own"]) == {0}
    general = table[table["selector"] == "culnig-general"]
    assert set(general["n_controls"]) == {1}
    assert general["difference"].notna().all()
    assert set(general["shared"]) == {"yes"}
    stems = {path.stem for path in project.results("figures").glob("*.pdf")}
    assert {"sets_loaded", "related_loaded_cas", "layers_loaded"} <= stems
    assert "related_loaded_culnig-general" not in stems
    assert "On other benchmarks" in project.results("report.html").read_text(encoding="utf-8")

    assert r"\times 0" in project.results("tables", "sets.tex").read_text(encoding="utf-8")


def test_image_controls_ask_the_data_sets_that_have_images(wide_finished):
    project = wide_finished
    table = pd.read_csv(project.results("tables", "images.csv"))
    assert list(dict.fromkeys(table["set"])) == ["small", "pictures"]
    every = table[table["culture"].isna()].set_index(["set", "control"])
    assert list(every.index) == [(s, c) for s in ("small", "pictures") for c in ("shown", "none", "swapped")]
    for name, of in (("small", ""), ("pictures", "sets/pictures/")):
        swapped = pd.read_parquet(project.results("loaded", *of.split("/"), "controls", "swapped.parquet"))
        assert (swapped["shown_culture"] != swapped["culture"]).all()
        assert set(swapped["shown_culture"]) == set(table.loc[table["set"] == name, "culture"].dropna())
        assert every.loc[(name, "swapped"), "n"] == len(swapped) > 0
        accuracy = swapped.groupby("culture")["correct"].mean().mean()
        assert every.loc[(name, "swapped"), "accuracy"] == pytest.approx(accuracy)
    assert table["followed"].isna().all()  # nobody knows whose the options of this world are
    assert not project.results("loaded", "sets", "texts", "controls").exists()
    page = project.results("report.html").read_text(encoding="utf-8")
    assert "does it need the image on pictures" in page
    assert "with the image of another culture" in page


def test_another_set_with_images_is_asked_under_controls(wide):
    config = wide.read()
    config["evaluation"]["sets"]["more"] = {"source": config["evaluation"]["sets"]["pictures"]["source"] | {"seed": 6}}
    wide.write(config)
    jobs = wide.planned()
    assert (jobs["infer_image_controls"], jobs["tabulate_changed_answers"]) == (1, 1)


def test_another_set_is_a_branch_of_its_own(wide):
    config = wide.read()
    config["evaluation"]["sets"]["more"] = {**TEXTS, "filter": {"group_by": "group", "min_samples": 2}}
    wide.write(config)
    # It is asked of the trained models too, and none is trained again.
    assert {rule: n for rule, n in wide.planned().items() if rule not in DRAWN} == {
        "prepare": 1, "infer": 1, "gather_answers": 1, "ablate": 1, "gather_outcomes": 8,
        "tabulate_sets": 1, "infer_finetuned": 2, "tabulate_changed_answers": 1,
    }  # fmt: skip
