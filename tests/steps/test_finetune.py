import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from culture_neurons import files
from culture_neurons.data.samples import read_samples
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.models.finetuning import updates
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.loading import load
from culture_neurons.selectors import module_choice
from culture_neurons.steps import finetune, infer, infer_finetuned

pytestmark = pytest.mark.workflow

TRAINING = {
    "method": "lora", "lora": {"rank": 2, "alpha": 4, "dropout": 0}, "steps": 4, "batch_size": 6,
    "learning_rate": 0.01, "held_out": 0.25, "limit": None,
}  # fmt: skip
UNITS = {"gate_proj": 48, "q_proj": 32, "k_proj": 16, "v_proj": 16}


@pytest.fixture(scope="module")
def mask(base, tmp_path_factory):
    """A mask of two cultures: gate_proj is richest in layer 1, q_proj in layer 0, the others are empty."""
    path = tmp_path_factory.mktemp("mask") / "mask.parquet"
    rows = [("a", "gate_proj", 1, 3), ("b", "gate_proj", 1, 4), ("b", "gate_proj", 0, 4), ("a", "q_proj", 0, 31)]
    table = pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron"])
    _, metadata = files.read_table(base / "m/predictions.parquet")
    identity = {key: metadata[key] for key in ("model", "revision")}
    more = {
        "step": "select_units",
        "cultures": ["a", "b"],
        "layers": 2,
        "neurons": UNITS,
        "selector": "culnig-general",
    }
    files.write_table(path, table, {**identity, **more, "top_fraction": "0.01"})
    return path


def tuned(step, base, mask, folder, choice="richest", seed=1, modules=2, more=(), **training):
    given = ["--mask", mask, "--modules", modules, "--choice", choice, "--seed", seed]
    out = ["--update-out", folder / "update.safetensors", "--training-out", folder / "training.json"]
    step.run(finetune, *step.shared(base), *given, "--training", json.dumps(TRAINING | training), *more, *out)
    return files.read_json(folder / "training.json")


def ask(step, base, folder, sets, more=()):
    outs = [folder / f"{name}.parquet" for name in sets]
    shared = step.shared(base)[2:]  # without --samples
    words = ["--samples", *sets.values(), "--update", folder / "update.safetensors", "--answers-out", *outs]
    step.run(infer_finetuned, *shared, *words, *more)
    return {name: files.read_table(out) for name, out in zip(sets, outs, strict=True)}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("richest", [("gate_proj", 1), ("q_proj", 0)]), ("poorest", [("gate_proj", 0), ("q_proj", 1)])],
)
def test_the_chosen_modules_are_trained_and_noted(base, mask, tmp_path, step, choice, expected):
    training = tuned(step, base, mask, tmp_path, choice)
    assert [(m["site"], m["layer"]) for m in training["modules"]] == expected
    assert {m["site"]: m["units"] for m in training["modules"]} == {"gate_proj": 48, "q_proj": 32}
    chosen = [m["chosen"] for m in training["modules"]]
    assert chosen == {"richest": [2, 1], "poorest": [1, 0]}[choice]
    assert training["parameters"] == 2 * (32 + 48) + 2 * (32 + 32)
    assert len(training["loss"]) == 4
    assert training["questions"] + training["held_out"]["n"] == 72
    assert training["held_out"]["n"] == 18
    assert training["history"].keys() == {"select_units"}
    names = set(load_file(tmp_path / "update.safetensors"))
    modules = [f"layers.{i}.{'mlp' if s == 'gate_proj' else 'self_attn'}.{s}" for s, i in expected]
    assert len(names) == 4
    assert all(any(module in name for module in modules) for name in names)


