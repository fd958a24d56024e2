# Questions + model -> answers.


rule infer:
    """Ask one model every question."""
    input:
        samples=f"{RESULTS}/samples.parquet",
        model=model_folder,
        code=code("infer"),
    output:
        predictions=f"{RESULTS}/{{model}}/predictions.parquet",
    log:
        f"{LOGS}/{{model}}/infer.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/infer.tsv"
    conda:
        "../../envs/model.yaml"
    threads: model_stanza("threads")
    resources:
        gpu=model_stanza("gpus"),
        mem_mb=model_stanza("mem_mb"),
        # Resources, not parameters: beyond the last digits results don't depend on them, so a change reruns nothing.
        batch_size=model_stanza("batch_size"),
        device_map=device_map,
    params:
        model=model_settings,
        prompt=fixed(config["prompt"]),
    shell:
        "python -m culture_neurons.steps.infer --samples {input.samples:q} --model {params.model:q}"
        " --prompt {params.prompt:q} --batch-size {resources.batch_size} --device-map {resources.device_map:q} --threads {threads}"
        " --predictions-out {output.predictions:q} --log {log:q}"
