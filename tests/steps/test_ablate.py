import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import ablate, gather_outcomes

pytestmark = pytest.mark.workflow


def mask_file(base, path, rows, cultures, revision=None):
    _, metadata = files.read_table(base / "m/predictions.parquet")
    table = pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron"])
    table = table.astype({"layer": "int64", "neuron": "int64"}).assign(score=1.0, rank=1)
    meta = {"model": "m", "revision": revision or metadata["revision"], "cultures": cultures}
    files.write_table(path, table, meta)
    return path


def test_outcomes_cover_every_mask_and_evaluate_question(base, tmp_path, step):
    samples, _ = files.read_table(base / "samples.parquet")
    cultures = sorted(set(samples["culture"]))
    everything = [(cultures[0], "act_fn", layer, n) for layer in range(2) for n in range(48)]
    first = mask_file(base, tmp_path / "first.parquet", everything, cultures)
    second = mask_file(base, tmp_path / "second.parquet", [(cultures[1], "act_fn", 0, 3)], cultures)
    outs = [tmp_path / "out1.parquet", tmp_path / "out2.parquet"]
    step.run(ablate, *step.shared(base), "--masks", first, second, "--outcomes-out", tmp_path / "part.parquet")
    for number, out in enumerate(outs):
        step.run(gather_outcomes, "--shards", tmp_path / "part.parquet", "--mask-file", number, "--out", out)
    predictions, _ = files.read_table(base / "m/predictions.parquet")
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


def test_files_of_another_model_revision_are_refused(base, tmp_path, step):
    mask = mask_file(base, tmp_path / "m.parquet", [("a", "act_fn", 0, 3)], ["a"], revision="older")
    with pytest.raises(FileError, match=r"m\.parquet: made with model m at revision older") as error:
        step.run(ablate, *step.shared(base), "--masks", mask, "--outcomes-out", tmp_path / "out.parquet")
    assert len(str(error.value).splitlines()) == 2
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("name", ["shard", "mask-shard"])
def test_shard_out_of_range(base, tmp_path, name, step):
    mask = mask_file(base, tmp_path / "m.parquet", [], ["a"])
    out_of_range = [f"--{name}", 2, f"--{name}s", 2]
    with pytest.raises(ConfigError, match="shard 2 of 2: expected 0 to 1"):
        step.run(ablate, *step.shared(base), *out_of_range, "--masks", mask, "--outcomes-out", tmp_path / "1")
