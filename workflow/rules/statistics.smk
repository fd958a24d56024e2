# Right answers -> activation statistics per sample.


rule record:
    """Record one shard of the identify questions that the model answered correctly."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        predictions=f"{RESULTS}/{{model}}/predictions.parquet",
        model=model_folder,
        code=code("record"),
    output:
        statistics=temp(f"{RESULTS}/{{model}}/statistics/{{shard}}.h5"),
    log:
        f"{LOGS}/{{model}}/record_{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/record_{{shard}}.tsv"
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
        site=config["recording"]["site"],
        tokens=config["recording"]["tokens"],
        min_correct=config["recording"]["min_correct"],
        mantissa_bits=config["recording"]["mantissa_bits"],
        negative_sum=NEGATIVE_SUM,
        shards=SHARDS["record"],
    shell:
        "python -m culture_neurons.steps.record --samples {input.samples:q} --predictions {input.predictions:q}"
        " --model {params.model:q} --prompt {params.prompt:q} --site {params.site} --token-rule {params.tokens}"
        " --min-correct {params.min_correct} --mantissa-bits {params.mantissa_bits} {params.negative_sum}"
        " --shard {wildcards.shard} --shards {params.shards}"
        " --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --statistics-out {output.statistics:q} --log {log:q}"


rule merge:
    """Merge the shards into one file per model."""
    input:
        shards=expand(f"{RESULTS}/{{{{model}}}}/statistics/{{shard}}.h5", shard=range(SHARDS["record"])),
        code=code("merge"),
    output:
        statistics=f"{RESULTS}/{{model}}/statistics.h5",
    log:
        f"{LOGS}/{{model}}/merge.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/merge.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    shell:
        "python -m culture_neurons.steps.merge --shards {input.shards:q} --statistics-out {output.statistics:q}"
        " --log {log:q}"
