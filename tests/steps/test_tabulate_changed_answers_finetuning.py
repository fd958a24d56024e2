import json

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.analysis import finetuning, mask_effects
from culture_neurons.data.samples import COLUMNS, write_samples
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import tabulate_changed_answers

RUNS = [(choice, seed) for choice in ("richest", "poorest") for seed in ("1", "2")]


def questions(name, n=24):
    """Rows of samples.parquet: one culture for a set of that kind."""
    rng = np.random.default_rng(len(name))
    return pd.DataFrame({
        "sample_id": [f"{name}{i:02}" for i in range(n)], "culture": ["a", "b"] * (n // 2) if name == "own" else name,
        "category": "c", "question": "?", "options": [["x", "y"]] * n, "label": rng.integers(2, size=n),
        "split": (["identify"] * 4 if name == "own" else []) + ["evaluate"] * (n - 4 * (name == "own")),
        "image": None, "image_id": "", "width": None, "height": None,
    })[list(COLUMNS)]  # fmt: skip


def answers(rows, seed, right):
    rng = np.random.default_rng(seed)
    prediction = np.where(rng.random(len(rows)) < right, rows["label"], 1 - rows["label"])
    return rows[["sample_id", "culture", "split"]].assign(
        prediction=prediction, correct=prediction == rows["label"], well_formed=True,
        logprobs=[np.log(rng.dirichlet([1, 1])).astype(np.float32) for _ in prediction],
    )  # fmt: skip


def of(name):
    """The folder of a data set below that of the run, which is of the set own."""
    return "" if name == "own" else f"sets/{name}/"


def after(folder, choice, seed, name):
    return folder / f"m/finetuned/task_{choice}_{seed}/{name}.parquet"


@pytest.fixture
def folder(tmp_path):
    """Files of one model, two sets, one task, two choices and two seeds."""
    folder, identity = tmp_path / "own", {"model": "m", "revision": "r", "dtype": "float32"}
    for at, name in enumerate(("own", "plain")):
        rows = questions(name)
        write_samples(folder / f"{of(name)}samples.parquet", rows, {"images": {}, "step": "prepare", "code": "1"})
        predictions = folder / f"m/{of(name)}predictions.parquet"
        files.write_table(predictions, answers(rows, at, 0.9), identity | {"step": "infer"})
        evaluate = rows[rows["split"] == "evaluate"]
        for i, (choice, seed) in enumerate(RUNS):
            table = answers(evaluate, 10 * at + i, 0.4)
            files.write_table(after(folder, choice, seed, name), table, identity | {"step": "infer_finetuned"})
    for i, (choice, seed) in enumerate(RUNS):
        held_out = {"n": 9, "accuracy_before": 0.5, "accuracy_after": 0.6 + i / 10, "loss_before": 2, "loss_after": i}
        modules = [{"site": "q_proj", "layer": i, "chosen": 3 - i, "units": 8, "richness": (3 - i) / 8}]
        about = {"settings": {"training": {"method": "full"}}, "held_out": held_out, "modules": modules}
        text = json.dumps({**identity, **about, "parameters": 64, "step": "finetune", "code": "2"})
        files.write_text(after(folder, choice, seed, "training").with_suffix(".json"), text)
    return folder


def tabulated(step, folder, *more):
    sets = ("own", "plain")
    step.run(
        tabulate_changed_answers,
        "--samples", *(folder / f"{of(name)}samples.parquet" for name in sets),
        "--predictions", *(folder / f"m/{of(name)}predictions.parquet" for name in sets),
        "--finetuned", *(after(folder, *run, name) for run in RUNS for name in sets),
        "--training", *(after(folder, *run, "training").with_suffix(".json") for run in RUNS),
        "--replicates", 200, "--seed", 3, "--out-dir", folder / "tables", *more,
    )  # fmt: skip
    text = ("model", "task", "set", "method", "choice", "seed", "culture", "planted")
    tables = (folder / f"tables/{name}.csv" for name in ("finetuning", "finetuning_modules"))
    return tuple(files.read_csv(path, text=text[:n]) for path, n in zip(tables, (len(text), 0), strict=True))


def test_rows_are_those_of_the_comparison_with_what_was_trained(folder, step):
    table, _ = tabulated(step, folder)
    assert len(table) == 2 * 3 * 3 + 2 * 3 * 2  # choices x seeds and their mean x cultures and all, by set
    rows = questions("own")
    before, _ = files.read_table(folder / "m/predictions.parquet")
    base = mask_effects.baseline(rows, before, "before")
    tuned_answers = {run: files.read_table(after(folder, *run, "own"))[0] for run in RUNS}
    expected = finetuning.compare(base, tuned_answers, {run: "" for run in RUNS}, "before", 200, 3)
    mine = table[table["set"] == "own"].reset_index(drop=True)
    for column in ("n", "accuracy_before", "change", "change_low", "logprob_change_vs_poorest", "change_vs_poorest_p"):
        np.testing.assert_allclose(mine[column], expected[column].astype(float), err_msg=column)
    one = table[(table["choice"] == "poorest") & (table["seed"] == "2")]
    assert set(one["task_accuracy_after"]) == {0.9}
    assert set(one["method"]) == {"full"}
    mean = table[(table["choice"] == "poorest") & table["seed"].isna()]
    assert mean["task_accuracy_after"].tolist() == pytest.approx([0.85] * len(mean))
    assert set(table["task_n"]) == {9}
    assert table["change_vs_poorest_p_adjusted"].notna().sum() == table["change_vs_poorest_p"].notna().sum() == 15


def test_modules_are_listed_run_by_run(folder, step):
    _, modules = tabulated(step, folder, "--planted", "m")
    assert modules["choice"].tolist() == ["poorest", "poorest", "richest", "richest"]
    assert modules["layer"].tolist() == [2, 3, 0, 1]
    assert set(modules["parameters"]) == {64}
    assert set(modules["planted"]) == {"yes"}


def test_what_made_the_tables_is_noted(folder, step):
    tabulated(step, folder)
    history = files.read_json(folder / "tables/provenance_tabulate_changed_answers.json")
    assert set(history["steps"]) == {"finetune", "infer", "infer_finetuned", "prepare", "tabulate_changed_answers"}
    assert history["models"] == {"m": {"revision": "r", "dtype": "float32"}}
    assert not (folder / "tables/images.csv").exists()  # that is of image controls, which were not asked


def test_files_that_do_not_fit_are_refused(folder, step):
    path = after(folder, "richest", "1", "own")
    table, metadata = files.read_table(path)
    files.write_table(path, table, metadata | {"revision": "older"})
    with pytest.raises(FileError, match="revision 'older'"):
        tabulated(step, folder)
    with pytest.raises(ConfigError, match="m/task/x/1/own: no --training"):
        tabulated(step, folder, "--finetuned", after(folder, "x", "1", "own"))
