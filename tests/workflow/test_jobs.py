from __future__ import annotations

import pytest

from culture_neurons.errors import ConfigError
from culture_neurons.workflow import jobs


def test_jobs_are_those_of_the_table_without_target_and_total() -> None:
    text = "host: x\nJob stats:\njob     count\n------  -----\nall         1\nrecord     12\ntotal      13\n"
    assert jobs.parse(text) == {"record": 12}
    assert jobs.parse("nothing to be done") == {}


def test_what_snakemake_refuses_is_said_with_its_words(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"jobs can't be counted: .*nowhere"):
        jobs.count({}, tmp_path / "nowhere")
