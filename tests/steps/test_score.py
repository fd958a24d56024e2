from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from culture_neurons import selectors, store
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import score

METADATA = {"model": "tiny", "revision": "abc", "dtype": "float32", "token_rule": "all"}


@pytest.fixture
def statistics_file(tmp_path):
    path = tmp_path / "statistics.h5"
    rng = np.random.default_rng(0)
    ids = [f"s{i}" for i in range(6)]
    with store.statistics_writer(path, ids, list("bacbac"), "act_fn", 2, 5, METADATA, negative_sum=True) as writer:
        fired = rng.integers(0, 10, (6, 2, 5))
        writer.write(ids, np.full(6, 9), np.minimum(fired, 9), fired * 0.5, fired * -0.1)
    return path


def run(statistics_file, *more):
    out = statistics_file.parent / "scores.h5"
    score.main(score.arguments().parse_args(["--statistics", str(statistics_file), "--out", str(out), *more]))
    return out


@pytest.mark.parametrize("method", list(selectors.SELECTORS))
def test_the_file_holds_the_scores_and_where_they_are_from(statistics_file, method):
    scores, cultures, site, metadata = store.read_scores(run(statistics_file, "--selector", method))
    statistics, _ = store.read_statistics(statistics_file)
    np.testing.assert_array_equal(scores, selectors.score(method, statistics).astype(np.float32))
    assert (cultures, site) == (["a", "b", "c"], "act_fn")
    assert (metadata["model"], metadata["revision"], metadata["token_rule"]) == ("tiny", "abc", "all")
    assert metadata["samples"] == {"a": 2, "b": 2, "c": 2}


def test_options_reach_the_method(statistics_file):
    one = store.read_scores(run(statistics_file, "--selector", "random", "--options", '{"seed": 1}'))[0]
    two = store.read_scores(run(statistics_file, "--selector", "random", "--options", '{"seed": 2}'))[0]
    assert (one != two).any()


def test_same_input_same_bytes(statistics_file):
    first = run(statistics_file, "--selector", "cas").read_bytes()
    assert run(statistics_file, "--selector", "cas").read_bytes() == first


def test_scores_take_no_library_of_tables(statistics_file):
    # There are many of these jobs, and loading pandas would take longer than most of them.
    code = (
        "import sys\n"
        "from culture_neurons.steps import score\n"
        f"score.main(score.arguments().parse_args(['--statistics', {str(statistics_file)!r}, '--selector', 'cas',"
        f" '--out', {str(statistics_file.parent / 'scores.h5')!r}]))\n"
        "print(*{'pandas', 'pyarrow', 'scipy', 'torch'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "\n"


def test_mistakes(statistics_file):
    with pytest.raises(ConfigError, match="did you mean 'cas'"):
        run(statistics_file, "--selector", "caz")
    with pytest.raises(ConfigError, match="unknown option 'sead'"):
        run(statistics_file, "--selector", "random", "--options", '{"sead": 1}')
    with pytest.raises(FileError, match="no such file"):
        run(statistics_file.parent / "other.h5", "--selector", "cas")
