"""An untrained model, questions and its predictions, for the steps that need a model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from culture_neurons.data.readers import synthetic
from culture_neurons.data.samples import write_samples
from culture_neurons.models.demo import architectures
from culture_neurons.steps import gather_answers, infer, record

SIZES = {"layers": 2, "hidden": 32, "intermediate": 48, "vision_layers": 1, "vision_hidden": 32}


def run(step, *words) -> None:
    """Run a step with a command line, in this process."""
    step.main(step.arguments().parse_args([str(word) for word in words]))


def shared(folder: Path, batch_size: int = 8, name: str = "m") -> list:
    """Arguments that all steps with a model take."""
    model = json.dumps({"name": name, "path": str(folder / "model")})
    return ["--samples", folder / "samples.parquet", "--model", model, "--batch-size", batch_size]


def recorded(folder: Path, target: Path, *more, batch_size: int = 8) -> Path:
    """Run record."""
    predictions = ["--predictions", folder / "m/predictions.parquet", "--min-correct", 1]
    run(record, *shared(folder, batch_size), *predictions, *more, "--statistics-out", target)
    return target


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A folder with samples.parquet, a model, and the predictions of m, which is its name."""
    folder = tmp_path_factory.mktemp("steps")
    source = synthetic.read({"cultures": 3, "samples_per_culture": 24})
    rows = source.rows.assign(split=["identify", "evaluate"] * (len(source.rows) // 2)).sort_values("sample_id")
    rows = rows.assign(width=None, height=None)
    write_samples(folder / "samples.parquet", rows, {"images": source.images})
    model, processor = architectures.build("llava-next-qwen2", seed=3, **SIZES)
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    run(infer, *shared(folder), "--answers-out", folder / "answers.parquet")
    run(gather_answers, "--shards", folder / "answers.parquet", "--out", folder / "m/predictions.parquet")
    return folder


@pytest.fixture(scope="session")
def step() -> SimpleNamespace:
    """The functions above, for tests that can't import this file."""
    return SimpleNamespace(run=run, shared=shared, recorded=recorded)
