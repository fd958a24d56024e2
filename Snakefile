# From a data set and models to masks of culture-sensitive neurons, ablations, figures and a report.
# Rules are in workflow/rules, one file per kind; settings in config.yaml; code in src/culture_neurons.
from snakemake.utils import min_version

min_version("9.10")


# A config file on the command line takes the place of the default one; it is not laid over it. One that only names runs
# to compare is.
if not workflow.overwrite_configfiles or set(config) <= {"runs", "comparison"}:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/answers.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/selection.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/finetuning.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/run.smk"
include: "workflow/rules/compare.smk"


report: "workflow/report/workflow.rst"


wildcard_constraints:
    model=one_of(run.models),
    selector=one_of(run.selectors),
    choice=one_of(run.tuning["choices"]),
    shard="[0-9]+",
    mask_shard="[0-9]+",
    seed="[0-9]+",


onstart:
    start.before_jobs(workflow, run.dataset, run.notes)


if workflow.is_main_process: # of a dry run too, and not of each job's Snakemake
    start.say(reused.notes(run))


rule all:
    default_target: True
    input:
        rules.report.output,
        TABLES,
        rules.figures.output,
        F("manifest"),
