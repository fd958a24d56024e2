"""A manifest says what was run; `verify` says what has changed since."""

import json

import pytest

from culture_neurons import __version__, files
from culture_neurons.errors import FileError
from culture_neurons.steps import manifest, verify

CONFIG = {"dataset": "d", "prompt": {"seed": 7}}
STEP = {"code": ["c"], "version": ["v"], "packages": ["numpy 1.0", "python 3.11.2"], "hardware": []}
PROVENANCE = {
    "steps": {"infer": STEP | {"hardware": ["Card"]}, "merge": STEP | {"packages": ["numpy 2.0"]}},
    "models": {"m": {"revision": "r", "dtype": "float32"}},
}


@pytest.fixture
def run_folder(base, tmp_path, step):
    """A folder with a manifest of two tables."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "effects.csv").write_text("a,b\n", encoding="utf-8")
    (tmp_path / "dropped.csv").write_text("c\n", encoding="utf-8")
    files.write_text(tmp_path / "tables" / "provenance.json", json.dumps(PROVENANCE))
    table, _ = files.read_table(base / "samples.parquet")
    made_by = {"settings": {"source": {"type": "table"}}, "images": {"type": "none"}}
    files.write_table(tmp_path / "samples.parquet", table[["sample_id"]], made_by)
    step.run(manifest, "--config", json.dumps(CONFIG), "--provenance", tmp_path / "tables" / "provenance.json",
             "--samples", tmp_path / "samples.parquet", "--files", tmp_path / "tables" / "effects.csv",
             tmp_path / "dropped.csv", "--out", tmp_path / "manifest.json")  # fmt: skip
    return tmp_path


def verified(step, folder, config=CONFIG):
    step.run(verify, "--manifest", folder / "manifest.json", "--config", json.dumps(config))


def test_manifest_says_what_made_the_run(run_folder):
    content = files.read_json(run_folder / "manifest.json")
    assert content["config"] == CONFIG
    assert content["seeds"] == {"prompt.seed": 7}
    assert content["version"] == __version__
    assert content["models"] == PROVENANCE["models"]
    assert content["data"] == {"source": {"type": "table"}, "images": {"type": "none"}}
    assert content["packages"] == {"numpy": "1.0, 2.0", "python": "3.11.2"}
    assert content["hardware"] == ["Card"]
    assert list(content["files"]) == ["dropped.csv", "tables/effects.csv"]


def test_untouched_results_are_verified_and_what_would_differ_is_said(run_folder, step, caplog):
    with caplog.at_level("INFO"):
        verified(step, run_folder, {**CONFIG, "prompt": {"seed": 8}})
    assert "2 files, 2 as the manifest says" in caplog.text
    assert "differs: config prompt.seed: 7 then, 8 now" in caplog.text
    assert "differs: package numpy: '1.0, 2.0' then, '" in caplog.text
    assert "differs: code" not in caplog.text
    assert "the run would now be another one" in caplog.text


def test_changed_tables_and_missing_ones_are_named(run_folder, step, caplog):
    (run_folder / "dropped.csv").write_text("d\n", encoding="utf-8")
    (run_folder / "tables" / "effects.csv").unlink()
    with pytest.raises(FileError, match=r"manifest\.json: 2 of 2 files are not those that the run wrote"):
        verified(step, run_folder)
    assert "differs: dropped.csv: its content has changed" in caplog.text
    assert "differs: tables/effects.csv: missing" in caplog.text


def test_answers_of_another_run_are_named_and_a_change_of_it_is_said(run_folder, base, step, caplog):
    other = run_folder / "other.parquet"
    other.write_bytes(b"answers")
    source = {"file": str(other), "sha256": files.file_digest(other), "answers": 72}
    table, metadata = files.read_table(base / "m/predictions.parquet")
    mine = run_folder / "m/predictions.parquet"
    files.write_table(mine, table, metadata | {"reused": 72, "reused_from": [source]})
    step.run(manifest, "--config", json.dumps(CONFIG), "--provenance", run_folder / "tables" / "provenance.json",
             "--samples", run_folder / "samples.parquet", "--files", mine, run_folder / "dropped.csv",
             "--out", run_folder / "manifest.json")  # fmt: skip
    assert files.read_json(run_folder / "manifest.json")["reused"] == {"m/predictions.parquet": [source]}
    verified(step, run_folder)
    assert "answers are those of" not in caplog.text
    other.write_bytes(b"other answers")
    verified(step, run_folder)
    said = f"differs: m/predictions.parquet: 72 answers are those of {other}, "
    assert said + "whose content has changed since" in caplog.text
    other.unlink()
    verified(step, run_folder)
    assert said + "which is missing now" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", '{"manifest": 99}'])
def test_other_files_are_no_manifest(run_folder, step, text):
    (run_folder / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=r"manifest\.json: (no readable JSON object|layout 99, expected 1)"):
        verified(step, run_folder)
    (run_folder / "manifest.json").unlink()
    with pytest.raises(FileError, match=r"manifest\.json: no readable JSON"):
        verified(step, run_folder)
