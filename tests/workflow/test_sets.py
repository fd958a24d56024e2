"""Masks judged on further data sets, with neurons suppressed and enhanced; and mentions of cultures."""

import json

import pandas as pd
import pytest

from culture_neurons import planning
from tests.workflow.test_incremental import DRAWN
from tests.workflow.test_plan import amount_of_work

pytestmark = pytest.mark.workflow

COLUMNS = ("sample_id", "question", "options", "label")
#: One made here, with images and the run's cultures; one of texts and of a single group, in a file.
SETS = {
    "pictures": {"source": {"type": "synthetic", "cultures": 3, "samples_per_culture": 4, "seed": 5},
                 "filter": {"rename": {"Aldovia": "Old Aldovia"}}},
    "texts": {"source": {"type": "table", "path": "texts.jsonl", "columns": {name: name for name in COLUMNS}},
              "filter": {"group_by": "group"}},
}  # fmt: skip
SELECTORS = {
    "culnig-general": {"mlp_fraction": 0.1},
    "random-general": {"method": "random-matched", "match": "culnig-general", "seed": 1},
}
#: Rules of what is tested here.
NEW = {"prepare_set", "infer_set", "gather_set", "ablate_set", "gather_set_outcomes", "tabulate_sets",
       "prepare_mentions", "attribute", "mask_culnig", "mask_matched"}  # fmt: skip


def configured(project) -> dict:
    rows = [
        {"sample_id": f"t{i}", "question": f"Is {i} even ?", "options": ["yes", "no"], "label": i % 2, "group": "all"}
        for i in range(6)
    ]
    (project.folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = project.read()
    del config["models"]["trained"]
    config["selectors"] |= SELECTORS
    config["shards"] = {"ablate_selectors": 1}
    config["data"]["mentions"] = {
        "type": "country-mention", "countries": ["Aldovia", "Brenmark", "Costa Verena", "Eshkar"], "per_country": 2,
    }  # fmt: skip
    config["evaluation"] = {"sets": SETS, "selectors": ["cas", *SELECTORS]}
    project.write(config)
    return config


def test_masks_are_judged_on_further_data_sets(project):
    config = configured(project)
    planned = project.planned()
    assert planning.jobs(amount_of_work(project)) == project.planned("--forceall")
    assert {rule: n for rule, n in planned.items() if rule in NEW} == {
        "prepare_set": 2, "infer_set": 2, "gather_set": 2, "ablate_set": 3, "gather_set_outcomes": 9,
        "tabulate_sets": 1,
        "prepare_mentions": 1, "attribute": 3, "mask_culnig": 1, "mask_matched": 1,
    }  # fmt: skip
    project.run()
    assert project.planned() == {}

    # A random control has as many units of each site and layer, and one set where the other has one.
    masks = {
        name: pd.read_parquet(project.results("loaded", "masks", f"{name}_top0.05.parquet"))
        for name in ("culnig-general", "random-general")
    }
    sizes = [mask.groupby(["culture", "site", "layer"], observed=True).size() for mask in masks.values()]
    pd.testing.assert_series_equal(*sizes)
    assert len(masks["random-general"]) > 0

    # The run's own data among them; by factor 0 the same as in the main ablation.
    own = pd.read_parquet(project.results("loaded", "sets", "small", "cas_x0.parquet"))
    main = pd.read_parquet(project.results("loaded", "ablation", "cas_top0.05.parquet"))
    pd.testing.assert_frame_equal(own, main)
    twice = pd.read_parquet(project.results("loaded", "sets", "small", "cas_x2.parquet"))
    assert not own["logprobs"].apply(tuple).equals(twice["logprobs"].apply(tuple))

    pictures = pd.read_parquet(project.results("loaded", "sets", "pictures", "culnig-general_x2.parquet"))
    assert set(pictures["culture"]) == {"Old Aldovia", "Brenmark", "Costa Verena"}
    assert len(pictures) == 12 * pictures["mask_culture"].nunique()
    texts = pd.read_parquet(project.results("loaded", "sets", "texts", "predictions.parquet"))
    assert set(texts["culture"]) == {"all"}
    assert set(texts["split"]) == {"evaluate"}

    # Tables, figures and the report: each data set in the order of the config.
    table = pd.read_csv(project.results("tables", "sets.csv"))
    assert list(dict.fromkeys(table["set"])) == ["small", "pictures", "texts"]
    assert len(table) == 3 * 3 * 2
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
    assert {"sets_loaded", "related_loaded_cas", "modules_loaded_culnig-general"} <= stems
    assert "related_loaded_culnig-general" not in stems
    assert "On other benchmarks" in project.results("report.html").read_text(encoding="utf-8")

    assert r"\times 0" in project.results("tables", "sets.tex").read_text(encoding="utf-8")

    # Another set is a branch of its own.
    config["evaluation"]["sets"] = {
        **SETS,
        "more": {**SETS["texts"], "filter": {"group_by": "group", "min_samples": 2}},
    }
    project.write(config)
    again = project.planned()
    assert {rule: n for rule, n in again.items() if rule not in DRAWN} == {
        "prepare_set": 1, "infer_set": 1, "gather_set": 1, "ablate_set": 1, "gather_set_outcomes": 3,
        "tabulate_sets": 1, "latex": 1,
    }  # fmt: skip