def test_options_may_be_texts(base, mask, tmp_path, step):
    """They are trained as they are asked, and asked again so."""
    prompt = ["--prompt", json.dumps({"answer": "options", "neutral": ""})]
    step.run(infer, *step.shared(base), *prompt, "--answers-out", tmp_path / "before.parquet")
    held_out = tuned(step, base, mask, tmp_path, more=prompt, steps=40)["held_out"]
    ask(step, base, tmp_path, {base.name: base / "samples.parquet"}, prompt)
    samples = read_samples(base / "samples.parquet")[0]
    _, judge = module_choice.split_held_out([s.sample_id for s in samples], 0.25)
    label = {samples[i].sample_id: samples[i].label for i in judge}
    before, after = (
        files.read_table(tmp_path / f"{name}.parquet")[0].set_index("sample_id") for name in ("before", base.name)
    )
    assert held_out["accuracy_before"] == pytest.approx(before.loc[list(label), "correct"].mean())
    losses = [-before["logprobs"][sample_id][right] for sample_id, right in label.items()]
    assert held_out["loss_before"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert held_out["loss_after"] < held_out["loss_before"]
    assert all(np.isclose(np.exp(logprobs).sum(), 1) for logprobs in after["logprobs"])
    shown = before.loc[after.index]
    assert not np.allclose(np.stack(after["logprobs"]), np.stack(shown["logprobs"]), atol=1e-3)


def test_accuracy_is_that_of_the_held_out_questions(base, mask, tmp_path, step):
    held_out = tuned(step, base, mask, tmp_path, steps=40)["held_out"]
    samples, _ = read_samples(base / "samples.parquet")
    _, judge = module_choice.split_held_out([s.sample_id for s in samples], 0.25)
    shown, _ = files.read_table(base / "m/predictions.parquet")
    mine = shown.set_index("sample_id").loc[[samples[i].sample_id for i in judge]]
    assert held_out["accuracy_before"] == pytest.approx(mine["correct"].mean())
    right = [row.logprobs[samples[i].label] for i, row in zip(judge, mine.itertuples(), strict=True)]
    assert held_out["loss_before"] == pytest.approx(-np.mean(right), rel=1e-4)
    assert held_out["loss_after"] < held_out["loss_before"]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_answers_are_those_of_the_updated_model(base, mask, tmp_path, step, method):
    tuned(step, base, mask, tmp_path, method=method)
    other = tmp_path / "run/sets/again/samples.parquet"
    other.parent.mkdir(parents=True)
    shutil.copy(base / "samples.parquet", other)
    sets = {base.name: base / "samples.parquet", "again": other}
    answers_by_set = ask(step, base, tmp_path, sets)
    table, metadata = answers_by_set[base.name]
    assert (metadata["set"], metadata["rows"], metadata["model"]) == (base.name, 36, "m")
    assert set(metadata["history"]) == {"finetune", "select_units"}
    assert table.equals(answers_by_set["again"][0])
    shown, _ = files.read_table(base / "m/predictions.parquet")
    shown = shown[shown["split"] == "evaluate"].reset_index(drop=True)
    assert table[["sample_id", "culture", "split"]].equals(shown[["sample_id", "culture", "split"]])
    assert not np.allclose(np.stack(table["logprobs"]), np.stack(shown["logprobs"]), atol=1e-4)
    # By hand: the weights of a second copy of the model, changed in place.
    loaded = load({"name": "m", "path": str(base / "model")})
    tensors, _ = updates.read(tmp_path / "update.safetensors")
    for name, values in tensors.items():
        if method == "full":
            loaded.model.get_parameter(name).data.copy_(values)
        elif "lora_A" in name:
            key = name.removeprefix("base_model.model.").replace(".lora_A", "")
            loaded.model.get_parameter(key).data += 4 / 2 * tensors[name.replace("lora_A", "lora_B")] @ values
    samples, opener = read_samples(base / "samples.parquet", "evaluate")
    for start in range(0, len(samples), 12):
        batch = prepare(loaded, samples[start : start + 12], opener, Prompt())
        expected = np.stack([a.logprobs for a in answer(loaded, batch, Prompt())])
        np.testing.assert_allclose(np.stack(table["logprobs"][start : start + 12]), expected, atol=2e-4)


def test_same_seed_same_files(base, mask, tmp_path, step):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        tuned(step, base, mask, tmp_path / name, "random", seed)
    a, b, c = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in "abc")
    assert a == b
    assert all(a[name] != c[name] for name in a)


def test_files_of_another_run_are_refused(base, mask, tmp_path, step):
    table, metadata = files.read_table(mask)
    other = tmp_path / "other.parquet"
    files.write_table(other, table, metadata | {"revision": "older"})
    with pytest.raises(FileError, match="made with model m at revision older"):
        tuned(step, base, other, tmp_path)
    files.write_table(other, table, metadata | {"neurons": 48})
    with pytest.raises(FileError, match="no mask at projections"):
        tuned(step, base, other, tmp_path)
    with pytest.raises(ConfigError, match="modules: 3 of 2 sites"):
        tuned(step, base, mask, tmp_path, modules=3)
    with pytest.raises(ConfigError, match="--training: expected method, lora, steps"):
        tuned(step, base, mask, tmp_path, method="all")
    assert [p.name for p in tmp_path.iterdir()] == ["other.parquet"]
    tuned(step, base, mask, tmp_path)
    tensors, metadata = updates.read(tmp_path / "update.safetensors")
    loaded = load({"name": "m", "path": str(base / "model")})
    for change, message in (({"revision": "older"}, "revision older"), ({"dtype": "bfloat16"}, "made in bfloat16")):
        with updates.attach(loaded, [tuple(m) for m in metadata["modules"]], updates.Lora(2, 4)) as parts:
            updates.apply(parts, tensors, "")
            updates.write(tmp_path / "update.safetensors", parts, metadata | change)
        with pytest.raises(FileError, match=message):
            ask(step, base, tmp_path, {base.name: base / "samples.parquet"})
