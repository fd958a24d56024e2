"""Configs with wrong values, keys and shapes, and what YAML can write beside."""

from __future__ import annotations

import datetime
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from culture_neurons.errors import ConfigError
from culture_neurons.types import IMPORTED
from culture_neurons.workflow import config_checks
from tests.hostile.conftest import cases, cells, large, law, texts

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config_checks.read_schema(ROOT / "workflow/schemas/config.schema.yaml")
GOOD = yaml.safe_load((ROOT / "config/control.yaml").read_text(encoding="utf-8"))
GOOD["selectors"]["theirs"] = {
    "method": IMPORTED,
    "cultures": ["a", "b"],
    "masks": dict.fromkeys(GOOD["models"], "x.pth"),
}
config_checks.check(GOOD, SCHEMA)

#: What YAML makes of unquoted dates, tags and names.
yaml_values = st.sampled_from([
    datetime.date(2024, 1, 1), b"bytes", {1, 2}, (1, 2), {None: 1}, {1: {2: 3}}, {("a", "b"): 1}, {True: False},
    {datetime.date(2024, 1, 1): 1}, object,
])  # fmt: skip
values = st.one_of(cells, yaml_values, st.dictionaries(texts, cells, max_size=4), st.lists(cells, max_size=4))


@st.composite
def configs(draw: Any) -> Any:
    """The planted control's config with a few places changed, removed or added to, at any depth."""
    result = deepcopy(GOOD)
    for _ in range(draw(st.integers(1, 4))):
        node = result
        while True:
            key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
            if not isinstance(node[key], dict | list) or not node[key] or draw(st.integers(0, 2)) == 0:
                break
            node = node[key]
        kind = draw(st.integers(0, 5))
        if kind == 0 and isinstance(node, dict) and len(node) > 1:
            del node[key]
        elif kind == 1 and isinstance(node, dict):
            node[draw(texts)] = deepcopy(draw(values))
        else:
            node[key] = deepcopy(draw(large if draw(st.integers(0, 19)) == 0 else values))
    return result


@cases("config")
@given(configs())
def test_config(tmp_path: Path, given_config: Any) -> None:
    with law(tmp_path):
        config_checks.check(given_config, SCHEMA)
        # What is accepted reaches the steps as it is.
        assert json.loads(json.dumps(given_config, allow_nan=False).encode()) == given_config


@pytest.mark.parametrize(
    "name", ["\n", "a\0", 1, None, datetime.date(2024, 1, 1), ("a", "b"), int("f" * 9000, 16)], ids=range(7)
)
def test_names_are_text_of_one_line(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"^selectors: lape: .*: expected a text of one line as name, quoted$"):
        config_checks.check(GOOD | {"selectors": {"lape": {name: datetime.date(2024, 1, 1)}}}, SCHEMA)


def bomb() -> dict[str, Any]:
    """Ten lists of ten lists of ten ... of the same list, as YAML's anchors write it in ten lines."""
    value: Any = "x"
    for _ in range(15):
        value = [value] * 10
    return {"a": value}


def circle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


@pytest.mark.parametrize("make", [bomb, circle])
@pytest.mark.parametrize("place", ["options", "source", "top"])
def test_anchors_that_hold_themselves(make: Any, place: str) -> None:
    wrong = deepcopy(GOOD)
    if place == "options":
        wrong["selectors"]["lape"] = make()
    elif place == "source":
        wrong["data"]["source"] |= make()
    else:
        wrong |= make()
    with pytest.raises(ConfigError, match="does an anchor hold itself"):
        config_checks.check(wrong, SCHEMA)
