"""A small project, run once for real; tests copy it, change something, and look at what would run again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from filelock import FileLock

from tests.pipeline import dry_run
from tools import warm

ROOT = Path(__file__).parents[2]
TABLES = (
    "effects", "summary", "layers", "baseline", "evidence", "cultures", "differences", "planted", "permutations",
    "strengths", "images", "stability", "overlaps", "related",
)  # fmt: skip
#: Sizes of the model that is loaded.
LOADED = {"layers": 2, "hidden": 32, "intermediate": 48}
PARTS = ("Snakefile", "workflow", "envs", "src", "config.yaml", "config")

CONFIG = {
    "dataset": "small",
    "data": {"source": {"type": "synthetic", "cultures": 3, "samples_per_culture": 16}},
    # Trained for a few steps only: what the model knows does not matter here.
    "models": {
        "trained": {
            "train": {
                "architecture": "qwen2.5-vl", "min_accuracy": 0.0, "attempts": 1, "images_per_fact": 1,
                "vision_steps": 2, "facts_steps": 2, "steps": 2,
            },
            "batch_size": 16,
        },
        "loaded": {"path": "models/loaded", "batch_size": 16},
    },
    "recording": {"min_correct": 1, "negative_sum": True},
    "selectors": {"cas": {}, "mad": {"normalise": True}, "random-matched": {"seed": 1, "match": "cas"}},
    "top_fractions": [0.05, 0.2],
    "evidence": {"replicates": 200, "selectors": ["cas"], "permutations": 3, "strengths": [0.5, 1.5],
                 "image_controls": ["blank", "none"], "resamples": 20, "split_halves": 2, "token_rules": ["image"]},
    "figures": {"top_fraction": 0.05},
}  # fmt: skip

_COLUMNS = {name: name for name in ("sample_id", "question", "options", "label")}
#: Questions without cultures, in a file that `wide_finished` writes.
TEXTS = {"source": {"type": "table", "path": "texts.jsonl", "columns": _COLUMNS}, "filter": {"group_by": "group"}}
#: Cultures of the masks of another project, in an order of their own: one of the data's has none.
PUBLISHED = ["Costa Verena", "Brenmark"]
#: What the small project leaves out: attribution, masks of another project, further data sets, and fine-tuning.
WIDE = {
    **CONFIG,
    "data": CONFIG["data"] | {
        "split": {"by": "category", "identify": ["dish", "dance"], "evaluate": ["garment"]},
        # The same questions as those of the run's own identify half; and others, of one culture less and one more.
        "choose": {
            "again": {"source": CONFIG["data"]["source"], "filter": {"categories": ["dish", "dance"]}},
            "part": {"source": CONFIG["data"]["source"] | {"seed": 7},
                     "filter": {"rename": {"Aldovia": "Old Aldovia"}, "cultures": ["Old Aldovia", "Brenmark"]}},
        },
        "mentions": {
            "type": "country-mention", "countries": ["Aldovia", "Brenmark", "Costa Verena", "Eshkar"], "per_country": 2,
        },
    },
    "models": {"loaded": CONFIG["models"]["loaded"]},
    "shards": {"ablate_selectors": 1},
    "selectors": {
        "cas": {},
        "cas-again": {"method": "cas", "choose_on": "again"},
        "cas-part": {"method": "cas", "choose_on": "part"},
        "random-part": {"method": "random-matched", "match": "cas-part", "seed": 1},
        "culnig-general": {"mlp_fraction": 0.1, "attention_fraction": 0.1},
        "culnig-specific": {},
        "random-general": {"method": "random-matched", "match": "culnig-general", "seed": 1},
        "published": {"method": "imported", "masks": {"loaded": "published/loaded.pth"}, "cultures": PUBLISHED},
        "random-published": {"method": "random-matched", "match": "published", "seed": 1},
    },
    "evaluation": {
        "sets": {
            "pictures": {"source": {"type": "synthetic", "cultures": 3, "samples_per_culture": 4, "seed": 5},
                         "filter": {"rename": {"Aldovia": "Old Aldovia"}}},
            "texts": TEXTS,
        },
        "selectors": ["cas", "cas-part", "culnig-general", "random-general"],
    },
    "finetuning": {
        "tasks": {"numbers": {"source": TEXTS["source"] | {"columns": {**_COLUMNS, "culture": "group"}}, "limit": 10}},
        "modules": 2, "choices": ["richest", "poorest"], "seeds": [1], "steps": 2, "batch_size": 4,
        "learning_rate": 0.1,
    },
    "evidence": {
        "replicates": 200, "resamples": 0, "split_halves": 0, "cards": 1, "image_controls": ["none", "swapped"],
    },
    "figures": {"top_fraction": 0.05, "selectors": "all"},
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need other runs than the one before come first, so that several workers run them at the same time."""
    first = ["test_incremental.py", "test_sets.py", "test_reproducibility.py", "test_run.py", "test_plan.py"]
    place = {Path(__file__).with_name(name): i for i, name in enumerate(first)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


class Project:
    """A folder with the workflow and a config of its own; `environment`: variables that its runs have too."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder, self.environment = folder, environment

    def read(self) -> dict:
        return yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8"))

    def write(self, config: dict) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def snakemake(self, *words: str) -> subprocess.CompletedProcess:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | self.environment
        words = ("--cores", "2", *words)
        if {"--dry-run", "--unlock"} & set(words):
            return dry_run.run(words, self.folder, environment, seconds=900)
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *words],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip

    def run(self, *words: str) -> str:
        done = self.snakemake(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, *words: str) -> Counter:
        """Number of jobs per rule that a run would do now, rule `all` left out."""
        output = self.run("--dry-run", *words)
        if "Nothing to be done" in output:
            return Counter()
        table = output.split("Job stats:")[1].split("\n\n")[0]
        jobs = Counter({name: int(n) for name, n in re.findall(r"^(\w+)\s+(\d+)$", table, re.M)})
        del jobs["total"]
        jobs.pop("all", None)
        return jobs

    def results(self, *parts: str) -> Path:
        return self.folder.joinpath("results", "small", *parts)

    def copy(self, folder: Path) -> Project:
        """The same in another folder."""
        return Project(Path(shutil.copytree(self.folder, folder, symlinks=True)), self.environment)


@pytest.fixture(scope="session")
def warm_steps() -> Iterator[dict[str, str]]:
    """The environment of runs whose steps start as copies of one process that has loaded the libraries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_WAIT_POLICY", "passive")  # jobs of several threads share the cores with those of other tests
        with warm.served() as folder:
            yield {"PYTHONPATH": folder}


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id, warm_steps) -> Project:
    """The small project after a complete run."""
    return run_once(tmp_path_factory, worker_id, warm_steps, CONFIG)


