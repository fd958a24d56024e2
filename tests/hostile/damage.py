"""Damages files between steps, bit by bit, and counts what a reader says. A program, so that a crash is seen too:

python tests/hostile/damage.py folder number [first]    number of damages per file (0: every bit, and every length)
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons import files, store
from culture_neurons.data import samples
from culture_neurons.errors import FileError

IDENTITY = {"model": "m", "revision": "r", "dtype": "float32", "token_rule": "all", "mantissa_bits": 23}


def make(folder: Path) -> dict[str, tuple[Path, Callable[[], Any]]]:
    """Small files of every kind, with what reads them."""
    rng = np.random.default_rng(0)
    n, shape = 24, (2, 40)
    ids, cultures = [f"q{i:02d}" for i in range(n)], [["日本", "-x", "a"][i % 3] for i in range(n)]
    rows = pd.DataFrame({
        "sample_id": ids, "culture": cultures, "category": "dish", "question": [f"Which, {i}?" for i in range(n)],
        "options": [["x", "y"]] * n, "label": 0, "image": [{"bytes": rng.bytes(50)} for _ in range(n)],
        "image_id": ids, "width": 3, "height": 2, "split": ["identify", "evaluate"] * (n // 2), "a.b": "z",
    })  # fmt: skip
    samples.write_samples(folder / "samples.parquet", rows, {"images": {"type": "embedded"}, "code": "0"})
    answers = pd.DataFrame({
        "sample_id": ids, "culture": cultures, "prediction": rng.integers(-1, 4, n), "correct": rng.random(n) < 0.5,
        "logprobs": list(rng.normal(size=(n, 4)).astype(np.float32)),
    })  # fmt: skip
    files.write_table(folder / "predictions.parquet", answers, IDENTITY)
    mask = pd.DataFrame({"culture": cultures, "site": "act_fn", "layer": 1, "neuron": range(n), "score": rng.random(n)})
    files.write_table(folder / "mask.parquet", mask, {**IDENTITY, "cultures": sorted(set(cultures)), "layers": 2})
    fired, totals = rng.integers(0, 300, (n, *shape)), rng.exponential(size=(n, *shape)).astype(np.float32)
    for k in range(2):
        part = slice(k, None, 2)
        with store.statistics_writer(
            folder / f"shard{k}.h5", ids[part], cultures[part], "act_fn", *shape, IDENTITY, negative_sum=True
        ) as writer:
            writer.write(ids[part], np.full(n // 2, 300), fired[part], totals[part], -totals[part] / 3)
    shards = [folder / "shard0.h5", folder / "shard1.h5"]
    store.merge_statistics(shards, folder / "merged.h5", {})
    store.write_scores(folder / "scores.h5", rng.normal(size=(3, *shape)), ["a", "b", "日本"], "act_fn", IDENTITY)
    scratch = folder / "scratch.h5"

    def merge() -> Any:
        store.merge_statistics(shards, scratch, {})
        return store.read_statistics(scratch)

    def label() -> Any:
        return files.read_table(folder / "samples.parquet", ["sample_id", "label", "a.b"], only=True)

    return {
        "samples": (folder / "samples.parquet", lambda: samples.read_samples(folder / "samples.parquet")[0]),
        "labels": (folder / "samples.parquet", label),
        "predictions": (folder / "predictions.parquet", lambda: files.read_table(folder / "predictions.parquet")),
        "mask": (folder / "mask.parquet", lambda: files.read_table(folder / "mask.parquet")),
        "shard": (folder / "shard0.h5", lambda: store.read_statistics(folder / "shard0.h5")),
        "merge": (folder / "shard0.h5", merge),
        "merged": (folder / "merged.h5", lambda: store.read_statistics(folder / "merged.h5")),
        "scores": (folder / "scores.h5", lambda: store.read_scores(folder / "scores.h5")),
    }


def plain(value: Any) -> Any:
    """What a reader gave, in a form that can be compared and has every bit of it."""
    if isinstance(value, pd.DataFrame):
        return [list(value), [str(kind) for kind in value.dtypes], plain(value.to_numpy(dtype=object).tolist())]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, value.tobytes()]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return plain(vars(value)) if hasattr(value, "__dataclass_fields__") else repr(value)


def damages(good: bytes, number: int) -> Iterator[tuple[str, bytes]]:
    """Damaged copies: half are single bits, the others bytes, runs of zeros or ones, and ends that are cut off."""
    if not number:
        for bit in range(8 * len(good)):
            yield f"bit {bit}", flipped(good, bit // 8, 1 << bit % 8)
        for end in range(len(good)):
            yield f"end {end}", good[:end]
        return
    rng = np.random.default_rng(len(good))
    for i in range(number):
        at = int(rng.integers(len(good)))
        if i % 2:
            yield f"bit {at}", flipped(good, at, 1 << int(rng.integers(8)))
        elif i % 8 == 0:
            yield f"byte {at}", flipped(good, at, int(rng.integers(1, 256)))
        elif i % 8 == 2:
            size = int(rng.choice([2, 8, 64, 512]))
            run = (b"\0", b"\xff")[int(rng.integers(2))] * min(size, len(good) - at)
            yield f"run {at}", good[:at] + run + good[at + len(run) :]
        elif i % 8 == 4:
            yield f"swap {at}", good[:at] + good[at + 2 : at + 4] + good[at : at + 2] + good[at + 4 :]
        else:
            yield f"end {at}", good[:at]


def flipped(good: bytes, at: int, mask: int) -> bytes:
    bad = bytearray(good)
    bad[at] ^= mask
    return bytes(bad)


def count(path: Path, read: Callable[[], Any], number: int) -> dict[str, Any]:
    """How many damages were found, changed nothing that is read, or changed it unseen; and what else came."""
    good, expected = path.read_bytes(), plain(read())
    counts: Counter[str] = Counter()
    wrong = []
    for what, bad in damages(good, number):
        if bad == good:
            continue
        path.write_bytes(bad)
        try:
            result = "same" if plain(read()) == expected else "changed"
        except FileError as error:
            text = str(error)
            result = "found" if str(path) in text and "rebuild it: rm " in text and "\n" not in text else "unclear"
        except Exception as error:
            result = repr(error)
        counts[result] += 1
        if result not in ("found", "same"):
            wrong.append(what)
    path.write_bytes(good)
    return {**counts, "where": wrong[:20]}


if __name__ == "__main__":
    made = make(Path(sys.argv[1]))
    chosen = sys.argv[3:] or list(made)
    print(json.dumps({name: count(*made[name], int(sys.argv[2])) for name in chosen}, indent=1))
