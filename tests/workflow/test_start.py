import os
from types import SimpleNamespace

import pytest

from culture_neurons.workflow import start


@pytest.mark.parametrize(("limit", "kept"), [((100, 1), False), ((5, 1), True)])
def test_only_the_default_limit_of_jobs_per_second_goes(limit, kept):
    scheduler = SimpleNamespace(job_rate_limiter=SimpleNamespace(max_jobs=limit[0], timespan=limit[1]))
    start.start_jobs_at_once(SimpleNamespace(scheduler=scheduler))
    assert (scheduler.job_rate_limiter is not None) == kept


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SystemExit, match=f"^{tmp_path}: can't be written; expected a folder of yours"):
        start.check_writable(tmp_path / "results" / "demo")


def test_what_a_run_will_not_tell_is_said_before_its_first_job(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    scheduler = SimpleNamespace(job_rate_limiter=None)
    workflow = SimpleNamespace(workdir_init=str(tmp_path), scheduler=scheduler, touch=True)
    start.before_jobs(workflow, "demo", ["too few groups"])
    assert capsys.readouterr().err == "config: note: too few groups\n"
