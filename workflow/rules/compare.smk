# Two finished runs side by side: snakemake compare --config runs='[results/a,results/b]' (docs/compare.md).
# What is read of the runs are params, not inputs: a run that has ended is never made again for this.
from culture_neurons.workflow.comparison import Comparison

comparison = Comparison(run, checks.read_schema(SCHEMA)["properties"]["models"]["additionalProperties"])
C = comparison.path


rule transfer:
    """Ask one run's questions under the masks that the other run chose for the same model."""
    input:
        code=code("transfer"),
    output:
        answers=C("transfer"),
    wildcard_constraints:
        model=one_of({model for model, _ in comparison.transfers}),
        masks_of=one_of({name for _, name in comparison.transfers}),
    log:
        C("log", job="{model}/transfer_{masks_of}"),
    benchmark:
        C("benchmark", job="{model}/transfer_{masks_of}")
    conda:
        "../../envs/model.yaml"
    threads: lambda w: comparison.threads(w.model)
    resources:
        **model_job(minutes=720, job=comparison.job),
    params:
        model=lambda w: comparison.model_settings(w.model, w.masks_of),
        prompt=lambda w: comparison.prompt(w.model, w.masks_of),
        samples=lambda w: comparison.questions(w.model, w.masks_of).folder / "samples.parquet",
        masks=lambda w: comparison.masks(w.model, w.masks_of),
        asked=lambda w: comparison.questions(w.model, w.masks_of).name,
        state=comparison.state,
    shell:
        ask(
            "python -m culture_neurons.steps.transfer --samples {params.samples:q} --masks {params.masks:q}"
            " --masks-of {wildcards.masks_of:q} --questions-of {params.asked:q} --answers-out {output.answers:q}"
        )


rule compare:
    """Lay two finished runs side by side: tables, figures and a page."""
    input:
        transfers=comparison.transfer_files,
        code=code("compare"),
    output:
        page=C("comparison"),
    log:
        C("log", job="compare"),
    benchmark:
        C("benchmark", job="compare")
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        **cpu(minutes=60, mb=8000),
    params:
        **run.resampling,
        runs=comparison.folders,
        transfer=["--transfers"] * comparison.with_transfer,
        top=["--top-fraction", *comparison.top] if comparison.top else [],
        noun=run.config["group_noun"],
        state=comparison.state,
        folder=subpath(output.page, parent=True),
    shell:
        "python -m culture_neurons.steps.compare --runs {params.runs:q} {params.transfer} {input.transfers:q}"
        " {params.top} --group-noun {params.noun:q} --replicates {params.replicates} --seed {params.seed} --out-dir {params.folder:q} --log {log:q}"
