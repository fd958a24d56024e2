"""Merging, scoring and choosing masks at the size of the paper: 2,000 samples of 25 cultures, Qwen2.5-VL-7B's shapes.

Statistics are made up, scattered as real ones are: K as a binomial number of the tokens, of which there are 800 to
1,400, but twice as wide, with a share for every neuron and culture; S as K times a mean that grows with depth. Jobs run
as in the workflow, each in a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.measure import Row, peak_memory, seconds
from culture_neurons import store
from culture_neurons.types import CULNIG

CONFIG = Path(__file__).resolve().parents[1] / "config/control.yaml"


@dataclass(frozen=True)
class Size:
    """How much there is."""

    samples: int = 2000
    cultures: int = 25
    layers: int = 28
    neurons: int = 18_944
    shards: int = 4


def run(size: Size | None = None) -> list[Row]:
    """All rows of this benchmark; takes 6 GB in the temporary folder."""
    size = size or Size()
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    bits = config["recording"]["mantissa_bits"]
    with tempfile.TemporaryDirectory() as name:
        folder, statistics = Path(name), Path(name) / "statistics.h5"
        shards = [folder / f"{k}.h5" for k in range(size.shards)]
        written = seconds(lambda: write(shards, size, bits, config["recording"]["negative_sum"]))
        merge = step("merge", "--shards", *shards, "--statistics-out", statistics)
        disk, plain = store.bytes_on_disk(statistics)
        read = seconds(lambda: store.read_statistics(statistics))
        added_up = sum(seconds(lambda path=path: store.read_statistics(path)) for path in shards)
        for path in shards:
            path.unlink()
        jobs = {name: select(folder, statistics, config, name) for name in by_statistics(config)}
    rows = [
        Row("samples made up and written", size.samples / written, "per s"),
        Row("statistics.h5", disk / 1e9, "GB", f"{disk / size.samples / 1e6:.2f} MB per sample"),
        Row("statistics.h5, of its plain arrays", 100 * disk / plain, "%", f"{bits} bits of mantissa; with totals"),
        Row("merge, with totals per culture", merge[0], "s", f"peak {merge[1]:.2f} GB"),
        Row("totals read", read, "s", f"added up from the samples: {added_up:.1f} s"),
    ]
    for name, job in jobs.items():
        note = f"{len(config['top_fractions'])} fractions; peak {job[1]:.2f} GB"
        rows.append(Row(f"{name}: select", job[0], "s", note))
    every = [merge, *jobs.values()]
    rows.append(Row("merge and all selectors, one job after the other", sum(time for time, _ in every), "s"))
    rows.append(Row("largest peak of memory", max(peak for _, peak in every), "GB"))
    return rows


def by_statistics(config: Mapping[str, Any]) -> list[str]:
    """Names of the selectors that choose by statistics: not by attribution, nor random masks of one that does."""
    given = {name: options or {} for name, options in config["selectors"].items()}
    attributed = {name for name, options in given.items() if options.get("method", name) in CULNIG}
    return [name for name, options in given.items() if not {name, options.get("match")} & attributed]


def step(name: str, *words: object) -> tuple[float, float]:
    """Seconds and peak memory (GB) of a step of the workflow."""
    return peak_memory([sys.executable, "-m", f"culture_neurons.steps.{name}", *map(str, words)])


def select(folder: Path, statistics: Path, config: Mapping[str, Any], name: str) -> tuple[float, float]:
    """Seconds and peak memory of the job that chooses by one selector of the config."""
    options = dict(config["selectors"][name] or {})
    method = options.pop("method", name)
    fractions = config["top_fractions"]
    chosen = ["--statistics", statistics, "--selector", method, "--options", json.dumps(options)]
    references = [folder / f"masks/{options['match']}_top{fraction}.parquet" for fraction in fractions
                  if "match" in options]  # fmt: skip
    masks = [folder / f"masks/{name}_top{fraction}.parquet" for fraction in fractions]
    return step("select", *chosen, "--top-fraction", *fractions, "--reference", *references,
                "--scores-out", folder / f"scores/{name}.h5", "--masks-out", *masks)  # fmt: skip


def write(shards: Sequence[Path], size: Size, mantissa_bits: int, negative_sum: bool = False) -> None:
    """Shards as `record` writes them; N, where wanted, is the other tokens times a tenth of the mean."""
    rng = np.random.default_rng(0)
    shape = size.layers, size.neurons
    usual = rng.beta(1, 3, shape)
    share = [np.clip(usual * np.exp(0.2 * rng.normal(size=shape)), 0, 1).astype("f4") for _ in range(size.cultures)]
    mean = np.exp(0.5 * rng.normal(size=shape) + np.linspace(-2, 1, size.layers)[:, None]).astype("f4")
    # A sample's noise is a piece of one long array, from a random place: to draw it would take longer than the rest.
    noise = rng.normal(size=4 * mean.size).astype("f4")

    def piece() -> np.ndarray:
        at = rng.integers(3 * mean.size)
        return noise[at : at + mean.size].reshape(shape)

    ids = [f"q{i:05}" for i in range(size.samples)]
    cultures = [f"culture {i % size.cultures:02}" for i in range(size.samples)]
    identity = {"model": "made up", "revision": "0", "dtype": "bfloat16", "token_rule": "all"}
    for k, path in enumerate(shards):
        mine = slice(k, None, len(shards))
        with store.statistics_writer(
            path, ids[mine], cultures[mine], "act_fn", *shape, identity, mantissa_bits, negative_sum
        ) as writer:
            for i in range(size.samples)[mine]:
                tokens = int(rng.integers(800, 1400))
                p = share[i % size.cultures]
                fired = np.clip(np.rint(tokens * p + 2 * np.sqrt(tokens * p * (1 - p)) * piece()), 0, tokens)
                positive_sum = fired * mean * np.exp(0.15 * piece())
                sums = [fired.astype(np.int32)[None], positive_sum[None]]
                if negative_sum:
                    sums.append(-0.1 * (tokens - fired)[None] * mean * np.exp(0.15 * piece()))
                writer.write([ids[i]], np.array([tokens]), *sums)
