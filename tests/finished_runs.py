"""Small results folders, as a run leaves them: for whatever compares finished runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons import files

CULTURES = ("NA", "b", "c")
SHAPE = (2, 30)


def questions(cultures: Sequence[str] = CULTURES, per: int = 8, start: int = 0) -> pd.DataFrame:
    """samples.parquet: `per` evaluate questions of each culture, two of each image, and two identify questions."""
    rows = [
        (f"q{start + len(cultures) * i + c:03d}", culture, "identify" if i < 2 else "evaluate", 1, f"i{c}-{i // 2}")
        for c, culture in enumerate(cultures) for i in range(per + 2)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["sample_id", "culture", "split", "label", "image_id"])


def answers(samples: pd.DataFrame, rng: np.random.Generator, shift: np.ndarray | float = 0.0) -> pd.DataFrame:
    """Answers among three options; `shift` is added to the score of the right one [question]."""
    scores = rng.normal(0, 1, (len(samples), 3))
    scores[:, 1] += shift
    prediction = scores.argmax(axis=1)
    return samples[["sample_id", "culture", "split"]].assign(
        prediction=prediction, correct=prediction == samples["label"].to_numpy(), well_formed=True,
        logprobs=[row for row in scores],
    )  # fmt: skip


def write(
    folder: Path,
    seed: int = 0,
    samples: pd.DataFrame | None = None,
    models: Mapping[str, str] = {"m": "r1"},
    selectors: Sequence[str] = ("cas", "random-matched"),
    fractions: Sequence[str] = ("0.1",),
    shape: tuple[int, int] = SHAPE,
    prompt: Mapping[str, Any] | None = None,
) -> Path:
    """A results folder. Own masks lower the right option's score by 2; the masks of `random-matched` change little.

    models   name -> revision
    """
    samples = questions() if samples is None else samples
    cultures = sorted(samples["culture"].unique())
    rng = np.random.default_rng(seed)
    files.write_table(folder / "samples.parquet", samples, {"images": {"type": "none"}, "step": "prepare"})
    for model, revision in models.items():
        identity = {"model": model, "revision": revision, "dtype": "float32", "step": "gather_answers", "code": "c"}
        settings = {"settings": {"prompt": dict(prompt or {}), "model": {"name": model}}}
        base = answers(samples, rng, 1.5)
        files.write_table(folder / model / "predictions.parquet", base, identity | settings)
        evaluate = samples[samples["split"] == "evaluate"]
        scores = np.stack(base.loc[evaluate.index, "logprobs"])
        for selector in selectors:
            for fraction in fractions:
                described = {"cultures": cultures, "layers": shape[0], "neurons": shape[1], "selector": selector,
                             "top_fraction": fraction, "options": {}}  # fmt: skip
                size = max(1, round(float(fraction) * shape[0] * shape[1]))
                rows = [
                    (c, "act_fn", int(n // shape[1]), int(n % shape[1]))
                    for c in cultures for n in rng.permutation(shape[0] * shape[1])[:size]
                ]  # fmt: skip
                mask = pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron"])
                name = f"{selector}_top{fraction}.parquet"
                files.write_table(folder / model / "masks" / name, mask, described | identity | {"step": "select"})
                parts = []
                for culture in cultures:
                    masked = scores + rng.normal(0, 0.1, scores.shape)
                    if selector == "cas":
                        masked[:, 1] -= 2.0 * (evaluate["culture"] == culture).to_numpy()
                    prediction = masked.argmax(axis=1)
                    parts.append(evaluate[["sample_id", "culture"]].assign(
                        mask_culture=culture, prediction=prediction, correct=prediction == 1, well_formed=True,
                        logprobs=[row for row in masked],
                    ))  # fmt: skip
                outcome = pd.concat(parts, ignore_index=True)
                about = identity | {"step": "gather_outcomes", "mask": described}
                files.write_table(folder / model / "ablation" / name, outcome, about)
    config = {"dataset": folder.name, "models": {m: {"path": f"models/{m}"} for m in models}, "selectors": {},
              "prompt": dict(prompt or {})}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({"config": config}), encoding="utf-8")
    return folder
