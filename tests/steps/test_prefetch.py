"""Models and data from a fake hub on this machine; then the hub is gone, and both load from the cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from culture_neurons.models import demo
from tests.fake_hub import COMMIT, python, serve

SIZES = {"layers": 2, "hidden": 32, "intermediate": 48, "vision_layers": 1, "vision_hidden": 32}
LOAD = """
import json, sys
from culture_neurons.models.loading import load
for settings in map(json.loads, sys.argv[1:]):
    loaded = load(settings)
    print(json.dumps([loaded.revision, loaded.adapter.n_layers, type(loaded.processor).__name__]))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub with two models, one of them in parts, and a data set."""
    root = tmp_path_factory.mktemp("hub")
    for name, architecture in (("qwen", "qwen2.5-vl"), ("llava", "llava-next-mistral")):
        folder = root / "models" / "tiny" / name
        model, processor = demo.build(architecture, seed=3, **SIZES)
        model.save_pretrained(folder, max_shard_size="20KB" if name == "llava" else "1GB")
        processor.save_pretrained(folder)
        for other in ("consolidated.safetensors", "pytorch_model.bin", "own.py", "README.md", "onnx/model.onnx"):
            (folder / other).parent.mkdir(exist_ok=True)
            (folder / other).write_bytes(b"x" * 1000)
    assert (root / "models" / "tiny" / "llava" / "model.safetensors.index.json").is_file()
    rows = root / "datasets" / "tiny" / "cvqa" / "data"
    rows.mkdir(parents=True)
    pq.write_table(pa.table({"ID": ["1"]}), rows / "test-00000-of-00001.parquet")
    bare = root / "models" / "tiny" / "bare"
    bare.mkdir()
    shutil.copy(root / "models" / "tiny" / "qwen" / "config.json", bare)
    return root


def prefetch(home: Path, models: dict, source: dict, **environment: str):
    words = ["--models", json.dumps(models), "--source", json.dumps(source)]
    return python(home, "-m", "culture_neurons.steps.prefetch", *words, **environment)


def test_models_and_data_load_offline_after_they_were_fetched(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    models = {
        "q": {"path": "tiny/qwen", "revision": "main"}, "l": {"path": "tiny/llava", "trust_remote_code": True},
        "own": {"train": {}}, "here": {"path": str(root)},
    }  # fmt: skip
    with serve(root) as (address, asked):
        done = prefetch(home, models, {"type": "cvqa", "path": "tiny/cvqa"}, HF_ENDPOINT=address)
    assert done.returncode == 0, done.stderr
    assert f"data: source: tiny/cvqa at commit {COMMIT}: 1 files" in done.stderr
    assert f"to pin it, set models: q: revision: {COMMIT}" in done.stderr
    assert "model own: nothing to fetch: it is trained here" in done.stderr
    assert f"model here: nothing to fetch: {root}" in done.stderr
    fetched = {tuple(line.split("/resolve/")) for line in asked if line.startswith("GET") and "/resolve/" in line}
    names = {(repo.rpartition("/")[2], file.partition("/")[2]) for repo, file in fetched}
    assert ("qwen", "model.safetensors") in names
    assert not {name for name in names if name[1].endswith((".bin", ".onnx")) or "consolidated" in name[1]}
    assert {name for name in names if name[1].endswith(".py")} == {("llava", "own.py")}
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    stanzas = [json.dumps({"name": name, **models[name]}) for name in ("q", "l")]
    done = python(home, "-c", LOAD, *stanzas, **offline)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [part[:2] for part in found] == [[COMMIT, 2], [COMMIT, 2]]
    read = "from culture_neurons.data import hub; print(hub.open_rows('tiny/cvqa', None, 'test').revision)"
    assert python(home, "-c", read, **offline).stdout.strip() == COMMIT


def test_nothing_to_fetch_asks_nobody(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").touch()
    sources = [{"type": "synthetic"}, {"type": "cvqa", "path": str(tmp_path / "rows.parquet")}]
    for source in sources:
        done = prefetch(tmp_path / "home", {"own": {"train": {}}}, source, HF_ENDPOINT="http://127.0.0.1:9")
        assert done.returncode == 0, done.stderr
        assert "data: nothing to fetch" in done.stderr


def test_model_without_safetensors_and_a_hub_that_is_not_there(root: Path, tmp_path: Path) -> None:
    home, models = tmp_path / "home", {"m": {"path": "tiny/bare"}}
    with serve(root) as (address, _):
        done = prefetch(home, models, {}, HF_ENDPOINT=address)
    assert done.returncode == 1
    assert f"tiny/bare at revision {COMMIT}: has no weights as safetensors" in done.stderr
    for environment in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        done = prefetch(tmp_path / "other", models, {}, **environment)
        assert done.returncode == 1
        assert "tiny/bare: " in done.stderr
        assert "Traceback" not in done.stderr
