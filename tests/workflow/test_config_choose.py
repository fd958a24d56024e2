"""Data sets that choose neurons, and the selectors that choose on them."""

from pathlib import Path

import pytest
import yaml

from culture_neurons.errors import ConfigError
from culture_neurons.workflow.config_checks import check, read_schema
from tests.workflow.conftest import shipped

ROOT = Path(__file__).parents[2]
SCHEMA = read_schema(ROOT / "workflow/schemas/config.schema.yaml")


def config(more, names=("recognise",), **changes):
    """The demo with data sets of these names that choose neurons, and more selectors."""
    result = shipped(ROOT / "config/control.yaml")
    result["data"]["choose"] = {name: {"source": {"type": "facts"}} for name in names}
    result["selectors"] |= more
    return result | changes


ON = {"method": "cas", "choose_on": "recognise"}


@pytest.mark.parametrize("more", [
    {"x": ON},
    {"random": {"choose_on": "recognise"}},
    {"x": ON, "y": {"method": "random-matched", "match": "x"}},
    {"x": ON, "y": {"method": "random-matched", "match": "x", "choose_on": "recognise"}},
])  # fmt: skip
def test_selectors_from_statistics_choose_on_other_data(more):
    check(config(more), SCHEMA)


OWN = r"but cas, which it matches, chooses on the run's own questions; expected the same, or no key choose_on"


@pytest.mark.parametrize(("more", "names", "message"), [
    ({"x": ON | {"choose_on": "recognize"}, "y": ON}, ["recognise"],
     r"selectors: x: choose_on: 'recognize' is no data set of data: choose \(did you mean 'recognise'\?\); known: "
     r"recognise$"),
    ({"x": ON}, [], r"selectors: x: choose_on: 'recognise' is no data set of data: choose; known: none$"),
    ({"x": ON, "culnig-general": {"choose_on": "recognise"}}, ["recognise"],
     r"selectors: culnig-general: choose_on: 'recognise': culnig-general reads no statistics; expected no key"),
    ({"x": {"method": "imported", "masks": {}, "cultures": ["a"], "choose_on": "recognise"}}, ["recognise"],
     r"selectors: x: masks: none for model"),
    ({}, ["recognise"], r"data: choose: recognise: no selector chooses on it; expected one with choose_on: recognise"),
    ({"x": ON}, ["recognise", "recall"], r"data: choose: recall: no selector chooses on it"),
    ({"x": ON, "y": {"method": "random-matched", "match": "cas", "choose_on": "recognise"}}, ["recognise"],
     rf"selectors: y: choose_on: 'recognise', {OWN}"),
    ({"x": ON, "random-matched": {"seed": 1, "choose_on": "recognise"}}, ["recognise"],
     rf"selectors: random-matched: choose_on: 'recognise', {OWN}"),
    ({"x": ON, "z": ON | {"choose_on": "b"}, "y": {"method": "random-matched", "match": "x", "choose_on": "b"}},
     ["recognise", "b"],
     r"selectors: y: choose_on: 'b', but x, which it matches, chooses on 'recognise'; expected the same"),
    ({"x": ON | {"choose_on": "control"}}, ["control"],
     r"data: choose: control is the name of this run's own data set \(dataset\)"),
    ({"x": ON, "y": ON | {"choose_on": "Recognise"}}, ["recognise", "Recognise"],
     r"data: choose: Recognise and recognise differ"),
    ({"x": {"method": "cas", "choose_on": 3}}, ["recognise"],
     r"selectors: x: choose_on: 3 is not valid; expected string"),
    ({"x": {"method": "cas", "no": "recognise"}}, ["recognise"], r"unknown option 'no'"),
])  # fmt: skip
def test_mistake_is_named_in_one_line(more, names, message):
    with pytest.raises(ConfigError, match=message) as error:
        check(config(more, names), SCHEMA)
    assert "\n" not in str(error.value)


def test_the_key_is_a_text_in_yaml():
    """A bare `on` is true in YAML 1.1."""
    assert yaml.safe_load("{method: cas, choose_on: recognise}") == ON


def test_masks_of_another_project_choose_on_nothing():
    wrong = config({"x": ON, "y": {"method": "imported", "masks": {}, "cultures": ["a"], "choose_on": "recognise"}})
    wrong["selectors"]["y"]["masks"] = dict.fromkeys(wrong["models"], "a.pth")
    with pytest.raises(ConfigError, match=r"selectors: y: choose_on: 'recognise': imported reads no statistics"):
        check(wrong, SCHEMA)


def test_evidence_is_asked_for_selectors_on_the_own_questions_alone():
    wrong = config({"x": ON})
    wrong["evidence"]["selectors"] = ["cas", "x"]
    with pytest.raises(ConfigError, match=r"evidence: selectors: 'x'.*and choose on the run's own questions: lap, "):
        check(wrong, SCHEMA)


@pytest.mark.parametrize("kind", ["model", "data set"])
def test_a_model_or_data_set_is_not_called_choose(kind):
    wrong = config({"x": ON | {"choose_on": "choose"}}, ["choose"] if kind == "data set" else ["recognise"])
    if kind == "model":
        wrong["models"]["choose"] = {"path": "x"}
    with pytest.raises(ConfigError, match=r"choose.*is not valid; expected a name .*tasks and choose"):
        check(wrong, SCHEMA)
