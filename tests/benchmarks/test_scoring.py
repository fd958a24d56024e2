import numpy as np
import pytest

from benchmarks import scoring


@pytest.mark.slow  # half of what it takes is to start its jobs; nothing but make bench hangs on it
@pytest.mark.workflow
def test_whole_benchmark_runs_on_a_small_model():
    rows = scoring.run(scoring.Size(samples=60, cultures=4, layers=3, neurons=200, shards=2))
    values = {row.name: row.value for row in rows}
    assert all(np.isfinite(row.value) and row.value > 0 for row in rows)
    assert {"cas: select", "random-matched-2: select"} < set(values)
    # Shapes do not matter to what a single sample takes; totals (of five sums) do, where there are few samples.
    assert 40 < values["statistics.h5, of its plain arrays"] < 65
