"""How stable masks are, at the size of the paper: the job `stability` on the statistics that `scoring` makes up.

Few draws are run, in jobs of their own, and the time of a thousand is extrapolated: every draw does the same work.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from benchmarks import scoring
from benchmarks.measure import Row, peak_memory
from culture_neurons import files, selectors

#: Draws and halves of the jobs that are timed, and cores.
FEW, MANY, HALVES, THREADS = 16, 64, 4, 2
#: Those of a whole job: the defaults of `evidence: resamples` and `split_halves`.
DRAWS, ALL_HALVES = 1000, 20


def run(size: scoring.Size | None = None) -> list[Row]:
    """All rows of this benchmark; takes 12 GB in the temporary folder."""
    size = size or scoring.Size()
    config = yaml.safe_load(scoring.CONFIG.read_text(encoding="utf-8"))
    able = {name: dict(config["selectors"][name] or {}) for name in scoring.by_statistics(config)}
    methods = {name: options.pop("method", name) for name, options in able.items()}
    judged = {name: {"method": methods[name], "options": options} for name, options in able.items()
              if not selectors.resolve(methods[name]).control}  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run/m"
        folder.mkdir(parents=True)
        statistics = folder / "statistics.h5"
        shard = folder / "0.h5"
        scoring.write([shard], size, config["recording"]["mantissa_bits"], config["recording"]["negative_sum"])
        scoring.step("merge", "--shards", shard, "--statistics-out", statistics)
        shard.unlink()
        ids = [f"q{i:05}" for i in range(size.samples)]
        # Only images matter here: every question has one.
        table = pd.DataFrame({"sample_id": ids, "culture": "", "image_id": [f"{int(i[1:]) // 50}" for i in ids]})
        files.write_table(folder / "samples.parquet", table, {})
        for selector in judged:
            scoring.select(folder, statistics, config, selector)
        masks = [folder / f"masks/{selector}_top{fraction}.parquet"
                 for selector in judged for fraction in config["top_fractions"]]  # fmt: skip

        def job(draws: int, halves: int) -> tuple[float, float]:
            return stability(folder, ["--statistics", statistics, "--selectors", json.dumps(judged), "--masks", *masks,
                                      "--resamples", draws, "--split-halves", halves])  # fmt: skip

        few, many, split = job(FEW, 0), job(MANY, 0), job(FEW, HALVES)
    per_draw, per_half = (many[0] - few[0]) / (MANY - FEW), (split[0] - few[0]) / HALVES
    fixed = few[0] - FEW * per_draw
    whole = fixed + DRAWS * per_draw + ALL_HALVES * per_half
    what = f"{len(judged)} selectors, {len(config['top_fractions'])} fractions, {THREADS} threads"
    return [
        Row("a bootstrap draw", per_draw, "s", f"{what}; {MANY} draws less {FEW}"),
        Row("a pair of halves", per_half, "s", f"{HALVES} of them"),
        Row("unpacking the sums, reading and writing", fixed, "s"),
        Row(f"{DRAWS:,} draws and {ALL_HALVES} halves", whole / 60, "min", "extrapolated"),
        Row("peak of memory", max(few[1], many[1], split[1]), "GB", f"with {MANY} draws"),
    ]


def stability(folder: Path, words: Sequence[object]) -> tuple[float, float]:
    """Seconds and peak memory of a job."""
    outputs = ["--neurons-out", folder / "stability.parquet", "--cultures-out", folder / "cultures.parquet"]
    command = [sys.executable, "-m", "culture_neurons.steps.stability", "--samples", folder / "samples.parquet",
               "--threads", THREADS, *words, *outputs]  # fmt: skip
    return peak_memory([str(word) for word in command])
