# Masks + questions -> answers under ablation.


rule ablate:
    """Ask the evaluate questions again under every culture's mask; one model load for all top fractions."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        masks=expand(f"{RESULTS}/{{{{model}}}}/masks/{{{{selector}}}}_top{{fraction}}.parquet", fraction=FRACTIONS),
        model=model_folder,
        code=code("ablate"),
    output:
        outcomes=expand(
            f"{RESULTS}/{{{{model}}}}/ablation/{{{{selector}}}}_top{{fraction}}.parquet", fraction=FRACTIONS
        ),
    log:
        f"{LOGS}/{{model}}/ablate_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/ablate_{{selector}}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: model_stanza("threads")
    resources:
        gpu=model_stanza("gpus"),
        mem_mb=model_stanza("mem_mb"),
        batch_size=model_stanza("batch_size"),
        device_map=device_map,
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
    shell:
        "python -m culture_neurons.steps.ablate --samples {input.samples:q} --masks {input.masks:q}"
        " --model {params.model:q} --prompt {params.prompt:q} --batch-size {resources.batch_size} --device-map {resources.device_map:q}"
        " --threads {threads} --outcomes-out {output.outcomes:q} --log {log:q}"
