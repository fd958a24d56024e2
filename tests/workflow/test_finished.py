"""Which jobs would make finished results again because of times alone; Snakemake's part is played by a small graph."""

import itertools
import os
from collections import defaultdict
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from culture_neurons.workflow import finished

RESULTS = "results/d"


@dataclass(frozen=True)
class Rule:
    name: str


class Job:
    """A job of a rule that makes `output` of `input`; see Snakemake's `Job` and `Reason` for the rest."""

    def __init__(self, rule, output, **reason):
        self.rule, self.output = Rule(rule), [f"{RESULTS}/{output}"]
        nothing = {"updated_input": [], "missing_output": [], "forced": False, "derived": True}
        self.reason = SimpleNamespace(**nothing | reason)


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """prepare -> infer -> gather_answers (which uses up its input) -> tabulate, all finished; and their records."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(finished.REMAKE, raising=False)
    jobs = [Job("prepare", "samples"), Job("infer", "answers"), Job("gather_answers", "predictions"),
            Job("tabulate", "table")]  # fmt: skip
    os.makedirs(RESULTS)
    records = {}
    for job in jobs:
        if job.rule.name != "infer":
            with open(job.output[0], "w"):
                pass
        records[job.output[0]] = SimpleNamespace(endtime=os.path.getmtime(RESULTS))
    return jobs, records


def planned(jobs, records):
    """Jobs that would be refused, by rule."""
    dependencies, depending = defaultdict(dict), defaultdict(dict)
    for before, after in itertools.pairwise(jobs):
        dependencies[after][before] = depending[before][after] = before.output
    dag = SimpleNamespace(needrun_jobs=lambda: iter(jobs), reason=lambda job: job.reason, dependencies=dependencies,
                          depending=depending, forcerules=set(), forcefiles=set())  # fmt: skip
    persistence = SimpleNamespace(metadata=records.get, has_metadata=lambda job: job.output[0] in records)
    return dag, persistence, [job.rule.name for job in finished.remade_by_times(dag, persistence, RESULTS)]


def triggered(job, **reason):
    vars(job.reason).update(derived=False, **reason)


def test_without_records_newer_inputs_are_times_alone(chain):
    jobs, records = chain
    triggered(jobs[0], updated_input=["src/code.py"])
    assert planned(jobs, records)[2] == []  # the code has changed, as a digest of it says
    assert planned(jobs, {})[2] == ["infer"]


def test_a_rule_that_is_asked_for_and_what_follows_are_not_refused(chain):
    jobs, _ = chain
    triggered(jobs[0], updated_input=["src/code.py"])
    dag, persistence, _ = planned(jobs, {})
    dag.forcerules.add(jobs[1].rule)
    assert finished.remade_by_times(dag, persistence, RESULTS) == []
    jobs[1].reason.forced = True
    assert planned(jobs, {})[2] == []


@pytest.mark.parametrize(("seconds", "refused"), [(0, []), (100, ["infer"]), (-100, ["infer"])])
def test_a_result_with_another_time_than_when_it_was_made_was_copied_or_touched(chain, seconds, refused):
    jobs, records = chain
    samples = jobs[0].output[0]
    time = records[samples].endtime + seconds
    os.utime(samples, (time, time))
    # Its output was used up, so that Snakemake says that it is missing, too.
    triggered(jobs[1], updated_input=[samples], missing_output=jobs[1].output)
    assert planned(jobs[1:], records)[2] == refused


def test_what_another_reason_makes_again_anyway_is_not_refused(chain):
    jobs, records = chain
    del records[jobs[2].output[0]]
    triggered(jobs[2], updated_input=["src/code.py"])  # times alone: its record is gone
    assert planned(jobs, records)[2] == ["infer"]  # whose output was used up
    triggered(jobs[0], params_changed=True)
    assert planned(jobs, records)[2] == []


def test_results_that_were_never_made_are_not_refused(chain):
    jobs, _ = chain
    triggered(jobs[0], updated_input=["src/code.py"])
    for job in jobs[2:]:
        os.remove(job.output[0])
    assert planned(jobs, {})[2] == []


def test_the_message_says_what_would_be_lost_and_how_to_keep_it_and_a_word_lets_it_be_lost(chain, monkeypatch):
    jobs, _ = chain
    triggered(jobs[0], updated_input=["src/code.py"])
    dag, persistence, _ = planned(jobs, {})
    with pytest.raises(finished.FinishedResultsError, match=r"results/d: finished .*\(jobs: 1 infer\)") as error:
        finished.refuse_remaking(dag, persistence, RESULTS)
    assert len(str(error.value).splitlines()) == 2
    for words in ("make report R=results/d", "snakemake --touch --cores 1", "CULTURE_NEURONS_REMAKE=1"):
        assert words in str(error.value)
    monkeypatch.setenv(finished.REMAKE, "1")
    finished.refuse_remaking(dag, persistence, RESULTS)


def test_expensive_rules_are_those_with_a_model_and_training():
    from tests.test_architecture import WITH_A_MODEL

    rules = {name.removeprefix("steps.") for name in WITH_A_MODEL}
    assert set(finished.EXPENSIVE) == rules - {"calibrate", "convert_gguf", "export_masks", "import_masks"}
