from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pandas as pd
import pytest

from culture_neurons.data import filtering, reasons, registry, source, splitting
from culture_neurons.data.facts.general import questions
from culture_neurons.data.readers import facts as facts_reader
from culture_neurons.errors import ConfigError, DataError
from tests.data.conftest import kept


def read(**settings) -> source.SourceTable:
    return registry.read({"type": "general-facts"} | settings)


@pytest.fixture(scope="module")
def table() -> source.SourceTable:
    return read()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"kind": ["sum"]}, r"source: unknown key 'kind' \(did you mean 'kinds'\?\)"),
        (
            {"kinds": ["sums"]},
            r"source.kinds: unknown 'sums' \(did you mean 'sum'\?\); known: quantity, abbreviation, calendar",
        ),
        ({"kinds": []}, r"source.kinds: \[\]; expected a list of at least 1 of the known names, or null"),
        ({"kinds": ["sum", "sum"]}, r"source.kinds: 'sum' is listed twice"),
        ({"items_per_kind": 0}, r"source.items_per_kind: 0; expected a whole number from 1 to 200"),
        ({"options": 7}, r"source.options: 7; expected a whole number from 2 to 6$"),
        ({"options": True}, r"source.options: True; expected a whole number"),
        (
            {"half": "identfy"},
            r"source.half: 'identfy' \(did you mean 'identify'\?\); expected identify, evaluate or null",
        ),
        ({"seed": 1.5}, r"source.seed: 1.5; expected a whole number$"),
    ],
)
def test_settings_that_are_not_valid_are_named(spec, expected):
    with pytest.raises(ConfigError, match=expected) as error:
        read(**spec)
    assert len(str(error.value).splitlines()) == 1


def test_a_package_that_is_missing_is_named(monkeypatch):
    def missing(name):
        raise facts_reader.PackageNotFoundError(name)

    monkeypatch.setattr(facts_reader, "version", missing)
    with pytest.raises(DataError, match=r"package babel is not installed; expected all of babel \(requirements.lock"):
        read()


def test_the_shape_of_a_source(table):
    assert set(source.REQUIRED) <= set(table.rows.columns)
    rows = filtering.apply(table.rows, filtering.settings({}), at_least=1).kept
    assert len(rows) == len(kept(table)) >= 250
    assert set(rows["culture"]) == set(rows["country"]) == {"all"}
    assert (rows["category"] == rows["kind"]).all()
    assert {"wording", "item", "neutral", "half", "question_id"} <= set(rows.columns)
    side = splitting.assign(rows, splitting.settings({"by": "whole", "half": "evaluate"}))
    assert set(side) == {"evaluate"}


def test_what_is_left_out_is_listed_with_reasons(table):
    dropped = filtering.apply(table.rows, filtering.settings({}), at_least=1).dropped
    assert set(dropped["reason"]) == {
        reasons.OF_CULTURE, reasons.SEVERAL_QUANTITIES, reasons.NAMES_ANSWER, reasons.NO_ABBREVIATION,
        reasons.SHARED_ABBREVIATION, reasons.UNUSUAL, reasons.NOT_A_NAME,
    }  # fmt: skip
    listed = dict(zip(dropped["sample_id"], dropped["reason"], strict=True))
    assert listed["quantity-ounce"] == reasons.SEVERAL_QUANTITIES


def test_kinds_and_numbers_can_be_chosen():
    rows = kept(read(kinds=["sum", "calendar"], items_per_kind=7, options=3))
    assert rows.groupby("kind").size().to_dict() == {"sum": 7, "calendar": 7}
    assert {len(options) for options in rows["options"]} == {3}


def test_one_half_can_be_read_and_what_is_left_out_is_listed_all_the_same(table):
    half = read(half="evaluate", items_per_kind=200)
    assert set(kept(half)["half"]) == {"evaluate"}
    assert 0.4 < len(kept(half)) / len(kept(read(items_per_kind=200))) < 0.6
    left_out = [rows[rows["excluded"].notna()]["sample_id"].tolist() for rows in (half.rows, table.rows)]
    assert left_out[0] == left_out[1]


def test_neither_the_order_of_kinds_nor_a_second_reading_matters(table):
    again = read(kinds=list(reversed(questions.KINDS)))
    pd.testing.assert_frame_equal(again.rows, table.rows)
    assert again.origins == table.origins


SPEC = {"type": "general-facts", "items_per_kind": 5}
SCRIPT = f"""
import sys
import culture_neurons.data.readers.general_facts
from culture_neurons.data import registry
assert "babel" not in sys.modules
print(registry.read({SPEC}).rows.to_json())
"""


def test_another_process_reads_the_same_and_imports_packages_only_then():
    run = subprocess.run([sys.executable, "-c", SCRIPT], env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
                         capture_output=True, text=True, check=True)  # fmt: skip
    assert run.stdout.strip() == registry.read(SPEC).rows.to_json()


def test_origins_say_what_was_taken_from_where(table):
    assert [origin["kind"] for origin in table.origins] == list(questions.KINDS)
    rows = kept(table)
    for origin in table.origins:
        assert origin["used"] == (rows["kind"] == origin["kind"]).sum()
        assert origin["known"] >= origin["used"] + origin["left_out"] > 0
        assert origin["licence"]
    packages = {origin["package"]: origin["version"] for origin in table.origins}
    assert packages["babel"] == version("babel")
    assert "Unicode" in packages["Python"]
    assert set(packages) == {"babel", "Python"}


def test_the_registry_knows_the_source():
    assert "general-facts" in registry.SOURCES
    assert registry.home({"type": "general-facts"}) is None
