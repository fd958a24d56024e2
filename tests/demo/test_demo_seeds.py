"""Do the eye and the answers hang on the seed? Another eye, other facts: `make check-demo-seeds`; minutes."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
import yaml

from culture_neurons.files import read_json
from tests.demo.test_demo import CONFIG, MODEL, OWN, RESULTS, ROOT, SETS

SEEDS = (2, 3)


def with_seed(seed: int) -> dict:
    """The demo's config with another seed of all data and of the eye, on the language model that the demo has."""
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    stanzas = [config["data"], *config["data"]["choose"].values(), *config["evaluation"]["sets"].values()]
    for stanza in stanzas:
        stanza["source"]["seed"] = seed
    model = config["models"][MODEL]
    del model["gguf"]
    model["eye"]["seed"] = seed
    model["path"] = str(RESULTS / MODEL / "decoder")
    return config


@pytest.mark.parametrize("seed", SEEDS)
def test_the_eye_reads_and_answers_follow(tmp_path, seed):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(with_seed(seed)), encoding="utf-8")
    wanted = [f"results/demo/{name}" for name in (
        "tables/images.csv", *(f"{MODEL}/sets/{of}/predictions.parquet" for of in SETS))]  # fmt: skip
    command = [sys.executable, ROOT / "tools/warm.py", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile",
               "config.yaml", "--cores", "2", "--quiet", "all", "--", *wanted]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True)
    here = tmp_path / "results/demo"
    assert read_json(here / MODEL / "model/training.json")["held_out_accuracy"] >= 0.99
    images = pd.read_csv(here / "tables/images.csv", keep_default_na=False, na_values=[""])
    found = images[images["culture"].isna() & (images["set"] == OWN)].set_index("control")
    assert found.loc["shown", "accuracy"] >= 0.55
    assert found.loc["blank", "accuracy"] <= 0.35
    assert found.loc["swapped", "followed"] >= 0.5
    for of in SETS:
        answers = pd.read_parquet(here / MODEL / "sets" / of / "predictions.parquet")
        assert answers["correct"].mean() >= 0.55, of
