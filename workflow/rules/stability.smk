# Would other samples have chosen the same neurons?


rule stability:
    """Score and choose again on redrawn samples of a model, and on halves of them."""
    input:
        statistics=f"{RESULTS}/{{model}}/statistics.h5",
        samples=f"{RESULTS}/samples.parquet",
        masks=expand(
            f"{RESULTS}/{{{{model}}}}/masks/{{selector}}_top{{fraction}}.parquet", selector=REDRAWN, fraction=FRACTIONS
        ),
        code=code("stability", *(module for name in REDRAWN for module in selectors.modules(METHODS[name]))),
    output:
        neurons=f"{RESULTS}/{{model}}/stability.parquet",
        cultures=f"{RESULTS}/{{model}}/stability_cultures.parquet",
    log:
        f"{LOGS}/{{model}}/stability.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/stability.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=6000,
    params:
        selectors=fixed({name: {"method": METHODS[name], "options": SELECTORS[name]} for name in REDRAWN}),
        masks=lambda wildcards: [
            f"{name}/{fraction}={RESULTS}/{wildcards.model}/masks/{name}_top{fraction}.parquet"
            for name in REDRAWN
            for fraction in FRACTIONS
        ],
        resamples=EVIDENCE["resamples"],
        halves=EVIDENCE["split_halves"],
        seed=EVIDENCE["seed"],
    shell:
        "python -m culture_neurons.steps.stability --statistics {input.statistics:q} --samples {input.samples:q}"
        " --selectors {params.selectors:q} --masks {params.masks:q} --resamples {params.resamples}"
        " --split-halves {params.halves} --seed {params.seed} --threads {threads}"
        " --neurons-out {output.neurons:q} --cultures-out {output.cultures:q} --log {log:q}"


rule tabulate_stability:
    """Put how stable the masks of all models are into one table."""
    input:
        parts=[f"{RESULTS}/{model}/stability_cultures.parquet" for model in sorted(MODELS)],
        code=code("tabulate_stability"),
    output:
        table=f"{RESULTS}/tables/stability.csv",
        provenance=f"{RESULTS}/tables/provenance_stability.json",
    log:
        f"{LOGS}/tabulate_stability.log",
    benchmark:
        f"{BENCHMARKS}/tabulate_stability.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        parts=named({model: f"{RESULTS}/{model}/stability_cultures.parquet" for model in sorted(MODELS)}),
        planted=sorted(PLANTED),
    shell:
        "python -m culture_neurons.steps.tabulate_stability --parts {params.parts:q} --planted {params.planted:q}"
        " --out {output.table:q} --provenance-out {output.provenance:q} --log {log:q}"


# What masks have in common: with those of other cultures, selectors, top fractions, token rules and models.


wildcard_constraints:
    tokens=one_of(TOKEN_RULES),


use rule record as record_tokens with:
    output:
        statistics=temp(f"{RESULTS}/{{model}}/tokens/{{tokens}}/{{shard}}.h5"),
    log:
        f"{LOGS}/{{model}}/record_{{tokens}}_{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/record_{{tokens}}_{{shard}}.tsv"
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
        site=config["recording"]["site"],
        tokens=lambda wildcards: wildcards.tokens,
        min_correct=config["recording"]["min_correct"],
        mantissa_bits=config["recording"]["mantissa_bits"],
        negative_sum=NEGATIVE_SUM,
        shards=SHARDS["record"],


use rule merge as merge_tokens with:
    input:
        shards=expand(f"{RESULTS}/{{{{model}}}}/tokens/{{{{tokens}}}}/{{shard}}.h5", shard=range(SHARDS["record"])),
        code=code("merge"),
    output:
        statistics=f"{RESULTS}/{{model}}/tokens/{{tokens}}/statistics.h5",
    log:
        f"{LOGS}/{{model}}/merge_{{tokens}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/merge_{{tokens}}.tsv"


rule overlap:
    """Compare masks with each other, and their overlap with what they do to each other's cultures."""
    input:
        masks=shown_masks().values(),
        tokens=token_statistics().values(),
        effects=f"{RESULTS}/tables/effects.csv",
        baseline=f"{RESULTS}/tables/baseline.csv",
        code=code("overlap", *(module for name in SCORED for module in selectors.modules(METHODS[name]))),
    output:
        overlaps=f"{RESULTS}/tables/overlaps.csv",
        related=f"{RESULTS}/tables/related.csv",
        provenance=f"{RESULTS}/tables/provenance_overlaps.json",
    log:
        f"{LOGS}/overlap.log",
    benchmark:
        f"{BENCHMARKS}/overlap.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        masks=named(shown_masks()),
        tokens=named(token_statistics()),
        selectors=fixed({name: {"method": METHODS[name], "options": SELECTORS[name]} for name in SCORED}),
        rule=config["recording"]["tokens"],
        planted=sorted(PLANTED),
        seed=EVIDENCE["seed"],
    shell:
        "python -m culture_neurons.steps.overlap --masks {params.masks:q} --effects {input.effects:q}"
        " --baseline {input.baseline:q} --token-rule {params.rule} --tokens {params.tokens:q} --selectors {params.selectors:q}"
        " --planted {params.planted:q} --seed {params.seed} --overlaps-out {output.overlaps:q}"
        " --related-out {output.related:q} --provenance-out {output.provenance:q} --log {log:q}"
