import json

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files, store
from culture_neurons.analysis import planted_benchmark
from culture_neurons.errors import ConfigError
from culture_neurons.steps import benchmark_selectors

SELECTORS = json.dumps({"cas": None, "effect-size": {"floor": 0.5}, "luck": {"method": "random", "seed": 2}})


@pytest.fixture
def model(tmp_path):
    """Statistics of 8 questions of two cultures, and one planted neuron each."""
    ids, cultures = [f"q{i}" for i in range(8)], list("babababa")
    fired = np.random.default_rng(0).integers(0, 5, (8, 2, 30))
    for i, culture in enumerate(cultures):
        fired[i, 1, 4], fired[i, 0, 2] = (9, 0) if culture == "a" else (0, 9)
    made_by = {"model": "m", "revision": "r", "step": "record", "code": "0", "version": "0", "packages": {}}
    with store.statistics_writer(
        tmp_path / "0.h5", ids, cultures, "act_fn", 2, 30, made_by, negative_sum=True
    ) as writer:
        writer.write(ids, np.full(8, 9), fired, fired * 0.5, (fired - 9) * 0.1)
    store.merge_statistics([tmp_path / "0.h5"], tmp_path / "m/statistics.h5", {**made_by, "step": "merge"})
    rows = [("a", "act_fn", 1, 4, -0.5), ("b", "act_fn", 0, 2, 0.0)]
    files.write_csv(
        tmp_path / "m/planted.csv", pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron", "logprob_drop"])
    )
    return tmp_path


def run(step, folder, *more, selectors=SELECTORS):
    step.run(
        benchmark_selectors, *more, "--selectors", selectors, "--top-fraction", "0.02", "0.1", "--samples", "2",
        "--noise", "0.5", "--repeats", "3", "--seed", "4", "--out-dir", folder,
    )  # fmt: skip
    return pd.read_csv(folder / "benchmark.csv")


def test_table_has_every_design_and_says_planted(model, step):
    table = run(step, model, "--statistics", model / "m/statistics.h5", "--planted", model / "m/planted.csv")
    assert list(table) == ["model", *planted_benchmark.COLUMNS, "planted"]
    # 2 numbers of questions x 2 shares of wrong labels x 3 selectors x 2 targets x 2 fractions
    assert len(table) == 48
    assert set(table["planted"]) == {"yes"}
    assert set(table["samples_per_culture"]) == {"2", "all"}
    plain = table[(table["samples_per_culture"] == "all") & (table["label_noise"] == 0) & (table["selector"] == "cas")]
    assert (plain["average_precision"] == 1).all()
    noted = json.loads((model / "provenance_benchmark_selectors.json").read_text(encoding="utf-8"))
    assert {"merge", "benchmark_selectors"} <= set(noted["steps"])
    before = (model / "benchmark.csv").read_bytes()
    run(step, model, "--statistics", model / "m/statistics.h5", "--planted", model / "m/planted.csv")
    assert (model / "benchmark.csv").read_bytes() == before


def test_only_the_heading_without_planted_models(step, tmp_path):
    assert list(run(step, tmp_path)) == ["model", *planted_benchmark.COLUMNS, "planted"]
    assert len((tmp_path / "benchmark.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_model_with_one_of_the_two_files_is_refused(model, step):
    with pytest.raises(ConfigError, match="m: given for only one of --statistics and --planted"):
        run(step, model, "--statistics", model / "m/statistics.h5")


def test_selector_that_needs_more_than_was_recorded_says_so(model, step):
    with store.statistics_writer(model / "m/statistics.h5", list("xyz"), list("aab"), "act_fn", 2, 30, {}) as writer:
        writer.write(list("xyz"), np.full(3, 9), np.ones((3, 2, 30), int), np.ones((3, 2, 30)))
    with pytest.raises(ConfigError, match="set negative_sum: true under recording"):
        run(step, model, "--statistics", model / "m/statistics.h5", "--planted", model / "m/planted.csv")
