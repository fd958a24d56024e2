"""Models and data from a fake hub on this machine; then the hub is gone, and both load from the cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from culture_neurons.models.demo import architectures
from tests.fake_hub import COMMIT, python, serve

pytestmark = pytest.mark.workflow

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
        model, processor = architectures.build(architecture, seed=3, **SIZES)
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


def prefetch(home: Path, models: dict, *sources: dict, **environment: str):
    named = dict(zip(("data", "b", "c", "d"), sources, strict=False))
    words = ["--models", json.dumps(models), "--sources", json.dumps(named)]
    return python(home, "-m", "culture_neurons.steps.prefetch", *words, **environment)


def test_models_and_data_load_offline_after_they_were_fetched(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    models = {
        "q": {"path": "tiny/qwen", "revision": "main"}, "l": {"path": "tiny/llava", "trust_remote_code": True},
        "own": {"train": {}}, "here": {"path": str(root)},
    }  # fmt: skip
    with serve(root) as (address, requests):
        done = prefetch(home, models, {"type": "cvqa", "path": "tiny/cvqa"}, HF_ENDPOINT=address)
    assert done.returncode == 0, done.stderr
    assert f"data: source: tiny/cvqa at commit {COMMIT}: 1 files" in done.stderr
    assert f"to pin it, set models: q: revision: {COMMIT}" in done.stderr
    assert "model own: nothing to fetch: it is trained here" in done.stderr
    assert f"model here: nothing to fetch: {root}" in done.stderr
    fetched = {tuple(line.split("/resolve/")) for line in requests if line.startswith("GET") and "/resolve/" in line}
    names = {(repo.rpartition("/")[2], file.partition("/")[2]) for repo, file in fetched}
    assert ("qwen", "model.safetensors") in names
    assert not {name for name in names if name[1].endswith((".bin", ".onnx")) or "consolidated" in name[1]}
    assert {name for name in names if name[1].endswith(".py")} == {("llava", "own.py")}
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    stanzas = [json.dumps({"name": name, **models[name]}) for name in ("q", "l")]
    done = python(home, "-c", LOAD, *stanzas, **offline)
    assert done.returncode == 0, done.stderr
    loaded = [json.loads(line) for line in done.stdout.splitlines()]
    assert [part[:2] for part in loaded] == [[COMMIT, 2], [COMMIT, 2]]
    read = "from culture_neurons.data import hub_rows; print(hub_rows.open_rows('tiny/cvqa', None, 'test').revision)"
    assert python(home, "-c", read, **offline).stdout.strip() == COMMIT


README = """---
configs:
- config_name: mnli
  data_files: [{split: validation, path: mnli/validation-*}]
- config_name: qnli
  default: true
  data_files: [{split: train, path: qnli/train-*}, {split: validation, path: "qnli/validation-*"}]
- config_name: texts
  data_files: [{split: test, path: texts.csv}]
---
"""


def test_one_split_of_one_config(tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "datasets" / "tiny" / "glue"
    for name in ("mnli/validation", "qnli/train", "qnli/validation"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"idx": [len(name)]}), folder / f"{name}-00000-of-00001.parquet")
    (folder / "README.md").write_text(README, encoding="utf-8")
    (folder / "texts.csv").write_text("idx\n7\n", encoding="utf-8")
    home, source = tmp_path / "home", {"type": "qnli", "path": "tiny/glue"}
    with serve(tmp_path / "hub") as (address, requests):
        done = prefetch(home, {}, source, HF_ENDPOINT=address)
        assert done.returncode == 0, done.stderr
        assert f"data: source: tiny/glue at commit {COMMIT}: 1 files" in done.stderr
        assert not [line for line in requests if "resolve" in line and ("mnli" in line or "train" in line)]
        done = python(home, "-c", READ, "texts", "test", "rte", "test", HF_ENDPOINT=address)
        assert done.stdout.startswith(
            "{'idx': [7]}\ntiny/glue: the hub can't be read as a data set (BuilderConfig 'rte' "
        )
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = python(home, "-c", READ, "qnli", "validation", "qnli", "train", **offline)
    assert done.stdout.startswith("{'idx': [15]}\ntiny/glue: its copy in "), done.stderr


READ = """
import sys
from culture_neurons.data import hub_rows
for config, split in (sys.argv[1:3], sys.argv[3:]):
    try:
        print(hub_rows.read_columns("tiny/glue", ["idx"], split=split, config=config, literal=["idx"]))
    except hub_rows.DataError as error:
        print(error)
"""


def test_nothing_to_fetch_asks_nobody(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").touch()
    sources = [{"type": "synthetic"}, {"type": "cvqa", "path": str(tmp_path / "rows.parquet")},
               {"type": "country-mention"}, {"type": "normad", "path": str(tmp_path / "rows.parquet")}]  # fmt: skip
    done = prefetch(tmp_path / "home", {"own": {"train": {}}, "g": {"gguf": {}}}, *sources,
                    HF_ENDPOINT="http://127.0.0.1:9")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "model g: nothing to fetch from the hub: it is converted by convert_gguf" in done.stderr
    assert all(f"{name}: nothing to fetch" in done.stderr for name in ("data", "b", "c", "d"))


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
