from culture_neurons.workflow import jobs

TEXT = """\
Job stats:
job                count
---------------  -------
all                    1
ablate                12
gather_outcomes       40
total                 53

Reasons:
"""


def test_the_table_of_a_dry_run_is_read_without_target_and_total():
    assert jobs.parse(f"host: x\n{TEXT}{TEXT}") == {"ablate": 12, "gather_outcomes": 40}
    assert jobs.parse("nothing to be done") == {}
