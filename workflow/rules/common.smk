# What the rules share: the checked config, names of files, wildcard constraints, and inputs.
import json
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

SOURCE = os.path.relpath(workflow.basedir + "/src")
# Steps run as `python -m culture_neurons.steps.X`: with this Python (a conda environment comes before it), and
# with the package found in src, in conda environments and on cluster nodes too.
sys.path.insert(0, SOURCE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.path.abspath(SOURCE), os.environ.get("PYTHONPATH")]))
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])

from culture_neurons import config as settings
from culture_neurons.errors import CultureNeuronsError
from culture_neurons.provenance import ROOT, closure

SCHEMA = workflow.basedir + "/workflow/schemas/config.schema.yaml"
try:
    settings.check(config, settings.read_schema(SCHEMA))
except CultureNeuronsError as error:
    raise WorkflowError(f"config: {error}")
validate(config, SCHEMA)

RESULTS = f"results/{config['dataset']}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
MODELS = config["models"]
TRAINED = [name for name, model in MODELS.items() if "train" in model]
PLANTED = [name for name in TRAINED if MODELS[name]["train"].get("plant")]
SELECTORS = {name: dict(options or {}) for name, options in config["selectors"].items()}
METHODS = {name: options.pop("method", name) for name, options in SELECTORS.items()}
CONTROLS = [name for name, method in METHODS.items() if method in ("random", "random-matched")]
FRACTIONS = [settings.fraction_text(fraction) for fraction in config["top_fractions"]]
SHARDS = config["recording"]["shards"]


wildcard_constraints:
    model="|".join(map(re.escape, MODELS)),
    selector="|".join(map(re.escape, SELECTORS)),
    fraction=r"[0-9][0-9.e-]*",
    shard=r"[0-9]+",


def code(step):
    """Source files that a step imports: an edit to one of them reruns the rule."""
    return [os.path.join(SOURCE, "culture_neurons", path.relative_to(ROOT)) for path in closure(f"culture_neurons.steps.{step}")]


def as_json(value):
    """Nested settings for the command line; keys in a fixed order, so that order never causes a rerun."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def model_folder(wildcards):
    """The folder of a model that a rule trains; nothing for a model that is loaded from elsewhere."""
    return f"{RESULTS}/{wildcards.model}/model" if wildcards.model in TRAINED else []


def model_settings(wildcards):
    """What loading needs of a model's stanza."""
    stanza = MODELS[wildcards.model]
    load = {key: value for key, value in stanza.items() if key not in ("train", "batch_size", "threads", "gpus")}
    return as_json(load | {"name": wildcards.model, "path": stanza.get("path") or model_folder(wildcards)})


def model_stanza(key):
    """An input function for one value of a model's stanza."""
    return lambda wildcards: MODELS[wildcards.model][key]


def train_settings(wildcards):
    """Options of the training, those of its own keys left out."""
    options = MODELS[wildcards.model]["train"]
    return as_json({key: value for key, value in options.items() if key not in ("architecture", "plant", "init")})


def selector_options(wildcards):
    """Options of a selector, as JSON."""
    return as_json(SELECTORS[wildcards.selector])


def reference_mask(wildcards):
    """For random-matched: the mask whose layers and activation deciles it copies."""
    if METHODS[wildcards.selector] != "random-matched":
        return []
    reference = SELECTORS[wildcards.selector].get("match", "cas")
    return f"{RESULTS}/{wildcards.model}/masks/{reference}_top{wildcards.fraction}.parquet"


def per_mask_file(folder):
    """Files of all models, selectors and fractions, each with its name model/selector/fraction."""
    return {
        f"{model}/{selector}/{fraction}": f"{RESULTS}/{model}/{folder}/{selector}_top{fraction}.parquet"
        for model in MODELS
        for selector in SELECTORS
        for fraction in FRACTIONS
    }


def named(files):
    """name=path arguments."""
    return [f"{name}={path}" for name, path in files.items()]
