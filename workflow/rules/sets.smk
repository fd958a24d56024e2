# Further data sets: masks are judged on all of their questions, and none of them chooses neurons.


SET_PARTS, SET_BEFORE = parts_of(f"{RESULTS}/{{model}}/sets/{{set}}", JUDGED)


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
    localrule: True # `use rule` does not carry it over
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
        masks=asked_masks(JUDGED, [TOP]),
        permuted=[],
        model=model_folder,
        code=code("ablate"),
    output:
        outcomes=temp(f"{RESULTS}/{{model}}/sets/{{set}}/{{asked}}/{{mask_shard}}-{{shard}}.parquet"),
    log:
        f"{LOGS}/{{model}}/ablate_set_{{set}}_{{asked}}_{{mask_shard}}-{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/ablate_set_{{set}}_{{asked}}_{{mask_shard}}-{{shard}}.tsv"
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
        factors=FACTORS,
        shards=SHARDS["ablate"],
        mask_shards=SHARDS["ablate_masks"],


use rule gather_outcomes as gather_set_outcomes with:
    localrule: True # `use rule` does not carry it over
    input:
        parts=SET_PARTS,
        code=code("gather"),
    output:
        outcomes=expand(
            f"{RESULTS}/{{{{model}}}}/sets/{{{{set}}}}/{{{{selector}}}}_x{{factor}}.parquet", factor=FACTORS
        ),
    log:
        f"{LOGS}/{{model}}/gather_set_{{set}}_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/gather_set_{{set}}_{{selector}}.tsv"
    params:
        before=lambda wildcards: SET_BEFORE(wildcards) * len(FACTORS),


rule tabulate_sets:
    """Put the outcomes of all data sets into tables: what masks do to each, and to each of its cultures."""
    input:
        samples=[f"{RESULTS}/samples.parquet", *(f"{RESULTS}/sets/{name}/samples.parquet" for name in SETS)],
        predictions=set_predictions().values(),
        masks=set_masks().values(),
        outcomes=set_outcomes().values(),
        code=code("tabulate_sets"),
    output:
        sets=f"{RESULTS}/tables/sets.csv",
        effects=f"{RESULTS}/tables/sets_effects.csv",
        transfer=f"{RESULTS}/tables/sets_transfer.csv",
        provenance=f"{RESULTS}/tables/provenance_sets.json",
    log:
        f"{LOGS}/tabulate_sets.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_sets.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        # In the order of the config: tables and figures keep it.
        samples=lambda wildcards, input: named(dict(zip(ASKED, input.samples))),
        predictions=named(set_predictions()),
        masks=named(set_masks()),
        outcomes=named(set_outcomes()),
        controls=sorted(CONTROLS),
        planted=sorted(PLANTED),
        replicates=EVIDENCE["replicates"],
        seed=EVIDENCE["seed"],
        top=TOP,
    shell:
        "python -m culture_neurons.steps.tabulate_sets --samples {params.samples:q}"
        " --predictions {params.predictions:q} --masks {params.masks:q} --outcomes {params.outcomes:q}"
        " --random {params.controls:q} --planted {params.planted:q} --replicates {params.replicates}"
        " --seed {params.seed} --top-fraction {params.top} --sets-out {output.sets:q} --effects-out {output.effects:q}"
        " --transfer-out {output.transfer:q} --provenance-out {output.provenance:q} --log {log:q}"
