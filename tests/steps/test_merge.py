import numpy as np

from culture_neurons import store
from culture_neurons.steps import merge


def test_shards_and_batch_sizes_change_no_count(base, tmp_path, step):
    unsharded = step.recorded(base, tmp_path / "whole.h5", batch_size=16)
    shards = [
        step.recorded(base, tmp_path / f"{k}.h5", "--shard", k, "--shards", 3, batch_size=3 + k) for k in range(3)
    ]
    step.run(merge, "--shards", *shards, "--statistics-out", tmp_path / "merged.h5")
    step.run(merge, "--shards", unsharded, "--statistics-out", tmp_path / "one.h5")
    merged, one = (store.read_statistics(tmp_path / name)[0] for name in ("merged.h5", "one.h5"))
    np.testing.assert_array_equal(merged.fired, one.fired)
    np.testing.assert_array_equal(merged.tokens, one.tokens)
    np.testing.assert_allclose(merged.positive_sum, one.positive_sum, rtol=1e-5, atol=1e-6)
