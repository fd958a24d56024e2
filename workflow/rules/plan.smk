# What a run will cost, before it is run: nothing of this is part of rule all.


rule calibrate:
    """Measure on a few batches what each kind of work costs with one model on this device."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        model=model_folder,
        code=code("calibrate"),
    output:
        calibration=f"{RESULTS}/{{model}}/calibration.json",
    log:
        f"{LOGS}/{{model}}/calibrate.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/calibrate.tsv"
    conda:
        "../../envs/model.yaml"
    threads: model_stanza("threads")
    resources:
        gpu=model_stanza("gpus"),
        mem_mb=growing("mem_mb"),
        batch_size=model_stanza("batch_size"),
        device_map=device_map,
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
        tokens=config["recording"]["tokens"],
        mantissa_bits=config["recording"]["mantissa_bits"],
        negative_sum=NEGATIVE_SUM,
        top_fraction=max(FRACTIONS, key=float),
        sites=ATTRIBUTED_SITES * bool(ATTRIBUTED),
        # Here the way a job runs is what is measured, so a change of it measures again.
        job=job_settings,
    shell:
        "python -m culture_neurons.steps.calibrate --samples {input.samples:q} --model {params.model:q}"
        " --prompt {params.prompt:q} --token-rule {params.tokens} --mantissa-bits {params.mantissa_bits}"
        " {params.negative_sum} --top-fraction {params.top_fraction} --sites {params.sites}"
        " --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --calibration-out {output.calibration:q} --log {log:q}"


rule estimate:
    """Add up jobs, passes, device hours and disk of the whole run."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        further=further_samples().values(),
        calibrations=[f"{RESULTS}/{model}/calibration.json" for model in MODELS],
        code=code("plan"),
    output:
        text=f"{RESULTS}/plan.txt",
        json=f"{RESULTS}/plan.json",
    log:
        f"{LOGS}/plan.log",
    benchmark:
        f"{BENCHMARKS}/plan.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        run=fixed(amount_of_work()),
        further=named(further_samples()),
    shell:
        "python -m culture_neurons.steps.plan --samples {input.samples:q} --further {params.further:q} --calibrations {input.calibrations:q}"
        " --run {params.run:q} --text-out {output.text:q} --json-out {output.json:q} --log {log:q}"


rule plan:
    """Print what the run will cost; here, also when other jobs run on a cluster."""
    localrule: True
    input:
        text=f"{RESULTS}/plan.txt",
    log:
        f"{LOGS}/print_plan.log",
    conda:
        "../../envs/analysis.yaml"
    shell:
        "cat {input.text:q} 2> {log:q}"
