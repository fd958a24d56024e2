# Masks + questions -> answers under ablation.


rule ablate:
    """Ask the evaluate questions of one shard again, under the masks of one shard; all top fractions together."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        masks=expand(f"{RESULTS}/{{{{model}}}}/masks/{{{{selector}}}}_top{{fraction}}.parquet", fraction=FRACTIONS),
        model=model_folder,
        code=code("ablate"),
    output:
        outcomes=temp(f"{RESULTS}/{{model}}/ablation/{{selector}}/{{mask_shard}}-{{shard}}.parquet"),
    log:
        f"{LOGS}/{{model}}/ablate_{{selector}}_{{mask_shard}}-{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/ablate_{{selector}}_{{mask_shard}}-{{shard}}.tsv"
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
        shards=SHARDS["ablate"],
        mask_shards=SHARDS["ablate_masks"],
    shell:
        "python -m culture_neurons.steps.ablate --samples {input.samples:q} --masks {input.masks:q}"
        " --model {params.model:q} --prompt {params.prompt:q} --shard {wildcards.shard} --shards {params.shards}"
        " --mask-shard {wildcards.mask_shard} --mask-shards {params.mask_shards}"
        " --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --outcomes-out {output.outcomes:q} --log {log:q}"


rule gather_outcomes:
    """Put the answers under one selector's masks together, a file per top fraction."""
    localrule: True # it takes a second, also when other jobs wait in a cluster's queue
    input:
        parts=expand(
            f"{RESULTS}/{{{{model}}}}/ablation/{{{{selector}}}}/{{mask_shard}}-{{shard}}.parquet",
            mask_shard=range(SHARDS["ablate_masks"]),
            shard=range(SHARDS["ablate"]),
        ),
        code=code("gather"),
    output:
        outcomes=expand(
            f"{RESULTS}/{{{{model}}}}/ablation/{{{{selector}}}}_top{{fraction}}.parquet", fraction=FRACTIONS
        ),
    log:
        f"{LOGS}/{{model}}/gather_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/gather_{{selector}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    shell:
        "python -m culture_neurons.steps.gather --parts {input.parts:q} --out {output.outcomes:q} --log {log:q}"
