"""From questions to answers under masks, step by step, of a model with routed experts in every other layer."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files, store
from culture_neurons.data.samples import write_samples
from culture_neurons.errors import ConfigError
from culture_neurons.models import loading
from culture_neurons.steps import ablate, calibrate, gather_answers, infer, merge, record, select
from tests.families import building

pytestmark = [pytest.mark.workflow, pytest.mark.filterwarnings("ignore")]
#: Dense layers of 24 neurons, others of 8 experts of 10.
WIDTHS, COUNTS = [24, 80, 24, 80], [0, 8, 0, 8]


def rows() -> pd.DataFrame:
    words = ["river", "tea", "soup", "song", "kite", "drum", "rice", "hat", "bread", "city"]
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {
            "sample_id": f"q{i:02d}", "culture": "ab"[i % 2], "category": "", "label": i % 3, "image": None,
            "question": " ".join(rng.choice(words, 2 + i % 4)), "options": rng.choice(words, 3, replace=False).tolist(),
            "split": "identify" if i < 18 else "evaluate", "image_id": "", "width": None, "height": None,
        }
        for i in range(24)
    ])  # fmt: skip


def test_every_step_knows_of_experts(tmp_path, step, caplog):
    building.save(
        "qwen2_moe", tmp_path / "model", num_experts=8, mlp_only_layers=[0, 2], moe_intermediate_size=10,
        shared_expert_intermediate_size=6,
    )  # fmt: skip
    write_samples(tmp_path / "samples.parquet", rows(), {"images": {"type": "none"}})
    shared = step.shared(tmp_path)
    caplog.set_level(logging.INFO)
    step.run(infer, *shared, "--answers-out", tmp_path / "a.parquet")
    assert "m: 2 of its layers have 8 routed experts" in caplog.text
    assert "its layers also hold mlp.shared_expert; no neurons are sought there" in caplog.text
    step.run(gather_answers, "--shards", tmp_path / "a.parquet", "--out", tmp_path / "p.parquet")
    for shard in (0, 1):
        step.run(record, *shared, "--predictions", tmp_path / "p.parquet", "--shard", shard, "--shards", 2,
                 "--negative-sum", "--statistics-out", tmp_path / f"{shard}.h5")  # fmt: skip
    step.run(merge, "--shards", tmp_path / "0.h5", tmp_path / "1.h5", "--statistics-out", tmp_path / "s.h5")
    statistics, metadata = store.read_statistics(tmp_path / "s.h5")
    assert metadata["experts"] == {"widths": WIDTHS, "counts": COUNTS}
    # Each token has two experts in either layer.
    assert statistics.tokens.shape == (2, 17)
    np.testing.assert_array_equal(statistics.tokens[:, 1:9].sum(axis=1), 2 * statistics.tokens[:, 0])
    np.testing.assert_array_equal(statistics.tokens[:, 9:].sum(axis=1), 2 * statistics.tokens[:, 0])
    mask = tmp_path / "masks.parquet"
    step.run(select, "--statistics", tmp_path / "s.h5", "--selector", "cas", "--top-fraction", "0.1",
             "--scores-out", tmp_path / "cas.h5", "--masks-out", mask)  # fmt: skip
    assert files.read_table(mask)[1]["budget"] == round(0.1 * sum(WIDTHS))
    step.run(ablate, *shared, "--masks", mask, "--outcomes-out", tmp_path / "o.parquet")
    assert "can't be replayed" not in caplog.text
    plain = files.read_table(tmp_path / "p.parquet")[0].set_index("sample_id")["logprobs"]
    outcomes, _ = files.read_table(tmp_path / "o.parquet")
    assert len(outcomes) == 2 * 6
    moved = [np.abs(np.array(x) - np.array(plain[i])).max() for i, x in outcomes[["sample_id", "logprobs"]].to_numpy()]
    assert max(moved) > 1e-5
    step.run(calibrate, *shared, "--top-fraction", "0.1", "--calibration-out", tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["neurons"] == 80
    with pytest.raises(ConfigError, match="experts_implementation 'grouped_mm'; leave it out"):
        loading.load({"name": "m", "path": str(tmp_path / "model"),
                      "from_pretrained": {"experts_implementation": "grouped_mm"}})  # fmt: skip
