# What a run was, and whether its results are still those.


rule manifest:
    """Write down config, versions, code, models, data, seeds and hardware, and a digest of every table."""
    input:
        tables=[*TABLES, *more_tables()],
        provenance=PROVENANCE,
        samples=f"{RESULTS}/samples.parquet",
        more=[f"{RESULTS}/dropped.csv", f"{RESULTS}/counts.csv"],
        predictions=[f"{RESULTS}/{model}/predictions.parquet" for model in sorted(MODELS)],
        controls=image_control_files().values(),
        masks=per_mask_file("masks").values(),
        outcomes=per_mask_file("ablation").values(),
        sets=[*set_predictions().values(), *set_outcomes().values()],
        finetuned=tuned_answers().values(),
        code=code("manifest"),
    output:
        manifest=MANIFEST,
    log:
        f"{LOGS}/manifest.log",
    benchmark:
        f"{BENCHMARKS}/manifest.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        config=fixed(run_settings()["config"]),
    shell:
        "python -m culture_neurons.steps.manifest --config {params.config:q} --provenance {input.provenance:q}"
        " --samples {input.samples:q} --files {input.tables:q} {input.samples:q} {input.more:q} {input.predictions:q}"
        " {input.controls:q} {input.masks:q} {input.outcomes:q} {input.sets:q} {input.finetuned:q} --out {output.manifest:q} --log {log:q}"


rule verify:
    """Say what differs from the manifest. It has no input, so that nothing is made again before it is looked at."""
    localrule: True
    log:
        f"{LOGS}/verify.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        manifest=MANIFEST,
        config=fixed(run_settings()["config"]),
    shell:
        "python -m culture_neurons.steps.verify --manifest {params.manifest:q} --config {params.config:q} --log {log:q}"