@pytest.fixture(scope="session")
def wide_finished(tmp_path_factory, worker_id, warm_steps) -> Project:
    """The project of `WIDE` after a complete run."""
    return run_once(tmp_path_factory, worker_id, warm_steps, WIDE, "wide")


def run_once(tmp_path_factory, worker_id: str, environment, config: dict, name: str = "finished") -> Project:
    """A project after a complete run; made once, also when several workers share the tests."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    project = Project(shared / name, environment)
    with FileLock(shared / f"{name}.lock"):
        if not project.results("report.html").exists():
            shutil.rmtree(project.folder, ignore_errors=True)
            build(project.folder, config)
            project.run()
    return project


def write_inputs(folder: Path) -> None:
    """The files that `WIDE` reads: questions of texts, and masks of another project, per culture and layer."""
    import numpy as np
    import torch

    rows = [
        {"sample_id": f"t{i}", "question": f"Is {i} even ?", "options": ["yes", "no"], "label": i % 2, "group": "all"}
        for i in range(12)
    ]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    rng = np.random.default_rng(0)
    masks = [
        [torch.from_numpy(rng.permutation(LOADED["intermediate"])[: 3 + c]) for _ in range(LOADED["layers"])]
        for c in range(len(PUBLISHED))
    ]
    (folder / "published").mkdir()
    torch.save(masks, folder / "published" / "loaded.pth")


def build(folder: Path, config: dict = CONFIG, environment: Mapping[str, str] = MappingProxyType({})) -> Project:
    """A project with our workflow, the config, a model to load, and what else a config may read."""
    from culture_neurons.data.readers import synthetic
    from culture_neurons.models.demo import architectures

    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, folder / part)
    world = synthetic.world({"cultures": 3})
    model, processor = architectures.build("llava-next-mistral", world, seed=5, **LOADED)
    model.save_pretrained(folder / "models" / "loaded")
    processor.save_pretrained(folder / "models" / "loaded")
    write_inputs(folder)
    project = Project(folder, environment)
    project.write(config)
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished project, to change."""
    return finished.copy(tmp_path / "project")


@pytest.fixture
def wide(wide_finished, tmp_path) -> Project:
    """A copy of the finished project of `WIDE`, to change."""
    return wide_finished.copy(tmp_path / "project")
