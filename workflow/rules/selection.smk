# Statistics -> scores per selector -> masks per top fraction.


rule score:
    """Score every neuron for every culture with one selector."""
    input:
        statistics=f"{RESULTS}/{{model}}/statistics.h5",
        code=code("score"),
    output:
        scores=f"{RESULTS}/{{model}}/scores/{{selector}}.h5",
    log:
        f"{LOGS}/{{model}}/score_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/score_{{selector}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        method=lambda wildcards: METHODS[wildcards.selector],
        options=selector_options,
    shell:
        "python -m culture_neurons.steps.score --statistics {input.statistics:q} --selector {params.method}"
        " --options {params.options:q} --out {output.scores:q} --log {log:q}"


rule select:
    """Choose the top fraction of all neurons for every culture."""
    input:
        scores=f"{RESULTS}/{{model}}/scores/{{selector}}.h5",
        statistics=f"{RESULTS}/{{model}}/statistics.h5",
        reference=reference_mask,
        code=code("select"),
    output:
        mask=f"{RESULTS}/{{model}}/masks/{{selector}}_top{{fraction}}.parquet",
    log:
        f"{LOGS}/{{model}}/select_{{selector}}_top{{fraction}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/select_{{selector}}_top{{fraction}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        method=lambda wildcards: METHODS[wildcards.selector],
        options=selector_options,
        reference=lambda wildcards, input: ["--reference", input.reference] if input.reference else [],
    shell:
        "python -m culture_neurons.steps.select --scores {input.scores:q} --statistics {input.statistics:q}"
        " --selector {params.method} --options {params.options:q} --top-fraction {wildcards.fraction}"
        " {params.reference:q} --out {output.mask:q} --log {log:q}"
