# Statistics -> scores per selector -> masks per top fraction.


rule score:
    """Score every neuron for every culture with one selector."""
    input:
        statistics=f"{RESULTS}/{{model}}/statistics.h5",
        code=selector_code("score"),
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
        entry=registry_entry,
        options=selector_options,
    shell:
        "python -m culture_neurons.steps.score --statistics {input.statistics:q} --selector {params.method}"
        " --options {params.options:q} --out {output.scores:q} --log {log:q}"


rule mask:
    """Choose the top fractions of all neurons for every culture."""
    input:
        scores=f"{RESULTS}/{{model}}/scores/{{selector}}.h5",
        statistics=f"{RESULTS}/{{model}}/statistics.h5",
        references=reference_masks,
        code=selector_code("mask"),
    output:
        masks=expand(f"{RESULTS}/{{{{model}}}}/masks/{{{{selector}}}}_top{{fraction}}.parquet", fraction=FRACTIONS),
    log:
        f"{LOGS}/{{model}}/mask_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/mask_{{selector}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        method=lambda wildcards: METHODS[wildcards.selector],
        entry=registry_entry,
        options=selector_options,
        fractions=FRACTIONS,
    shell:
        "python -m culture_neurons.steps.mask --scores {input.scores:q} --statistics {input.statistics:q}"
        " --selector {params.method} --options {params.options:q} --top-fraction {params.fractions}"
        " --reference {input.references:q} --out {output.masks:q} --log {log:q}"
