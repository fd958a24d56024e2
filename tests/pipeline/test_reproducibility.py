"""The same tables from the same config, however the work is split and wherever it runs."""

import re

import pandas as pd
import pytest

from tests.pipeline.conftest import CONFIG, TABLES, build

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def one_model(tmp_path_factory, warm_steps):
    """A project with one model, and enough questions for several shards."""
    project = build(tmp_path_factory.mktemp("reproducibility") / "project", environment=warm_steps)
    config = project.read()
    config["data"]["source"]["samples_per_culture"] = 96
    config["models"] = {"loaded": config["models"]["loaded"]}
    config["selectors"] = {"cas": {}}
    project.write(config)
    return project


def run(project, name, shards=None, **model) -> tuple[dict, dict]:
    """The tables of a run from nothing, as paths, and the masks, as data frames."""
    config = project.read()
    config["dataset"] = name
    config["shards"] = shards or {}
    config["models"]["loaded"] = {**CONFIG["models"]["loaded"], **model}
    project.write(config)
    folder = project.folder / "results" / config["dataset"]
    tables = {table: folder / "tables" / f"{table}.csv" for table in TABLES}
    project.run(*(str(path.relative_to(project.folder)) for path in tables.values()))
    masks = {path.name: pd.read_parquet(path) for path in sorted((folder / "loaded" / "masks").iterdir())}
    # Of the shards, which are called by their numbers, nothing is left.
    assert not [path for path in folder.glob("loaded/**/*.parquet") if re.fullmatch(r"[0-9-]+", path.stem)]
    return tables, masks


@pytest.fixture(scope="module")
def reference(one_model):
    return run(one_model, "reference")


SHARDS = {"infer": 4, "record": 2, "ablate": 4, "ablate_masks": 2}
#: Log files of the shards, and what their jobs had nothing to do with.
LOGS = {"infer_{}.log": " 0 answers", "ablate_cas_1-{}.log": " on 0 questions"}


def idle(project, name) -> dict[str, list[bool]]:
    """Whether each of four jobs had no question."""
    logs = project.folder / "results" / name / "logs" / "loaded"
    return {
        log: [words in (logs / log.format(k)).read_text(encoding="utf-8") for k in range(4)]
        for log, words in LOGS.items()
    }


def test_shards_threads_and_batch_size_change_no_mask_and_tables_within_the_tolerance(one_model, reference):
    tables, masks = run(one_model, "other", SHARDS, threads=2, batch_size=11)
    for name, mask in masks.items():
        # A score is a sum in floating point: in another order it differs in the last digits.
        assert mask.drop(columns="score").equals(reference[1][name].drop(columns="score")), name
    assert sum(map(len, masks.values())) > 0
    for name, path in tables.items():
        # What the run is called stands in some tables.
        found, expected = pd.read_csv(path).replace("other", "reference"), pd.read_csv(reference[0][name])
        # Random signs and replicates are the same, so that even p-values agree.
        pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-5, obj=name)
    # 144 questions make three blocks of 64, so that three of the four jobs had something to do.
    assert list(idle(one_model, "other").values()) == [[False] * 4, [False, False, False, True]]


@pytest.mark.slow
def test_tables_and_masks_are_the_same_bytes_for_any_number_of_shards(one_model, reference):
    tables, masks = run(one_model, "shards", SHARDS)
    for name, path in tables.items():
        assert path.read_bytes().replace(b",shards,", b",reference,") == reference[0][name].read_bytes(), name
    for name, mask in masks.items():
        assert mask.equals(reference[1][name]), name


def test_verify_looks_at_the_results_and_makes_nothing_again(project):
    assert "as the manifest says" in project.run("verify")
    table = project.results("tables", "summary.csv")
    table.write_text(table.read_text(encoding="utf-8").replace("cas", "mad", 1), encoding="utf-8")
    done = project.snakemake("verify")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "differs: tables/summary.csv: its content has changed" in output
    assert "Traceback" not in output
