# Further data sets: masks are judged on all of their questions, and none of them chooses neurons.


wildcard_constraints:
    set=one_of(ASKED),


use rule prepare as prepare_set with:
    input:
        source=lambda wildcards: local_sources(SETS[wildcards.set]["source"]),
        code=code("prepare"),
    output:
        samples=f"{RESULTS}/sets/{{set}}/samples.parquet",
        dropped=f"{RESULTS}/sets/{{set}}/dropped.csv",
        counts=f"{RESULTS}/sets/{{set}}/counts.csv",
    wildcard_constraints:
        set=one_of(SETS),
    log:
        f"{LOGS}/prepare_set_{{set}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare_set_{{set}}.tsv"
    params:
        source=lambda wildcards: as_json(SETS[wildcards.set]["source"]),
        filter=lambda wildcards: as_json(SETS[wildcards.set].get("filter", {})),
        split=fixed({"by": "whole", "half": "evaluate"}),


use rule infer as infer_set with:
    input:
        samples=f"{RESULTS}/sets/{{set}}/samples.parquet",
        model=model_folder,
        code=code("infer"),
    output:
        answers=temp(f"{RESULTS}/{{model}}/sets/{{set}}/answers/{{shard}}.parquet"),
    wildcard_constraints:
        set=one_of(SETS),
    log:
        f"{LOGS}/{{model}}/infer_set_{{set}}_{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/infer_set_{{set}}_{{shard}}.tsv"


use rule gather_answers as gather_set with:
    input:
        parts=expand(
            f"{RESULTS}/{{{{model}}}}/sets/{{{{set}}}}/answers/{{shard}}.parquet", shard=range(SHARDS["infer"])
        ),
        code=code("gather"),
    output:
        predictions=f"{RESULTS}/{{model}}/sets/{{set}}/predictions.parquet",
    wildcard_constraints:
        set=one_of(SETS),
    log:
        f"{LOGS}/{{model}}/gather_set_{{set}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/gather_set_{{set}}.tsv"


use rule ablate as ablate_set with:
    input:
        samples=set_samples,
        masks=f"{RESULTS}/{{model}}/masks/{{selector}}_top{TOP}.parquet",
        permuted=[],
        model=model_folder,
        code=code("ablate"),
    output:
        outcomes=temp(f"{RESULTS}/{{model}}/sets/{{set}}/{{selector}}/{{mask_shard}}-{{shard}}.parquet"),
    log:
        f"{LOGS}/{{model}}/ablate_set_{{set}}_{{selector}}_{{mask_shard}}-{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/ablate_set_{{set}}_{{selector}}_{{mask_shard}}-{{shard}}.tsv"
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
        factors=FACTORS,
        shards=SHARDS["ablate"],
        mask_shards=SHARDS["ablate_masks"],


use rule gather_outcomes as gather_set_outcomes with:
    input:
        parts=expand(
            f"{RESULTS}/{{{{model}}}}/sets/{{{{set}}}}/{{{{selector}}}}/{{mask_shard}}-{{shard}}.parquet",
            mask_shard=range(SHARDS["ablate_masks"]),
            shard=range(SHARDS["ablate"]),
        ),
        code=code("gather"),
    output:
        outcomes=expand(
            f"{RESULTS}/{{{{model}}}}/sets/{{{{set}}}}/{{{{selector}}}}_x{{factor}}.parquet", factor=FACTORS
        ),
    log:
        f"{LOGS}/{{model}}/gather_set_{{set}}_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/gather_set_{{set}}_{{selector}}.tsv"
