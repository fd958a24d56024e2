"""A few modules trained on another task, and every data set asked again."""

import pandas as pd
import pytest

from tests.pipeline.test_incremental import DRAWN

pytestmark = pytest.mark.workflow


def test_modules_are_trained_and_every_data_set_is_asked_again(wide_finished):
    results = wide_finished.results
    table = pd.read_csv(results("tables", "finetuning.csv"), dtype={"seed": str}).fillna({"culture": ""})
    assert set(table["set"]) == {"small", "pictures", "texts"}
    whole = table[(table["culture"] == "") & table["seed"].isna()].set_index(["set", "choice"])
    assert whole.loc["texts", "n"].tolist() == [12, 12]
    before = pd.read_parquet(results("loaded", "sets", "texts", "predictions.parquet"))
    assert whole.loc[("texts", "richest"), "accuracy_before"] == pytest.approx(before["correct"].mean())
    assert (whole["logprob_change"].abs() > 1e-4).all()
    assert set(table["task_n"]) == {2}
    modules = pd.read_csv(results("tables", "finetuning_modules.csv"))
    by_choice = modules.groupby("choice")
    assert by_choice["site"].apply(sorted).iloc[0] == by_choice["site"].apply(sorted).iloc[1]
    assert (by_choice["chosen"].sum()["richest"]) > by_choice["chosen"].sum()["poorest"]
    assert results("figures", "finetuning_loaded.png").is_file()
    assert "After training on another task" in results("report.html").read_text(encoding="utf-8")


def test_another_learning_rate_trains_again(wide):
    config = wide.read()
    config["finetuning"]["learning_rate"] = 0.2
    wide.write(config)
    again = {rule: n for rule, n in wide.planned().items() if rule not in DRAWN}
    assert again == {"finetune": 2, "infer_finetuned": 2, "tabulate_changed_answers": 1}
