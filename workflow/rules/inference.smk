# Questions + model -> answers.


rule infer:
    """Ask one model the questions of one shard."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        model=model_folder,
        code=code("infer"),
    output:
        answers=temp(f"{RESULTS}/{{model}}/answers/{{shard}}.parquet"),
    log:
        f"{LOGS}/{{model}}/infer_{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/infer_{{shard}}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: model_stanza("threads")
    resources:
        gpu=model_stanza("gpus"),
        mem_mb=growing("mem_mb"),
        # Resources, not parameters: beyond the last digits results don't depend on them, so a change reruns nothing.
        batch_size=model_stanza("batch_size"),
        device_map=device_map,
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
        shards=SHARDS["infer"],
    shell:
        "python -m culture_neurons.steps.infer --samples {input.samples:q} --model {params.model:q}"
        " --prompt {params.prompt:q} --shard {wildcards.shard} --shards {params.shards}"
        " --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --answers-out {output.answers:q} --log {log:q}"


rule gather_answers:
    """Put one model's answers together."""
    localrule: True # it takes a second, also when other jobs wait in a cluster's queue
    input:
        parts=expand(f"{RESULTS}/{{{{model}}}}/answers/{{shard}}.parquet", shard=range(SHARDS["infer"])),
        code=code("gather"),
    output:
        predictions=f"{RESULTS}/{{model}}/predictions.parquet",
    log:
        f"{LOGS}/{{model}}/gather_answers.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/gather_answers.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    shell:
        "python -m culture_neurons.steps.gather --parts {input.parts:q} --out {output.predictions:q} --log {log:q}"


rule infer_controls:
    """Ask one model the evaluate questions again with grey images, and without any."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        model=model_folder,
        code=code("infer_controls"),
    output:
        # A rule needs an output, also where no file of it is asked for.
        answers=expand(f"{RESULTS}/{{{{model}}}}/controls/{{control}}.parquet", control=IMAGE_CONTROLS or ["no"]),
    log:
        f"{LOGS}/{{model}}/infer_controls.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/infer_controls.tsv"
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
        controls=IMAGE_CONTROLS,
    shell:
        "python -m culture_neurons.steps.infer_controls --samples {input.samples:q} --model {params.model:q}"
        " --prompt {params.prompt:q} --controls {params.controls:q}"
        " --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --answers-out {output.answers:q} --log {log:q}"
