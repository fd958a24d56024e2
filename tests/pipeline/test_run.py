"""The real workflow, from data to report."""

import os
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import slow

pytestmark = pytest.mark.workflow
ROOT = Path(__file__).parents[2]

COLUMNS = {
    "effects": "model selector top_fraction mask_culture eval_culture n baseline_accuracy masked_accuracy drop "
    "logprob_drop flip_rate well_formed_rate",
    "summary": "model selector top_fraction self_drop cross_drop specificity random_self_drop",
    "layers": "model selector top_fraction culture site layer count units",
}


def test_tables_have_the_columns_of_the_contract(finished):
    for name, columns in COLUMNS.items():
        table = pd.read_csv(finished.results("tables", f"{name}.csv"))
        assert list(table.columns)[: len(columns.split())] == columns.split(), name
        assert set(table["model"]) == {"trained", "loaded"}, name
        assert len(table), name


def test_every_promised_file_is_there(finished):
    for model in ("trained", "loaded"):
        names = ["predictions.parquet", "cards.json", "statistics.h5", "scores/cas.h5", "masks/mad_top0.05.parquet",
                 "ablation/random-matched_top0.2.parquet", "controls/blank.parquet",
                 "controls/none.parquet", "stability.parquet"]  # fmt: skip
        for name in names:
            assert finished.results(model, name).stat().st_size > 0, name
        for stem in (f"layers_{model}", f"matrix_{model}_cas",
                     f"robustness_{model}_cas", f"drops_{model}", f"dose_{model}", f"stability_{model}",
                     f"overlap_{model}", "baseline", "overview", "forest",
                     "own-against-cross", "depth", "images"):  # fmt: skip
            assert finished.results("figures", f"{stem}.png").read_bytes().startswith(b"\x89PNG")
            assert finished.results("figures", f"{stem}.pdf").read_bytes().startswith(b"%PDF")
    for name in ("summary", "drops"):
        assert finished.results("tables", f"{name}.tex").read_text(encoding="utf-8").count(r"\begin{tabular}") == 2
    assert "</html>" in finished.results("report.html").read_text(encoding="utf-8")


def test_another_revision_of_a_local_model_is_noticed(project):
    """Weights exchanged behind the workflow's back: files of both revisions must not be mixed."""
    folder = project.folder / "models" / "loaded"
    config = yaml.safe_load((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(yaml.safe_dump(config | {"note": "changed"}))
    os.utime(folder / "generation_config.json", (0, 0))  # as copied with its time: Snakemake sees nothing new
    target = project.results("loaded", "ablation", "mad_top0.05.parquet")
    target.unlink()
    done = project.snakemake(str(target.relative_to(project.folder)))
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "made with model loaded at revision" in output
    assert "Traceback" not in output


def test_damaged_statistics_are_named_with_what_to_do(project, monkeypatch):
    monkeypatch.setenv("CULTURE_NEURONS_REMAKE", "1")  # the file's time says too that what follows is out of date
    path = project.results("trained", "statistics.h5")
    path.write_bytes(path.read_bytes()[:-200])
    for scores in project.results("trained", "scores").glob("cas*"):
        scores.unlink()
    done = project.snakemake("--rerun-triggers", "input")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "trained/statistics.h5: damaged" in output
    assert "rebuild it: rm " in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("top_fraction", [0.1], "config: unknown key 'top_fraction' (did you mean 'top_fractions'?)"),
        ("selectors", {"cass": {}}, "unknown selector 'cass' (did you mean 'cas'?)"),
    ],
)
def test_mistake_in_the_config_is_one_line_and_no_job_runs(project, key, value, message):
    config = project.read()
    config[key] = value
    project.write(config)
    done = project.snakemake("--dry-run")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert message in output
    assert "Traceback" not in output
    assert "Job stats" not in output


def test_mistake_in_the_data_reaches_the_terminal_and_the_log(project):
    config = project.read()
    config["data"]["filter"] = {"cultures": ["Brenmark", "Nowhere"]}
    project.write(config)
    done = project.snakemake()
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "'Nowhere'" in output
    assert "'Nowhere'" in project.results("logs", "prepare.log").read_text(encoding="utf-8")


def test_config_on_the_command_line_replaces_the_default_and_the_paper_run_is_planned(project):
    jobs = project.planned("--configfile", "config/paper-vlm.yaml")
    assert (jobs["infer"], jobs["record"], jobs["ablate"]) == (12, 24, 168)
    assert "train" not in jobs


def test_snakemake_report_works(project):
    project.run("--report", "snakemake-report.html")
    page = (project.folder / "snakemake-report.html").read_text(encoding="utf-8")
    assert "matrix_loaded_cas" in page


@pytest.mark.parametrize(
    ("words", "more", "fewest", "most"),
    [((), (), 2, 5), slow(("--max-jobs-per-timespan", "1/1s"), ("figures/overview.pdf",), 6, 1000)],
)
def test_waiting_jobs_are_looked_at_when_one_has_ended_unless_a_limit_is_asked_for(project, words, more, fewest, most):
    # Four or five jobs, one by one. With a limit on jobs per second, Snakemake looks every second too.
    names = ("trained/cards.json", "loaded/cards.json", "tables/strengths.csv", "tables/stability.csv", *more)
    lost = [project.results(*name.split("/")) for name in names]
    for path in lost:
        path.unlink()
    targets = [str(path.relative_to(project.folder)) for path in lost]
    output = project.run("--cores", "1", "--verbose", *words, "--", *targets)
    assert fewest <= output.count("Ready jobs: ") <= most


def test_commands_of_the_makefile_are_understood(project):
    commands = re.findall(r"\$\(RUN\) snakemake (.+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert len(commands) >= 3
    for command in commands:
        project.run(*command.replace("$(CORES)", "2").replace("$(CONFIG)", "config.yaml").split(), "--dry-run")
