"""Code in a model's folder runs only for a model whose stanza says `trust_remote_code: true`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.fake_hub import python

pytestmark = pytest.mark.workflow

LOAD = """
import json, sys
from pathlib import Path
from culture_neurons.errors import ModelError
from culture_neurons.models.loading import load
for stanzas in map(json.loads, sys.argv[2:]):
    found = []
    for settings in stanzas:
        try:
            loaded = load(settings)
            found.append([type(loaded.model).__name__, type(loaded.processor).__name__])
        except ModelError as error:
            found.append(str(error))
    print(json.dumps([found, sorted(path.name for path in Path(sys.argv[1]).glob("*-ran"))]))
"""
#: Part of a model -> the file and the entry of `auto_map` that names its code, and that code's class.
PARTS = {
    "config": ("config.json", "AutoConfig", "class Own(MistralConfig):\n    model_type = 'own'"),
    "model": ("config.json", "AutoModelForImageTextToText", "class Own(LlavaNextForConditionalGeneration):\n    pass"),
    "tokenizer": ("tokenizer_config.json", "AutoTokenizer", "class Own(PreTrainedTokenizerFast):\n    pass"),
    "processor": ("processor_config.json", "AutoProcessor", "class Own(LlavaNextProcessor):\n    pass"),
    "image": ("processor_config.json", "AutoImageProcessor", "class Own(LlavaNextImageProcessor):\n    pass"),
}
IMPORTS = """
from transformers import (LlavaNextForConditionalGeneration, LlavaNextImageProcessor, LlavaNextProcessor,
                          MistralConfig, PreTrainedTokenizerFast)
"""


def with_code(source: str, folder: Path, part: str) -> Path:
    """A copy of a model folder, a part of which is code that makes the file `ran` when it is imported."""
    shutil.copytree(source, folder)
    file, key, code = PARTS[part]
    settings = json.loads((folder / file).read_text(encoding="utf-8"))
    entry = ["own.Own", "own.Own"] if part == "tokenizer" else "own.Own"
    target = settings["image_processor"] if part == "image" else settings
    target["auto_map"] = {key: entry}
    if part == "config":
        settings["model_type"] = "own"
    if part == "tokenizer":
        settings["tokenizer_class"] = "Own"
    (folder / file).write_text(json.dumps(settings), encoding="utf-8")
    ran = folder.with_name(f"{folder.name}-ran")
    (folder / "own.py").write_text(f"{IMPORTS}\nopen({str(ran)!r}, 'w').close()\n\n\n{code}\n", encoding="utf-8")
    return ran


def test_code_of_a_folder_runs_only_if_the_config_says_so(folders: dict[str, str], tmp_path: Path) -> None:
    cases = [(part, "llava-next-mistral") for part in PARTS]
    cases += [(part, "qwen2.5-vl") for part in ("tokenizer", "image")]  # its processor may be our own
    names = [f"{architecture}-{part}" for part, architecture in cases]
    for name, (part, architecture) in zip(names, cases, strict=True):
        with_code(folders[architecture], tmp_path / name, part)
    stanzas = [{"name": name, "path": str(tmp_path / name)} for name in names]

    # One process for all, as libraries take longer to load than models; trusted code comes last.
    requests = [[stanza | more for stanza in stanzas] for more in ({}, {"trust_remote_code": False})]
    requests.append([stanza | {"trust_remote_code": True} for stanza in stanzas])
    done = python(tmp_path / "home", "-c", LOAD, str(tmp_path), *map(json.dumps, requests))
    assert done.returncode == 0, done.stderr
    *untrusted, (trusted, ran_then) = map(json.loads, done.stdout.splitlines())
    assert len(untrusted) == 2
    for (refused, *others), ran in untrusted:
        assert refused == (
            f"model {names[0]!r}: {str(tmp_path / names[0])!r} has code of its own; it runs only with "
            "trust_remote_code: true in the model's stanza"
        )
        # What transformers knows loads without the folder's code.
        assert all(isinstance(classes, list) and "Own" not in classes for classes in others)
        assert ran == []
    assert trusted[names.index("llava-next-mistral-processor")][1] == "Own"
    assert ran_then == sorted(f"{name}-ran" for name in names)
