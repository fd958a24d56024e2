"""infer, record, merge and ablate on an untrained model: files in, files out."""

import json
from pathlib import Path

import numpy as np
import pytest

from culture_neurons import files, store
from culture_neurons.data import synthetic
from culture_neurons.data.samples import write_samples
from culture_neurons.errors import ConfigError, DataError, FileError
from culture_neurons.models import demo
from culture_neurons.steps import ablate, infer, merge, record

SIZES = {"layers": 2, "hidden": 32, "intermediate": 48, "vision_layers": 1, "vision_hidden": 32}


def run(step, *words) -> None:
    step.main(step.arguments().parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A folder with samples.parquet, a model, and its predictions."""
    folder = tmp_path_factory.mktemp("steps")
    source = synthetic.read({"cultures": 3, "samples_per_culture": 24})
    rows = source.rows.assign(split=["identify", "evaluate"] * (len(source.rows) // 2)).sort_values("sample_id")
    write_samples(folder / "samples.parquet", rows, {"images": source.images})
    model, processor = demo.build("llava-next-qwen2", seed=3, **SIZES)
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    run(infer, *shared(folder), "--predictions-out", folder / "predictions.parquet")
    return folder


def shared(folder, batch_size=8, name="m"):
    model = json.dumps({"name": name, "path": str(folder / "model")})
    return ["--samples", folder / "samples.parquet", "--model", model, "--batch-size", batch_size]


def recorded(base, target, *more, batch_size=8):
    run(record, *shared(base, batch_size), "--predictions", base / "predictions.parquet",
        "--min-correct", 1, *more, "--statistics-out", target)  # fmt: skip
    return target


def mask_file(base, path, rows, cultures, revision=None):
    import pandas as pd

    _, metadata = files.read_table(base / "predictions.parquet")
    table = pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron"])
    table = table.astype({"layer": "int64", "neuron": "int64"}).assign(score=1.0, rank=1)
    meta = {"model": "m", "revision": revision or metadata["revision"], "cultures": cultures}
    files.write_table(path, table, meta)
    return path


def test_predictions_have_every_sample_once_and_say_what_made_them(base):
    table, metadata = files.read_table(base / "predictions.parquet")
    samples, _ = files.read_table(base / "samples.parquet")
    assert table["sample_id"].tolist() == sorted(samples["sample_id"])
    merged = table.merge(samples[["sample_id", "label"]], on="sample_id")
    np.testing.assert_array_equal(merged["correct"], merged["prediction"] == merged["label"])
    assert all(sorted(order) == [0, 1, 2, 3] for order in table["option_order"])
    assert all(len(p) == 4 and (np.asarray(p) < 0).all() for p in table["logprobs"])
    assert metadata["model"] == "m"
    assert len(metadata["revision"]) == 12
    assert metadata["step"] == "infer"
    assert not any("batch" in key or "thread" in key for key in metadata["settings"])


def test_statistics_hold_the_correct_identify_samples_and_nothing_else(base, tmp_path):
    recorded(base, tmp_path / "s.h5", "--token-rule", "content")
    table, _ = files.read_table(base / "predictions.parquet")
    chosen = table[table["correct"] & (table["split"] == "identify")]
    statistics, metadata = store.read_statistics(tmp_path / "s.h5")
    assert metadata["samples"] == chosen["culture"].value_counts().to_dict()
    assert metadata["token_rule"] == "content"
    assert statistics.fired.shape == (chosen["culture"].nunique(), 2, 48)


def test_shards_and_batch_sizes_change_no_count(base, tmp_path):
    whole = recorded(base, tmp_path / "whole.h5", batch_size=16)
    shards = [recorded(base, tmp_path / f"{k}.h5", "--shard", k, "--shards", 3, batch_size=3 + k) for k in range(3)]
    run(merge, "--shards", *shards, "--statistics-out", tmp_path / "merged.h5")
    run(merge, "--shards", whole, "--statistics-out", tmp_path / "one.h5")
    merged, one = (store.read_statistics(tmp_path / name)[0] for name in ("merged.h5", "one.h5"))
    np.testing.assert_array_equal(merged.fired, one.fired)
    np.testing.assert_array_equal(merged.tokens, one.tokens)
    np.testing.assert_allclose(merged.positive_sum, one.positive_sum, rtol=1e-5, atol=1e-6)


def test_culture_with_too_few_correct_answers_is_left_out(base, tmp_path, caplog):
    table, _ = files.read_table(base / "predictions.parquet")
    right = table[table["correct"] & (table["split"] == "identify")]["culture"].value_counts()
    assert right.nunique() > 1, "the model must do worse on one culture for this test"
    with caplog.at_level("WARNING"):
        recorded(base, tmp_path / "s.h5", "--min-correct", int(right.min()) + 1)
    statistics, _ = store.read_statistics(tmp_path / "s.h5")
    assert set(statistics.cultures) == set(right[right > right.min()].index)
    assert repr(right.idxmin()) in caplog.text


def test_no_culture_with_enough_correct_answers(base, tmp_path):
    with pytest.raises(DataError, match=r"0 of 3 cultures have 1000 or more correct answers"):
        recorded(base, tmp_path / "s.h5", "--min-correct", 1000)
    assert not (tmp_path / "s.h5").exists()


def test_shard_out_of_range(base, tmp_path):
    with pytest.raises(ConfigError, match="shard 3 of 3"):
        recorded(base, tmp_path / "s.h5", "--shard", 3, "--shards", 3)


def test_outcomes_cover_every_mask_and_evaluate_question(base, tmp_path):
    samples, _ = files.read_table(base / "samples.parquet")
    cultures = sorted(set(samples["culture"]))
    everything = [(cultures[0], "act_fn", layer, n) for layer in range(2) for n in range(48)]
    first = mask_file(base, tmp_path / "first.parquet", everything, cultures)
    second = mask_file(base, tmp_path / "second.parquet", [(cultures[1], "act_fn", 0, 3)], cultures)
    outs = [tmp_path / "out1.parquet", tmp_path / "out2.parquet"]
    run(ablate, *shared(base), "--masks", first, second, "--outcomes-out", *outs)
    predictions, _ = files.read_table(base / "predictions.parquet")
    evaluate = predictions[predictions["split"] == "evaluate"].set_index("sample_id").sort_index()
    for out, touched in zip(outs, cultures[:2], strict=True):
        table, metadata = files.read_table(out)
        assert len(table) == len(cultures) * len(evaluate)
        assert metadata["mask"]["cultures"] == cultures
        for culture, group in table.groupby("mask_culture"):
            group = group.set_index("sample_id")
            assert group.index.tolist() == evaluate.index.tolist()
            same = np.allclose(np.stack(group["logprobs"]), np.stack(evaluate["logprobs"]), atol=1e-5)
            assert same == (culture != touched)


def test_files_of_another_model_revision_are_refused(base, tmp_path):
    mask = mask_file(base, tmp_path / "m.parquet", [("a", "act_fn", 0, 3)], ["a"], revision="older")
    with pytest.raises(FileError, match=r"m\.parquet: made with model m at revision older") as error:
        run(ablate, *shared(base), "--masks", mask, "--outcomes-out", tmp_path / "out.parquet")
    assert len(str(error.value).splitlines()) == 2
    with pytest.raises(FileError, match="but this run has other"):
        run(record, *shared(base, name="other"), "--predictions", base / "predictions.parquet",
            "--statistics-out", tmp_path / "s.h5")  # fmt: skip
    assert not (tmp_path / "out.parquet").exists()


def test_number_of_masks_and_outputs_must_agree(base, tmp_path):
    mask = mask_file(base, tmp_path / "m.parquet", [], ["a"])
    with pytest.raises(ConfigError, match="1 mask files and 2 outputs"):
        run(ablate, *shared(base), "--masks", mask, "--outcomes-out", tmp_path / "1", tmp_path / "2")


def test_out_of_memory_names_the_batch_size(base, tmp_path, monkeypatch):
    def no_memory(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate")

    monkeypatch.setattr("culture_neurons.models.inference.prepare", no_memory)
    from culture_neurons.errors import ModelError

    with pytest.raises(ModelError, match="batch size 8"):
        run(infer, *shared(base), "--predictions-out", tmp_path / "p.parquet")
