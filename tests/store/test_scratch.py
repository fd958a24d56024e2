import numpy as np

from culture_neurons import store


def test_moments_keep_their_digits_far_from_zero(tmp_path):
    rng = np.random.default_rng(0)
    n, shape = 37, (2, 300)
    tokens = rng.integers(30, 90, n)
    # Means of g near 1,000 that vary by 0.1; for the first neuron all questions agree.
    mean = 1000 + rng.normal(0, 0.1, (n, *shape))
    mean[:, 0, 0] = 1000.0
    positive = (mean * tokens[:, None, None]).astype(np.float32)
    ids, cultures = [f"s{i:02}" for i in range(n)], [("b", "a", "a")[i % 3] for i in range(n)]
    path = tmp_path / "statistics.h5"
    with store.statistics_writer(path, ids, cultures, "act_fn", *shape, {"model": "m"}, negative_sum=True) as writer:
        writer.write(ids, tokens, np.ones(positive.shape, np.uint16), positive, np.zeros_like(positive))
    x = (positive.astype(float) / tokens[:, None, None]).reshape(n, -1)
    with store.sample_sums(path) as sums:
        assert sums.cultures == ["a", "b"]
        for c, culture in enumerate(sums.cultures):
            mine = x[[i for i, name in enumerate(cultures) if name == culture]]
            read = [sums.read(c, part) for part in sums.parts]
            mean, square = (np.concatenate([f[name] for f in read], axis=1) for name in ("mean_sum", "square_sum"))
            assert mean.dtype == square.dtype == np.float32
            assert (mean[:, 0] == 0).all()
            assert (square[:, 0] == 0).all()
            variance = square.mean(axis=0) - mean.mean(axis=0) ** 2
            np.testing.assert_allclose(variance[1:], mine.var(axis=0)[1:], rtol=0.01)
            np.testing.assert_allclose(mean - mean[0], mine - mine[0], atol=2e-4)
