"""A family that takes too long, dies or raises is a row of the table, and the others go on."""

import os
import signal
import time

from tests.families.running import run_each


def job(name):
    if name == "slow":
        time.sleep(60)
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "wrong":
        raise LookupError("no such thing\nas this")
    return {"text": {"answer": name * 100_000}}


def test_each_name_has_its_result_in_the_order_given():
    told = []
    names = ["slow", "b", "killed", "wrong", "a"]
    results = run_each(names, job, jobs=2, seconds=1, tell=lambda name, result: told.append(name))
    assert list(results) == names
    assert sorted(told) == sorted(names)
    assert results["slow"] == {"refused": "not checked: takes more than 1 s"}
    assert results["killed"] == {"refused": "not checked: its process was killed"}
    assert results["wrong"] == {"refused": "not checked, LookupError: no such thing"}
    assert results["a"]["text"]["answer"] == "a" * 100_000
