# Statistics -> scores per selector -> masks per top fraction; masks by attribution; and masks of other projects.


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
    wildcard_constraints:
        selector=one_of(name for name in SELECTORS if name not in SCORELESS + MATCHED),
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


rule attribute:
    """Attribute the right answers of one shard to units: of the identify questions, their controls, or mentions."""
    input:
        samples=attributed_samples,
        # For the cultures that are recorded, so that all selectors judge the same ones.
        predictions=f"{RESULTS}/{{model}}/predictions.parquet",
        model=model_folder,
        code=code("attribute"),
    output:
        attributions=f"{RESULTS}/{{model}}/attributions/{{kind}}_{{shard}}.h5",
    wildcard_constraints:
        kind=one_of(ATTRIBUTIONS),
    log:
        f"{LOGS}/{{model}}/attribute_{{kind}}_{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/attribute_{{kind}}_{{shard}}.tsv"
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
        sites=ATTRIBUTED_SITES,
        control=lambda wildcards: ["--control"] * (wildcards.kind == "controls"),
        min_correct=config["recording"]["min_correct"],
        shards=SHARDS["record"],
    shell:
        "python -m culture_neurons.steps.attribute --samples {input.samples:q} --predictions {input.predictions:q}"
        " --model {params.model:q} --prompt {params.prompt:q} --sites {params.sites} {params.control}"
        " --min-correct {params.min_correct} --shard {wildcards.shard} --shards {params.shards}"
        " --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --attributions-out {output.attributions:q} --log {log:q}"


rule mask_culnig:
    """Choose culture-general or culture-specific neurons from attributions."""
    input:
        questions=attributions("questions"),
        controls=attributions("controls"),
        mentions=attributions("mentions") if MENTIONS else [],
        code=code("mask_culnig"),
    output:
        masks=expand(f"{RESULTS}/{{{{model}}}}/masks/{{{{selector}}}}_top{{fraction}}.parquet", fraction=FRACTIONS),
    wildcard_constraints:
        selector=one_of(ATTRIBUTED),
    log:
        f"{LOGS}/{{model}}/mask_culnig_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/mask_culnig_{{selector}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        method=lambda wildcards: METHODS[wildcards.selector],
        options=selector_options,
        fractions=FRACTIONS,
    shell:
        "python -m culture_neurons.steps.mask_culnig --selector {params.method} --options {params.options:q}"
        " --attributions {input.questions:q} --control {input.controls:q} --mention {input.mentions:q}"
        " --top-fraction {params.fractions}"
        " --out {output.masks:q} --log {log:q}"


rule mask_matched:
    """Draw as many units per projection and layer as a selector by attribution has chosen: its random control."""
    input:
        references=reference_masks,
        code=code("mask_matched"),
    output:
        masks=expand(f"{RESULTS}/{{{{model}}}}/masks/{{{{selector}}}}_top{{fraction}}.parquet", fraction=FRACTIONS),
    wildcard_constraints:
        selector=one_of(MATCHED),
    log:
        f"{LOGS}/{{model}}/mask_matched_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/mask_matched_{{selector}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        match=lambda wildcards: SELECTORS[wildcards.selector]["match"],
        seed=lambda wildcards: SELECTORS[wildcards.selector].get("seed", 0),
    shell:
        "python -m culture_neurons.steps.mask_matched --reference {input.references:q} --match {params.match:q}"
        " --seed {params.seed} --out {output.masks:q} --log {log:q}"


rule import_masks:
    """Take over the masks of another project; they have a size of their own, the same for all top fractions."""
    input:
        masks=lambda wildcards: SELECTORS[wildcards.selector]["masks"][wildcards.model],
        # For the model's revision and size, and the cultures that were recorded.
        statistics=f"{RESULTS}/{{model}}/statistics.h5",
        samples=f"{RESULTS}/samples.parquet",
        code=code("import_masks"),
    output:
        masks=expand(f"{RESULTS}/{{{{model}}}}/masks/{{{{selector}}}}_top{{fraction}}.parquet", fraction=FRACTIONS),
    wildcard_constraints:
        selector=one_of(IMPORTED),
    log:
        f"{LOGS}/{{model}}/import_masks_{{selector}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/import_masks_{{selector}}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        cultures=lambda wildcards: SELECTORS[wildcards.selector]["cultures"],
        fractions=FRACTIONS,
    shell:
        "python -m culture_neurons.steps.import_masks --masks {input.masks:q} --cultures {params.cultures:q}"
        " --statistics {input.statistics:q} --samples {input.samples:q} --top-fraction {params.fractions}"
        " --out {output.masks:q} --log {log:q}"


rule benchmark_selectors:
    """Judge the selectors on the planted models, whose culture neurons are known; fewer questions, wrong labels."""
    input:
        statistics=[f"{RESULTS}/{model}/statistics.h5" for model in PLANTED],
        planted=[f"{RESULTS}/{model}/planted.csv" for model in PLANTED],
        code=code("benchmark_selectors", *(part for name in benchmarked() for part in selectors.modules(METHODS[name]))),
    output:
        table=f"{RESULTS}/tables/benchmark.csv",
        provenance=f"{RESULTS}/tables/provenance_benchmark.json",
    log:
        f"{LOGS}/benchmark_selectors.log",
    benchmark:
        f"{BENCHMARKS}/benchmark_selectors.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        statistics=named({model: f"{RESULTS}/{model}/statistics.h5" for model in PLANTED}),
        planted=named({model: f"{RESULTS}/{model}/planted.csv" for model in PLANTED}),
        selectors=fixed({name: config["selectors"][name] for name in benchmarked()}),
        fractions=FRACTIONS,
        samples=BENCHMARK["samples"],
        noise=BENCHMARK["noise"],
        repeats=BENCHMARK["repeats"],
        seed=config["evidence"]["seed"],
    shell:
        "python -m culture_neurons.steps.benchmark_selectors --statistics {params.statistics:q}"
        " --planted {params.planted:q} --selectors {params.selectors:q} --top-fraction {params.fractions}"
        " --samples {params.samples} --noise {params.noise} --repeats {params.repeats} --seed {params.seed}"
        " --out {output.table:q} --provenance-out {output.provenance:q} --log {log:q}"
