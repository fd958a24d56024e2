"""How the engine's time and the naive loop's grow with masks, questions, layers and tokens: slopes."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks import naive
from benchmarks.measure import Row, interleaved, seconds, slope
from culture_neurons.data import images
from culture_neurons.data.readers import synthetic
from culture_neurons.models import loading
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.batching import batches, run_batches
from culture_neurons.models.demo import architectures
from culture_neurons.models.inputs import Opener, Prompt, count_tokens, render
from culture_neurons.models.loading import Loaded
from culture_neurons.types import NeuronMask, Sample

PROMPT = Prompt()
BASE = {"masks": 8, "questions": 64, "layers": 4, "words": 0}
AXES = {"masks": (2, 8, 16, 32), "questions": (32, 64, 128, 256), "layers": (2, 4, 8, 12), "words": (0, 30, 80, 160)}
#: The loop's cost is that of a question and a mask, times their number: so many are timed.
LOOP = 6
RUNS = 3


def run() -> list[Row]:
    """All rows of this benchmark."""
    source = synthetic.read({"samples_per_culture": 32})
    opener = images.opener(source.images)
    samples = [
        Sample(r.sample_id, r.culture, r.category, r.question, tuple(r.options), int(r.label), "evaluate", r.image,
               r.image_id)
        for r in source.rows.itertuples()
    ]  # fmt: skip
    rows = []
    for axis, values in AXES.items():
        rows += growth(axis, values, samples, opener)
    return rows


def growth(axis: str, values: Sequence[int], samples: Sequence[Sample], opener: Opener) -> list[Row]:
    """Time of the whole evaluation along one axis, the others at their base: a line for each way."""
    x, engine, loop = [], [], []
    for value in values:
        at = BASE | {axis: value}
        loaded = _model(at["layers"])
        asked = [_longer(s, at["words"]) for s in samples[: at["questions"]]]
        masks = _masks(at["masks"], at["layers"])
        found = interleaved({
            "engine": partial(seconds, partial(_engine, loaded, asked, opener, masks)),
            "loop": partial(seconds, partial(naive.evaluate, loaded, asked[:LOOP], opener, PROMPT, masks[:1])),
        }, RUNS)  # fmt: skip
        x.append(float(count_tokens(loaded, render(loaded, asked, PROMPT)).mean()) if axis == "words" else float(value))
        engine.append(statistics.median(found["engine"]))
        loop.append(statistics.median(found["loop"]) * len(asked) * len(masks) / LOOP)
    unit = {"masks": "mask", "questions": "question", "layers": "layer", "words": "token of each prompt"}[axis]
    rest = ", ".join(f"{n} {key}" for key, n in BASE.items() if key not in (axis, "words"))
    rows = []
    for way, y in (("engine", engine), ("naive loop", loop)):
        rise, fixed = slope(x, y)
        note = f"{rest}; {x[0]:.0f} to {x[-1]:.0f}, fixed {1e3 * fixed:.0f} ms, r² {np.corrcoef(x, y)[0, 1] ** 2:.3f}"
        rows.append(Row(f"{way}: per further {unit}", 1e3 * rise, "ms", note))
    return rows


def _engine(loaded: Loaded, samples: Sequence[Sample], opener: Opener, masks: Sequence[NeuronMask]) -> None:
    with evaluator(loaded, masks, PROMPT) as evaluate:
        list(run_batches(loaded, batches(loaded, samples, PROMPT, 64), opener, PROMPT, evaluate))


def _model(layers: int) -> Loaded:
    """An untrained model of the demo's size."""
    with tempfile.TemporaryDirectory() as folder:
        model, processor = architectures.build("llava-next-mistral", seed=1, layers=layers)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        return loading.load({"name": f"untrained, {layers} layers", "path": folder})


def _masks(n: int, layers: int) -> list[NeuronMask]:
    """One neuron of a hundred, at random places of all layers."""
    rng = np.random.default_rng(0)
    size = max(layers, 256 * layers // 100)
    return [
        NeuronMask(f"c{i}", "act_fn", np.arange(size) % layers, rng.choice(256, size, replace=size > 256))
        for i in range(n)
    ]


def _longer(sample: Sample, words: int) -> Sample:
    """The same question with more words in it."""
    known = sample.question.split()
    return replace(sample, question=" ".join([*known, *(known[i % len(known)] for i in range(words))]))
