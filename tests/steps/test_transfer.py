"""Masks of one run on the questions of another, against the step that asks them of their own run."""

import json

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.errors import FileError
from culture_neurons.steps import ablate, transfer


@pytest.fixture(scope="module")
def masks(base, tmp_path_factory):
    """Two mask files of a run called `other`, of the model in `base`."""
    folder = tmp_path_factory.mktemp("run") / "other/m/masks"
    _, answered = files.read_table(base / "m/predictions.parquet")
    paths, rng = [], np.random.default_rng(0)
    for selector in ("cas", "mad"):
        rows = [(c, "act_fn", int(n // 48), int(n % 48)) for c in ("Aldovia", "Zo") for n in rng.permutation(96)[:20]]
        table = pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron"])
        about = {"cultures": ["Aldovia", "Zo"], "layers": 2, "neurons": 48, "selector": selector, "step": "select"}
        about |= {key: answered[key] for key in ("model", "revision", "dtype")}
        paths.append(folder / f"{selector}_top0.2.parquet")
        files.write_table(paths[-1], table, about)
    return paths


def moved(step, base, masks, out, *more):
    names = ["--masks-of", "other", "--questions-of", "base"]
    step.run(transfer, *step.shared(base), "--masks", *masks, *names, "--answers-out", out, *more)
    return files.read_table(out)


def test_answers_are_those_of_ablation(step, base, masks, tmp_path):
    table, metadata = moved(step, base, masks, tmp_path / "t.parquet")
    step.run(ablate, *step.shared(base), "--masks", *masks, "--outcomes-out", tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(table, files.read_table(tmp_path / "a.parquet")[0])
    assert (metadata["masks_of"], metadata["questions_of"], metadata["model"]) == ("other", "base", "m")
    described = [(mask["selector_name"], mask["top_fraction"]) for mask in metadata["masks"]]
    assert described == [("cas", "0.2"), ("mad", "0.2")]
    assert set(table["mask_culture"]) == {"Aldovia", "Zo"}
    assert "select" in metadata["history"]["steps"]


def test_masks_of_another_model_or_shape_are_refused(step, base, masks, tmp_path):
    table, metadata = files.read_table(masks[0])
    path = tmp_path / "other/m/masks/cas_top0.2.parquet"
    files.write_table(path, table, metadata | {"revision": "r9"})
    with pytest.raises(FileError, match="made with model m at revision r9"):
        moved(step, base, [path], tmp_path / "t.parquet")
    files.write_table(path, table, metadata | {"neurons": 50})
    with pytest.raises(FileError, match=r"masks of 2 layers of 50 neurons; expected those of m: 2 of 48"):
        moved(step, base, [path], tmp_path / "t.parquet")


def test_the_prompt_is_that_of_the_run_that_is_asked(step, base, masks, tmp_path):
    prompt = ("--prompt", json.dumps({"instruction": "Say the letter."}))
    table, metadata = moved(step, base, masks[:1], tmp_path / "t.parquet", *prompt)
    plain, _ = moved(step, base, masks[:1], tmp_path / "u.parquet")
    assert metadata["settings"]["prompt"] == {"instruction": "Say the letter."}
    assert not np.allclose(np.stack(table["logprobs"]), np.stack(plain["logprobs"]))
