"""A few modules trained on another task, and every data set asked again."""

import json

import pandas as pd
import pytest

from culture_neurons import planning
from tests.workflow.test_incremental import DRAWN
from tests.workflow.test_plan import amount_of_work

pytestmark = pytest.mark.workflow

COLUMNS = ("sample_id", "question", "options", "label")
TEXTS = {"source": {"type": "table", "path": "texts.jsonl", "columns": {name: name for name in COLUMNS}},
         "filter": {"group_by": "group"}}  # fmt: skip
TUNING = {
    "tasks": {"numbers": {"source": TEXTS["source"] | {"columns": {**TEXTS["source"]["columns"], "culture": "group"}},
                          "limit": 10}},
    "selector": "mine", "modules": 2, "choices": ["richest", "poorest"], "seeds": [1], "steps": 2, "batch_size": 4,
    "learning_rate": 0.1,
}  # fmt: skip
#: Rules of what is tested here.
NEW = {"prepare_task", "finetune", "ask_finetuned", "tabulate_finetuning"}


def configured(project) -> dict:
    rows = [
        {"sample_id": f"t{i}", "question": f"Is {i} even ?", "options": ["yes", "no"], "label": i % 2, "group": "all"}
        for i in range(12)
    ]
    (project.folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = project.read()
    del config["models"]["trained"]
    options = {"mlp_fraction": 0.1, "attention_fraction": 0.1}
    config["selectors"]["mine"] = {"method": "culnig-general", **options}
    config["evaluation"] = {"sets": {"texts": TEXTS}, "selectors": ["cas"], "factors": [0]}
    config["finetuning"] = TUNING
    config["shards"] = {"ablate_selectors": 1}
    project.write(config)
    return config


def test_modules_are_trained_and_every_data_set_is_asked_again(project):
    config = configured(project)
    planned = project.planned()
    assert planning.jobs(amount_of_work(project)) == project.planned("--forceall")
    assert {rule: n for rule, n in planned.items() if rule in NEW} == {
        "prepare_task": 1, "finetune": 2, "ask_finetuned": 2, "tabulate_finetuning": 1,
    }  # fmt: skip
    project.run()
    assert project.planned() == {}

    table = pd.read_csv(project.results("tables", "finetuning.csv"), dtype={"seed": str}).fillna({"culture": ""})
    assert set(table["set"]) == {"small", "texts"}
    whole = table[(table["culture"] == "") & table["seed"].isna()].set_index(["set", "choice"])
    assert whole.loc["texts", "n"].tolist() == [12, 12]
    before = pd.read_parquet(project.results("loaded", "sets", "texts", "predictions.parquet"))
    assert whole.loc[("texts", "richest"), "accuracy_before"] == pytest.approx(before["correct"].mean())
    assert (whole["logprob_change"].abs() > 1e-4).all()
    assert set(table["task_n"]) == {2}
    modules = pd.read_csv(project.results("tables", "finetuning_modules.csv"))
    by_choice = modules.groupby("choice")
    assert by_choice["site"].apply(sorted).iloc[0] == by_choice["site"].apply(sorted).iloc[1]
    assert (by_choice["chosen"].sum()["richest"]) > by_choice["chosen"].sum()["poorest"]
    assert project.results("figures", "finetuning_loaded.png").is_file()
    assert "After training on another task" in project.results("report.html").read_text(encoding="utf-8")

    # Another set is asked without training again; another learning rate trains again.
    config["evaluation"]["sets"]["more"] = {**TEXTS, "filter": {"group_by": "group", "min_samples": 2}}
    project.write(config)
    again = {rule: n for rule, n in project.planned().items() if rule in NEW}
    assert again == {"ask_finetuned": 2, "tabulate_finetuning": 1}
    del config["evaluation"]["sets"]["more"]
    config["finetuning"]["learning_rate"] = 0.2
    project.write(config)
    again = {rule: n for rule, n in project.planned().items() if rule not in DRAWN}
    assert again == {"finetune": 2, "ask_finetuned": 2, "tabulate_finetuning": 1}
