"""Configs that the project ships, changed and filled with the defaults of the schema, as one record."""

import copy
import json
from functools import cache
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from culture_neurons.workflow import config_checks as checks
from culture_neurons.workflow.run import Run

ROOT = Path(__file__).parents[2]
SCHEMA = checks.read_schema(ROOT / "workflow/schemas/config.schema.yaml")


def filled(value, schema):
    """The defaults of the schema, as Snakemake's `validate` sets them."""
    schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    for key, part in schema.get("properties", {}).items():
        if "default" in part and key not in value:
            value[key] = part["default"]
        if isinstance(value.get(key), dict):
            filled(value[key], part)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for key, part in value.items():
            if key not in schema.get("properties", {}) and isinstance(part, dict):
                filled(part, extra)
    return value


@cache
def _parsed(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def shipped(path):
    """What a config says, to be changed at will; each is parsed once."""
    return copy.deepcopy(_parsed(path))


def run(name="config/control.yaml", **changes):
    config = shipped(ROOT / name) | changes
    config = filled(json.loads(json.dumps(config)), SCHEMA)
    assert not list(Draft202012Validator(SCHEMA).iter_errors(config))
    return Run(config)


def choosing(name="config/control.yaml", **changes):
    """A config with two data sets that choose neurons, a selector on each, and a control that is matched to one."""
    config = run(name).config
    pictures, words = config["data"]["source"], {"type": "facts"}
    sets = {"pictures": {"source": pictures}, "re.c": {"source": words, "filter": {"cultures": ["Japan", "Italy"]}}}
    more = {"cas-pictures": {"method": "cas", "choose_on": "pictures"},
            "lap": {"choose_on": "re.c"}, "random": {"choose_on": "re.c"},
            "random-pictures": {"method": "random-matched", "match": "cas-pictures"}}  # fmt: skip
    data, chosen = config["data"] | {"choose": sets}, config["selectors"] | more
    return run(name, **{"data": data, "selectors": chosen} | changes)
