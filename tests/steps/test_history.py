import json

import pytest

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.steps import history


def noted(step: str, code: str, model: str, hardware: str) -> history.History:
    result = history.History()
    before = {"prepare": {"code": "p", "packages": {"numpy": "2"}}}
    result.add({"step": step, "code": code, "version": "1", "model": model, "revision": "r", "dtype": "float32",
                "hardware": [hardware], "packages": {"numpy": "2"}, "history": before})  # fmt: skip
    return result


def test_notes_of_several_tables_are_put_together(tmp_path):
    paths = [tmp_path / "provenance.json", tmp_path / "provenance_images.json"]
    files.write_text(paths[0], noted("infer", "a", "m", "CPU").as_json())
    files.write_text(paths[1], noted("infer", "b", "n", "GPU").as_json())
    both = history.read(paths)
    assert both["steps"]["infer"] == {"code": ["a", "b"], "version": ["1"], "hardware": ["CPU", "GPU"],
                                      "packages": ["numpy 2"]}  # fmt: skip
    assert both["steps"]["prepare"]["code"] == ["p"]
    assert set(both["models"]) == {"m", "n"}
    assert history.read(paths[:1]) == json.loads(paths[0].read_text())


def test_a_step_writes_what_was_before_it_and_itself(tmp_path):
    noted("infer", "a", "m", "CPU").write(tmp_path, {"step": "tabulate", "code": "t", "version": "1"})
    (path,) = tmp_path.iterdir()
    assert path.name == "provenance_tabulate.json"
    assert {name: step["code"] for name, step in history.read([path])["steps"].items()} == {
        "prepare": ["p"], "infer": ["a"], "tabulate": ["t"],
    }  # fmt: skip


def test_which_gguf_file_a_model_was_is_kept_where_one_file_says_it(tmp_path):
    result = history.History()
    made_with = {"model": "m", "revision": "r", "dtype": "float32"}
    for metadata in (made_with, made_with | {"gguf": {"file": "a.gguf"}}, made_with):
        result.add(metadata)
    files.write_text(tmp_path / "a.json", result.as_json())
    files.write_text(tmp_path / "b.json", noted("infer", "a", "m", "CPU").as_json())
    expected = {"revision": "r", "dtype": "float32", "gguf": {"file": "a.gguf"}}
    assert history.read([tmp_path / "a.json", tmp_path / "b.json"])["models"] == {"m": expected}


@pytest.mark.parametrize("text", ["{}", '{"steps": [], "models": {}}', '{"steps": {"a": 1}, "models": {}}'])
def test_a_file_that_is_no_note_is_named(tmp_path, text):
    files.write_text(tmp_path / "p.json", text)
    with pytest.raises(FileError, match=r"p\.json: it does not say what made the tables"):
        history.read([tmp_path / "p.json"])
