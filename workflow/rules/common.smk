# What the rules share: the checked config as one record (`run`), names of files, code, and what a job asks for.
import os
import sys
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

SOURCE = os.path.relpath(os.path.join(workflow.basedir, "src"))
# Steps run with this Python (a conda environment comes before it) and find the package in src, on cluster nodes too.
sys.path.insert(0, SOURCE)
for variable, folder in [("PYTHONPATH", os.path.abspath(SOURCE)), ("PATH", os.path.dirname(sys.executable))]:
    before = os.environ.get(variable, "").split(os.pathsep)
    os.environ[variable] = os.pathsep.join([folder, *(path for path in before if path and path != folder)])
# Nodes of a cluster often reach no network: jobs there take what `snakemake prefetch` got. HF_HUB_OFFLINE=0: they ask.
if "SLURM_JOB_ID" in os.environ:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

from culture_neurons.layout import one_of
from culture_neurons.provenance import ROOT, closure
from culture_neurons.workflow import config_checks as checks, reused, start
from culture_neurons.workflow.run import Run
from culture_neurons.workflow.settings import as_json

SCHEMA = os.path.join(workflow.basedir, "workflow", "schemas", "config.schema.yaml")
if problem := checks.problem(config, SCHEMA):
    raise WorkflowError(f"config: {problem}")
validate(config, SCHEMA)
run = Run(config)
F = run.path


def code(step, *modules):
    """Source files of a step and of `modules`, with all that they import: an edit to one of them reruns the rule."""
    closed = closure(f"culture_neurons.steps.{step}", *modules)
    return [os.path.join(SOURCE, "culture_neurons", path.relative_to(ROOT)) for path in closed]


def given(value):
    """Nested settings as JSON; through a function, since braces in a plain text would be read as wildcards."""
    return lambda wildcards: as_json(value)


def cpu(minutes, mb):
    """What a job without a model asks for; a retry asks for more."""
    return {"runtime": lambda wildcards, attempt: attempt * minutes, "mem_mb": lambda wildcards, attempt: attempt * mb}


def model_job(minutes, job=run.job):
    """What a job with a model asks for. How it runs changes no result, so that a change of it reruns nothing."""
    of = lambda key: lambda wildcards, attempt: job(wildcards.model, attempt)[key]
    return cpu(minutes, 0) | {key: of(key) for key in ("gpu", "mem_mb", "batch_size", "device_map", "nodes")}


#: Parameters of every step with a model.
MODEL = {"model": lambda wildcards: run.model_settings(wildcards.model), "prompt": given(config["prompt"])}


def ask(command):
    """The command of a step with a model, and the arguments that all of these have."""
    how = "--batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads} --log {log:q}"
    return f"{command} --model {{params.model:q}} --prompt {{params.prompt:q}} {how}"
