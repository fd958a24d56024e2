# Masks + questions -> answers under ablation.


PARTS, BEFORE = parts_of(f"{RESULTS}/{{model}}/ablation", SELECTORS)


wildcard_constraints:
    asked=one_of({*dealt(SELECTORS), *dealt(JUDGED)}),


rule ablate:
    """Ask the evaluate questions of one shard again, under the masks of one shard; all top fractions together."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        masks=asked_masks(SELECTORS, FRACTIONS),
        permuted=[],
        model=model_folder,
        code=code("ablate"),
    output:
        outcomes=temp(f"{RESULTS}/{{model}}/ablation/{{asked}}/{{mask_shard}}-{{shard}}.parquet"),
    log:
        f"{LOGS}/{{model}}/ablate_{{asked}}_{{mask_shard}}-{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/ablate_{{asked}}_{{mask_shard}}-{{shard}}.tsv"
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
        factors=[],
        shards=SHARDS["ablate"],
        mask_shards=SHARDS["ablate_masks"],
    shell:
        "python -m culture_neurons.steps.ablate --samples {input.samples:q} --masks {input.masks:q}"
        " --factors {params.factors} --permuted {input.permuted:q} --model {params.model:q} --prompt {params.prompt:q} --shard {wildcards.shard} --shards {params.shards}"
        " --mask-shard {wildcards.mask_shard} --mask-shards {params.mask_shards}"
        " --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --outcomes-out {output.outcomes:q} --log {log:q}"


rule gather_outcomes:
    """Put the answers under one selector's masks together, a file per top fraction."""
    localrule: True # it takes a second, also when other jobs wait in a cluster's queue
    input:
        parts=PARTS,
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
    params:
        before=lambda wildcards: BEFORE(wildcards) * len(FRACTIONS),
    shell:
        "python -m culture_neurons.steps.gather --parts {input.parts:q} --before {params.before}"
        " --out {output.outcomes:q} --log {log:q}"


rule permute:
    """Choose neurons again and again under shuffled culture labels, one selector at the top fraction shown."""
    input:
        statistics=f"{RESULTS}/{{model}}/statistics.h5",
        samples=f"{RESULTS}/samples.parquet",
        code=selector_code("permute"),
    output:
        masks=f"{RESULTS}/{{model}}/again/{{selector}}/permuted_masks.parquet",
    wildcard_constraints:
        selector=one_of(AGAIN),
    log:
        f"{LOGS}/{{model}}/permute_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/permute_{{selector}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        method=lambda wildcards: METHODS[wildcards.selector],
        entry=registry_entry,
        options=selector_options,
        top=TOP,
        permutations=EVIDENCE["permutations"],
        seed=EVIDENCE["seed"],
    shell:
        "python -m culture_neurons.steps.permute --statistics {input.statistics:q} --samples {input.samples:q}"
        " --selector {params.method} --options {params.options:q} --top-fraction {params.top}"
        " --permutations {params.permutations} --seed {params.seed} --out {output.masks:q} --log {log:q}"


use rule ablate as ablate_again with:
    input:
        samples=f"{RESULTS}/samples.parquet",
        masks=f"{RESULTS}/{{model}}/masks/{{selector}}_top{TOP}.parquet" if STRENGTHS else [],
        permuted=f"{RESULTS}/{{model}}/again/{{selector}}/permuted_masks.parquet" if EVIDENCE["permutations"] else [],
        model=model_folder,
        code=code("ablate"),
    output:
        outcomes=temp(f"{RESULTS}/{{model}}/again/{{selector}}/{{mask_shard}}-{{shard}}.parquet"),
    log:
        f"{LOGS}/{{model}}/ablate_again_{{selector}}_{{mask_shard}}-{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/ablate_again_{{selector}}_{{mask_shard}}-{{shard}}.tsv"
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
        factors=[f"{1 - strength:g}" for strength in EVIDENCE["strengths"]],
        shards=SHARDS["ablate"],
        mask_shards=SHARDS["ablate_masks"],


use rule gather_outcomes as gather_again with:
    localrule: True # `use rule` does not carry it over
    input:
        parts=expand(
            f"{RESULTS}/{{{{model}}}}/again/{{{{selector}}}}/{{mask_shard}}-{{shard}}.parquet",
            mask_shard=range(SHARDS["ablate_masks"]),
            shard=range(SHARDS["ablate"]),
        ),
        code=code("gather"),
    output:
        outcomes=expand(
            f"{RESULTS}/{{{{model}}}}/again/{{{{selector}}}}/{{what}}.parquet",
            what=[f"strength{strength}" for strength in STRENGTHS] + ["permuted"] * bool(EVIDENCE["permutations"]),
        ),
    log:
        f"{LOGS}/{{model}}/gather_again_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/gather_again_{{selector}}.tsv"
    params:
        before=0,
