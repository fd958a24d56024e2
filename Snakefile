# From a data set and models to masks of culture-sensitive neurons, ablations, figures and a report.
# Rules are in workflow/rules, one file per kind; settings in config.yaml; code in src/culture_neurons.
from snakemake.utils import min_version

min_version("9.10")


# A config file on the command line takes the place of the default one; it is not laid over it.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/inference.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/selection.smk"
include: "workflow/rules/stability.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/sets.smk"
include: "workflow/rules/finetuning.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/manifest.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/prefetch.smk"


report: "workflow/report/workflow.rst"


onstart:
    check_writable()
    stand_alone()
    start_jobs_at_once()


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",
        figure_files(),
        TABLES,
        LATEX,
        more_tables(),
        MANIFEST,


rule figures:
    input:
        figure_files(),
