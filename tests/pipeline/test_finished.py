"""Results that travel: drawn from their folder alone, and never made again because of times."""

import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.workflow

#: Answers of one of the models.
PREDICTIONS = "results/small/loaded/predictions.parquet"


def times(project) -> dict[str, int]:
    """When each result was written."""
    return {str(path): path.stat().st_mtime_ns for path in project.results().rglob("*.*") if path.is_file()}


def as_fresh_clone(project) -> None:
    """Results without what Snakemake knows of them, beside code that was checked out later."""
    shutil.rmtree(project.folder / ".snakemake")
    for path in [*project.folder.glob("src/**/*.py"), *project.folder.glob("models/loaded/*")]:
        os.utime(path)


def refused(done: subprocess.CompletedProcess) -> str:
    """What a run said that refused to start."""
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "Traceback" not in output
    lines = output.strip().splitlines()[-2:]
    assert lines[0].startswith("results/small: finished results would be made again (jobs: "), output
    return "\n".join(lines)


def test_figures_tables_and_report_of_a_folder_are_those_of_the_run(finished, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(finished.results(), copied, ignore=shutil.ignore_patterns("figures", "*.tex", "report.html"))
    for step in ("figures", "report"):
        command = [sys.executable, "-m", f"culture_neurons.steps.{step}", "--results", str(copied)]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    drawn = [path.relative_to(copied) for pattern in ("figures/*", "tables/*.tex") for path in copied.glob(pattern)]
    expected = [path for pattern in ("figures/*", "tables/*.tex") for path in finished.results().glob(pattern)]
    assert len(drawn) == len(expected) > 20
    for path in (*drawn, "report.html"):
        assert (copied / path).read_bytes() == finished.results(path).read_bytes(), path


def test_copied_results_are_kept_until_the_user_says_otherwise(project):
    as_fresh_clone(project)
    assert project.planned()["ablate"] > 0
    before = times(project)
    message = refused(project.snakemake())
    assert "record" in message
    assert "make report R=results/small" in message
    assert "snakemake --touch --cores 1" in message
    assert times(project) == before
    assert not list((project.folder / ".snakemake" / "locks").glob("*"))
    # The way that the message names keeps all of them; and what changes after that is seen.
    project.run("--touch")
    assert project.planned() == {}
    config = project.read()
    config["prompt"] = {"seed": 2}
    project.write(config)
    assert project.planned()["infer"] == 2


def test_the_users_word_makes_them_again(project):
    as_fresh_clone(project)
    before = times(project)
    refused(project.snakemake(PREDICTIONS))
    # One rule that is asked for by name needs no other word, and other finished results stay.
    project.run("--forcerun", "infer", "--", PREDICTIONS)
    project.environment = {**project.environment, "CULTURE_NEURONS_REMAKE": "1"}
    project.run(PREDICTIONS)
    after = times(project)
    changed = {path for path in before if after.get(path) != before[path]}
    assert str(project.results("loaded", "predictions.parquet")) in changed


def test_a_change_of_code_or_config_and_an_interrupted_run_need_no_word(project):
    config = project.read()
    del config["models"]["trained"]
    config["data"]["source"]["seed"] = 9
    project.write(config)
    project.run("results/small/samples.parquet")  # and then it was killed
    project.run(PREDICTIONS)
    path = project.folder / "src" / "culture_neurons" / "models" / "inference.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# an edit\n", encoding="utf-8")
    assert project.planned(PREDICTIONS) == {"infer": 1, "gather_answers": 1}
    project.run(PREDICTIONS)
    # A result that was touched or copied, and is too large for a digest, has a time and nothing else.
    os.utime(project.results("samples.parquet"))
    small = ("--max-checksum-file-size", "1")
    assert project.planned(*small, PREDICTIONS)["infer"] == 1
    assert "1 infer" in refused(project.snakemake(*small, PREDICTIONS))
