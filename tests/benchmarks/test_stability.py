import numpy as np
import pytest

from benchmarks import scoring, stability


@pytest.mark.slow  # half of what it takes is to start its jobs; nothing but make bench hangs on it
@pytest.mark.workflow
def test_whole_benchmark_runs_on_a_small_model(monkeypatch):
    monkeypatch.setattr(stability, "FEW", 2)
    monkeypatch.setattr(stability, "MANY", 60)
    monkeypatch.setattr(stability, "HALVES", 2)
    rows = stability.run(scoring.Size(samples=60, cultures=4, layers=3, neurons=200))
    assert all(np.isfinite(row.value) for row in rows)
    assert {"a bootstrap draw", "1,000 draws and 20 halves", "peak of memory"} < {row.name for row in rows}
